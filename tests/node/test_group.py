"""Containers that go back as one, on a machine made of lists: how their generations boot among themselves and are swapped,
and what there is when one of them fails half way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.node.fake_generations import FakeSandbox, FakeSurroundings, birth_of
from tests.node.test_ahead import until
from tests.node.test_container import RUNNING, story
from tfcore.errors import BadRequest, CommandFailed, NotFound, WrongState
from tfcore.wire.containers import Mount, Probe
from tfnode.containers.container import Container
from tfnode.containers.group import RollbackGroup
from tfnode.containers.groups import Groups
from tfnode.containers.output import Output
from tfnode.containers.room import LEAST
from tfnode.containers.standing import State
from tfnode.runtime.log import Stream

DB, APP = "c-" + "2" * 22, "c-" + "1" * 22  # the app's lock is taken first, but the database boots first


@dataclass
class Two:
    """A database and its app, each on a machine of its own that writes into the same diary."""

    db: Container
    app: Container
    around: dict[str, FakeSurroundings]
    groups: Groups
    diary: list[str]

    @property
    def group(self) -> RollbackGroup:
        return self.groups.of([self.db, self.app])

    async def settle(self) -> None:
        """Wait for what goes on in the background."""
        await self.group._background.settle()
        for one in (self.db, self.app):
            await one.labour.settle()

    async def with_baseline(self) -> None:
        for one in (self.db, self.app):
            one.boot()
            await one.ready()
        await self.group.snapshot("base")
        await self.settle()

    async def roll_back(self) -> list[str]:
        """How."""
        return [done.tier for done in await self.group.roll_back(["base", "base"])]


def a_member(identifier: str, name: str, **wish: Any) -> tuple[Container, FakeSurroundings]:
    around = FakeSurroundings(name=name)
    sandbox: Any = FakeSandbox()
    birth = birth_of(identifier, **{"ready": RUNNING, **wish})
    return Container(birth, sandbox, around, Output(asyncio.get_running_loop()), {}), around


@asynccontextmanager
async def two(*, db: dict[str, Any] | None = None, app: dict[str, Any] | None = None) -> AsyncIterator[Two]:
    (one, near), (other, far) = a_member(DB, "db", **(db or {})), a_member(APP, "app", **(app or {}))
    far.generations.diary = near.generations.diary
    near.groups = far.groups = groups = Groups(near)
    try:
        yield Two(one, other, {"db": near, "app": far}, groups, near.generations.diary)
    finally:
        for around in (near, far):
            around.generations.failing.clear()
        for container, around in ((one, near), (other, far)):
            await container.end()
            groups.forget(container.id)
            around.executor.shutdown()
            assert around.generations.alive == {}, "a generation was left behind"
            assert not any(sandbox.open for sandbox in around.beside), "a sandbox was left behind"


@story
async def test_the_next_generation_boots_in_order_and_stands_still_when_all_are_ready() -> None:
    async with two() as chain:
        await chain.with_baseline()
        begin = chain.diary.index("db unite 2")
        assert chain.diary[begin - 1 :] == [
            "db keep base of 1, base of 1",
            "db unite 2",
            "db make_beside 2 from base",
            "db start 2",
            "app make_beside 2 from base",
            "app start 2",
            "app hold 2",
            "db hold 2",
        ]
        assert chain.groups.spares_of(APP) == chain.groups.spares_of(DB) == 1
        assert chain.db.spares == chain.app.spares == 0, "each has one of its own besides"


@story
async def test_all_are_swapped_in_one_step() -> None:
    async with two() as chain:
        await chain.with_baseline()
        del chain.diary[:]
        assert await chain.roll_back() == ["spare", "spare"]
        assert chain.diary[:3] == ["cut", "cut", "db swap 1 for 2, 1 for 2"]
        assert chain.db.state is chain.app.state is State.READY
        assert (await chain.app.ready()).generation == 2
        await chain.settle()
        assert {"db bury 1", "app bury 1", "app start 3"} <= set(chain.diary)
        assert await chain.roll_back() == ["spare", "spare"]


@story
async def test_a_service_that_does_not_boot_beside_itself_leaves_all_to_be_started() -> None:
    async with two(app={"after_boot": "load"}) as chain:
        for one in (chain.db, chain.app):
            one.boot()
            await one.ready()
        chain.around["app"].answers["load"] = (1, "the port is taken")
        await chain.group.snapshot("base")
        await chain.settle()
        assert {"db bury 2", "app bury 2"} <= set(chain.diary)
        chain.around["app"].answers.clear()
        del chain.diary[:]
        assert await chain.roll_back() == ["created", "created"]
        steps = [line for line in chain.diary if line.split()[1:2] in (["kill"], ["start"])][:4]
        assert sorted(steps[:2]) == ["app kill 1", "db kill 1"], "one was started beside another one's former life"
        assert steps[2:] == ["db start 3", "app start 3"]
        await chain.settle()
        assert "db unite 2" not in chain.diary, "it was tried again"


@story
async def test_memory_is_needed_for_all_or_none_boots() -> None:
    async with two() as chain:
        enough_for_one = (1 << 40) * 15 // 100 + LEAST + LEAST // 2
        chain.around["db"].memory = enough_for_one
        await chain.with_baseline()
        assert not any("start 2" in line for line in chain.diary)
        assert await chain.roll_back() == ["created", "created"]
        chain.around["db"].memory = 1 << 40
        await chain.settle()
        assert await chain.roll_back() == ["spare", "spare"]


@story
async def test_a_failed_swap_leaves_the_rollback_to_new_generations() -> None:
    async with two() as chain:
        await chain.with_baseline()
        chain.around["db"].generations.failing.add("swap")
        assert await chain.roll_back() == ["cold", "cold"]
        await chain.settle()
        assert {"db bury 2", "app bury 2"} <= set(chain.diary)


@story
async def test_one_that_dies_while_it_stands_still_spoils_the_generation() -> None:
    async with two() as chain:
        await chain.with_baseline()
        chain.app.main_process_ended(2, 137, "killed by signal 9")
        assert await chain.roll_back() == ["cold", "cold"]
        await chain.settle()
        assert {"db bury 2", "app bury 2"} <= set(chain.diary)


@story
async def test_company_that_came_since_keeps_the_generation_from_being_used() -> None:
    async with two() as chain:
        await chain.with_baseline()
        chain.around["app"].against_group = "it may talk to somebody"
        assert await chain.roll_back() == ["cold", "cold"]


@story
async def test_who_may_talk_to_whom_has_changed() -> None:
    async with two() as chain:
        await chain.with_baseline()
        chain.groups.may_talk_differently("10.117.99.99")
        assert chain.groups.spares_of(DB) == 1
        chain.groups.may_talk_differently(chain.db.address)
        await chain.settle()
        assert {"db bury 2", "app bury 2"} <= set(chain.diary)


@story
async def test_another_snapshot_of_one_of_them_makes_another_generation() -> None:
    async with two() as chain:
        await chain.with_baseline()
        del chain.diary[:]
        await chain.app.snapshot("later")
        assert {"db bury 2", "app bury 2"} <= set(chain.diary)
        await chain.settle()
        assert {"db make_beside 3 from base", "app make_beside 4 from later"} <= set(chain.diary)
        assert [done.tier for done in await chain.group.roll_back(["base", "later"])] == ["spare", "spare"]
        assert await chain.roll_back() == ["cold", "cold"]


@story
async def test_the_snapshot_that_it_grew_from_can_be_dropped() -> None:
    async with two() as chain:
        await chain.with_baseline()
        await chain.db.drop("base")
        assert chain.diary[-1] == "db remove_moment base"
        assert "db bury 2" in chain.diary


@story
async def test_all_stay_only_if_all_are_clean() -> None:
    async with two() as chain:
        for around in chain.around.values():
            around.generations.failing.discard("scene")
        await chain.with_baseline()
        assert await chain.roll_back() == ["clean", "clean"]
        with chain.app.traces.touched("a command"):
            pass
        done = await chain.group.roll_back(["", ""])
        assert [(one.tier, one.went_along) for one in done] == [("spare", True), ("spare", False)]
        assert await chain.roll_back() == ["clean", "clean"]


@story
async def test_if_one_cannot_be_made_all_go_on_as_they_were() -> None:
    async with two() as chain:
        await chain.with_baseline()
        chain.groups.may_talk_differently(chain.db.address)
        await chain.settle()
        chain.around["app"].generations.failing.add("make")
        with pytest.raises(CommandFailed, match="all of them go on as they were"):
            await chain.roll_back()
        for one in (chain.db, chain.app):
            assert one.state is State.READY
            assert one.running().number == 1


@story
async def test_one_that_does_not_start_fails_all_and_the_message_says_what_there_is() -> None:
    async with two() as chain:
        await chain.with_baseline()
        chain.around["db"].generations.failing |= {"swap", "start"}
        with pytest.raises(CommandFailed) as caught:
            await chain.roll_back()
        for one in (chain.db, chain.app):
            assert f"container {one.id} has the files of snapshot 'base' but does not run" in caught.value.message
            assert one.state is State.FAILED
        assert "not started, since" in str(chain.app.death())
        chain.around["db"].generations.failing.clear()
        await chain.roll_back()
        assert chain.app.state is State.READY


@story
async def test_one_that_cannot_be_ended_keeps_all_from_going_back() -> None:
    async with two() as chain:
        await chain.with_baseline()
        chain.around["app"].generations.failing |= {"kill"}
        chain.around["db"].generations.failing |= {"swap"}
        with pytest.raises(CommandFailed, match="has the files it had before but does not run"):
            await chain.roll_back()
        chain.around["app"].generations.failing.clear()
        chain.around["db"].generations.failing.clear()
        await chain.roll_back()
        assert chain.app.state is chain.db.state is State.READY


@story
async def test_a_snapshot_is_of_all_or_of_none() -> None:
    async with two() as chain:
        await chain.with_baseline()
        chain.around["db"].generations.failing.add("keep")
        with pytest.raises(CommandFailed):
            await chain.group.snapshot("more")
        assert "more" not in {**chain.db.moments, **chain.app.moments}
        await chain.app.snapshot("mine")
        with pytest.raises(WrongState, match="has a snapshot 'mine' already"):
            await chain.group.snapshot("mine")


@story
async def test_those_that_are_stopped_for_a_snapshot_boot_again() -> None:
    async with two(db={"clean_stop": True}) as chain:
        for one in (chain.db, chain.app):
            one.boot()
            await one.ready()
        del chain.diary[:]
        await chain.group.snapshot("base")
        assert chain.diary[:5] == ["cut", "db stop 1", "app keep base of 1", "db seal base of 1", "db make 2 from base"]
        assert chain.db.state is State.READY


@story
async def test_one_that_cannot_be_sealed_takes_the_others_snapshots_along() -> None:
    async with two(db={"clean_stop": True}) as chain:
        for one in (chain.db, chain.app):
            one.boot()
            await one.ready()
        chain.around["db"].generations.failing.add("seal")
        with pytest.raises(CommandFailed):
            await chain.group.snapshot("base")
        assert "app forget base" in chain.diary
        assert "base" not in chain.app.moments
        assert (chain.db.state, chain.app.state) == (State.FAILED, State.READY)


@story
async def test_whoever_removes_one_does_not_wait_for_anothers_probe() -> None:
    async with two(app={"ready": Probe(kind="log", pattern="up")}) as chain:
        for one in (chain.db, chain.app):
            one.boot()
        await until(lambda: chain.app.state is State.STARTED)
        chain.app.output._log.append(Stream.STDOUT, b"up", generation=1)
        await chain.app.ready()
        await chain.group.snapshot("base")
        chain.around["db"].generations.failing.add("swap")
        chain.groups.may_talk_differently(chain.db.address)
        rolling = asyncio.ensure_future(chain.group.roll_back(["base", "base"]))
        await until(lambda: chain.app.state is State.STARTED)
        await chain.db.end()
        with pytest.raises(WrongState, match=f"{DB} is being removed"):
            await rolling
        with pytest.raises(NotFound, match=DB):
            await chain.group.roll_back(["base", "base"])


@story
async def test_nothing_is_made_for_a_group_of_which_one_is_being_removed() -> None:
    async with two() as chain:
        await chain.with_baseline()
        await chain.db.end()
        await chain.app.snapshot("later")
        await chain.settle()
        assert not any("from later" in line for line in chain.diary if line.startswith("db"))
        assert chain.groups.spares_of(APP) == 0


@story
async def test_two_that_share_a_volume_cannot_go_back_at_once() -> None:
    shared = (Mount(volume="v-" + "1" * 22, path="/data"),)
    async with two(db={"mounts": shared}, app={"mounts": shared}) as chain:
        with pytest.raises(BadRequest, match="share volume"):
            chain.groups.of([chain.db, chain.app])
