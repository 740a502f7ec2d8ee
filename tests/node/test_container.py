"""A container's story on a machine made of lists: transitions, spares, failures half way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.node.fake_generations import FakeSandbox, FakeSurroundings, birth_of
from tfcore.errors import CommandFailed, ContainerDied, Exhausted, NotFound, WrongState
from tfcore.wire.containers import Probe
from tfnode.containers.container import Container
from tfnode.containers.output import Output
from tfnode.containers.standing import State

ID = "c-" + "1" * 22
RUNNING = Probe(kind="running")


@asynccontextmanager
async def a_container(*, ahead: bool = False, **wish: Any) -> AsyncIterator[tuple[Container, FakeSurroundings]]:
    around = FakeSurroundings(ahead=ahead)
    wish = {"ready": RUNNING, **wish}
    sandbox: Any = FakeSandbox()
    container = Container(birth_of(ID, **wish), sandbox, around, Output(asyncio.get_running_loop()), {})
    try:
        yield container, around
    finally:
        around.generations.failing.clear()
        for gate in around.generations.gates.values():
            gate.set()
        await container.end()
        around.executor.shutdown()
        assert around.generations.alive == {}, "a generation was left behind"
        assert not container.sandbox.open
        assert not any(sandbox.open for sandbox in around.beside), "a sandbox was left behind"


def story(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 30))

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


async def settled(container: Container) -> None:
    """Wait for what goes on in the background."""
    await container.labour.settle()


@story
async def test_boots_from_its_image_and_becomes_ready() -> None:
    async with a_container() as (container, around):
        container.boot()
        assert (await container.ready()).generation == 1
        assert container.state is State.READY
        assert around.generations.diary == ["make_fresh fresh", "make 1 from fresh", "start 1"]


@story
async def test_who_waits_for_it_is_told_what_is_not_limited() -> None:
    async with a_container() as (container, _):
        container.boot()
        assert (await container.ready()).notes == ("nothing is limited here",)
        await container.snapshot("base")
        await container.roll_back("base")
        assert (await container.ready()).notes == ("nothing is limited here",)
        assert (await container.reboot(fresh=False)).notes == ("nothing is limited here",)


@story
async def test_sleeps_until_told_to_start() -> None:
    async with a_container(sleep=True) as (container, around):
        container.boot()
        await container.ready()
        assert container.state is State.ASLEEP
        assert "start 1" not in around.generations.diary
        await container.start()
        assert container.state is State.READY
        with pytest.raises(WrongState, match="not asleep"):
            await container.start()


@story
async def test_a_rollback_starts_the_spare_made_after_the_snapshot() -> None:
    async with a_container() as (container, around):
        container.boot()
        await container.ready()
        await container.snapshot("base")
        await settled(container)
        assert "make 2 from base" in around.generations.diary
        around.generations.diary.clear()
        done = await container.roll_back("")
        await settled(container)
        assert (done.tier, done.generation) == ("created", 2)
        assert around.generations.diary[:3] == ["cut", "kill 1", "start 2"]
        assert set(around.generations.diary[3:]) == {"kill 1", "bury 1", "make 3 from base"}
        assert container.sandbox.resets == 1


@story
async def test_going_back_elsewhere_makes_a_new_generation_and_discards_the_spare() -> None:
    async with a_container() as (container, around):
        container.boot()
        await container.ready()
        await container.snapshot("one")
        await container.snapshot("two")
        await settled(container)
        done = await container.roll_back("one")
        await settled(container)
        assert done.tier == "cold"
        assert container.generation is not None
        assert container.generation.moment == "one"
        living = {generation.moment for generation in around.generations.alive.values()}
        assert living == {"one"}, "the spare of the other snapshot is still there"


@story
async def test_a_rollback_that_cannot_make_its_generation_leaves_the_old_one_running() -> None:
    async with a_container() as (container, around):
        container.boot()
        await container.ready()
        await container.snapshot("base")
        await settled(container)
        container.reserve.drop()
        await settled(container)
        around.generations.failing.add("make")
        with pytest.raises(CommandFailed, match="told to fail"):
            await container.roll_back("base")
        assert container.state is State.READY
        assert container.running().number == 1
        assert "kill 1" not in around.generations.diary


@story
async def test_a_rollback_whose_service_does_not_start_says_which_state_is_there() -> None:
    async with a_container() as (container, around):
        container.boot()
        await container.ready()
        await container.snapshot("base")
        await settled(container)
        around.generations.failing.add("start")
        with pytest.raises(CommandFailed, match="has the files of snapshot 'base' but does not run"):
            await container.roll_back("base")
        assert container.state is State.FAILED
        with pytest.raises(ContainerDied):
            container.running()
        around.generations.failing.clear()
        assert (await container.roll_back("base")).tier == "cold"
        assert container.state is State.READY


@story
async def test_a_spare_that_could_not_be_made_is_no_reason_to_fail() -> None:
    async with a_container() as (container, around):
        container.boot()
        await container.ready()
        around.generations.failing.add("make")
        await container.snapshot("base")
        await settled(container)
        around.generations.failing.clear()
        assert (await container.roll_back("base")).tier == "cold"


@story
async def test_a_clean_stop_seals_the_files_and_boots_from_them() -> None:
    async with a_container(clean_stop=True) as (container, around):
        container.boot()
        await container.ready()
        around.generations.diary.clear()
        await container.snapshot("base")
        assert around.generations.diary[:5] == ["cut", "stop 1", "seal base of 1", "make 2 from base", "start 2"]
        assert container.state is State.READY
        assert around.ends == [], "a stop that was asked for is no news"


@story
async def test_hooks_run_at_their_moments_and_their_failure_is_the_moments() -> None:
    async with a_container(before_snapshot="flush", after_boot="load") as (container, around):
        container.boot()
        await container.ready()
        assert around.commands == ["load"]
        around.answers["flush"] = (3, "no space")
        with pytest.raises(WrongState, match=r"before_snapshot.*status 3.*no space"):
            await container.snapshot("base")
        assert list(container.moments) == ["fresh"]
        around.answers.clear()
        await container.snapshot("base")
        await container.roll_back("base")
        assert around.commands == ["load", "flush", "flush", "load"]


@story
async def test_the_end_of_the_main_process_is_told_once_and_ends_waits() -> None:
    async with a_container(ready=Probe(kind="log", pattern="never")) as (container, around):
        container.boot()
        waiting = asyncio.ensure_future(container.ready())
        while container.state is not State.STARTED:
            await asyncio.sleep(0)
        container.main_process_ended(1, 7, "ended with status 7")
        with pytest.raises(ContainerDied, match="ended with status 7"):
            await waiting
        container.main_process_ended(1, 7, "ended with status 7")
        assert around.ends == ["ended with status 7"]
        assert container.standing.exit_code == 7


@story
async def test_the_end_of_an_old_generation_is_no_news() -> None:
    async with a_container() as (container, around):
        container.boot()
        await container.ready()
        await container.snapshot("base")
        await container.roll_back("base")
        container.main_process_ended(1, 137, "killed by signal 9")
        assert container.state is State.READY
        assert around.ends == []


@story
async def test_a_container_that_waits_for_its_service_can_be_removed() -> None:
    async with a_container(ready=Probe(kind="log", pattern="never")) as (container, _):
        container.boot()
        while container.state is not State.STARTED:
            await asyncio.sleep(0)
        await container.end()
        assert container.state is State.GONE


@story
async def test_a_container_that_waits_for_its_users_command_can_be_removed() -> None:
    async with a_container(before_snapshot="flush") as (container, around):
        container.boot()
        await container.ready()
        around.endless.add("flush")
        taking = asyncio.ensure_future(container.snapshot("base"))
        while "flush" not in around.commands:
            await asyncio.sleep(0)
        await container.end()
        with pytest.raises(WrongState, match="is being removed"):
            await taking
        assert container.state is State.GONE


@story
async def test_an_asker_who_gives_up_leaves_no_half_done_rollback() -> None:
    async with a_container() as (container, around):
        container.boot()
        await container.ready()
        await container.snapshot("base")
        await settled(container)
        around.generations.gates["kill"] = threading.Event()
        rolling = asyncio.ensure_future(container.roll_back("base"))
        while container.state is not State.ROLLING_BACK:
            await asyncio.sleep(0)
        rolling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rolling
        around.generations.gates.pop("kill").set()
        await container.ready()
        assert container.state is State.READY
        assert container.running().number == 2


@story
async def test_a_reboot_keeps_the_files_and_a_fresh_one_does_not() -> None:
    async with a_container() as (container, around):
        container.boot()
        await container.ready()
        around.generations.diary.clear()
        await container.reboot(fresh=False)
        assert around.generations.diary == ["cut", "kill 1", "renew 2 over 1", "start 2"]
        around.generations.diary.clear()
        await container.reboot(fresh=True)
        assert around.generations.diary[:4] == ["make 3 from fresh", "cut", "kill 2", "start 3"]


@story
async def test_unknown_and_repeated_snapshot_names_are_refused() -> None:
    async with a_container() as (container, _):
        container.boot()
        await container.ready()
        await container.snapshot("base")
        with pytest.raises(WrongState, match="has a snapshot 'base' already"):
            await container.snapshot("base")
        with pytest.raises(NotFound, match=r"no snapshot 'other' \(it has: fresh, base\)"):
            await container.roll_back("other")


@story
async def test_what_the_machine_refuses_gets_a_name() -> None:
    async with a_container() as (container, around):

        def refuse(*_: object) -> None:
            raise OSError(5, "Input/output error")

        around.generations.make_fresh = refuse  # type: ignore[method-assign]
        container.boot()
        with pytest.raises(CommandFailed, match="Input/output error"):
            await container.ready()
        assert container.state is State.FAILED


@story
async def test_where_there_is_no_room_for_both_the_old_generation_goes_first() -> None:
    async with a_container() as (container, around):
        container.boot()
        await container.ready()
        await container.snapshot("base")
        await settled(container)
        container.reserve.drop()
        await settled(container)
        fill_the_disk(around, until="bury 1")
        done = await container.roll_back("base")
        assert done.tier == "cold"
        assert container.state is State.READY
        diary = around.generations.diary
        assert diary.index("kill 1") < diary.index("bury 1") < diary.index(f"start {done.generation}")


@story
async def test_on_a_disk_that_is_nearly_full_a_rollback_waits_until_the_old_generation_is_gone() -> None:
    async with a_container() as (container, around):
        container.boot()
        await container.ready()
        await container.snapshot("base")
        await settled(container)
        around.generations.full = True
        await container.roll_back("base")
        assert "bury 1" in around.generations.diary


@story
async def test_where_there_is_no_room_even_then_the_snapshot_is_still_there() -> None:
    async with a_container() as (container, around):
        container.boot()
        await container.ready()
        await container.snapshot("base")
        await settled(container)
        container.reserve.drop()
        await settled(container)
        make = fill_the_disk(around, until="never")
        with pytest.raises(Exhausted, match="gone for lack of room, but its snapshot 'base' is not"):
            await container.roll_back("base")
        assert container.state is State.FAILED
        around.generations.make = make  # type: ignore[method-assign]
        await container.roll_back("base")
        assert container.state is State.READY


def fill_the_disk(around: FakeSurroundings, *, until: str) -> Callable[..., Any]:
    """No generation can be made before the diary has that line; returns how they are made then."""
    make = around.generations.make

    def only_with_room(*arguments: Any) -> Any:
        if until not in around.generations.diary:
            raise OSError(28, "No space left on device")
        return make(*arguments)

    around.generations.make = only_with_room  # type: ignore[method-assign]
    return make


@story
async def test_a_generation_that_could_not_be_cleared_away_goes_with_the_next() -> None:
    async with a_container() as (container, around):
        container.boot()
        await container.ready()
        await container.snapshot("base")
        await settled(container)
        around.generations.failing.add("bury")
        await container.roll_back("base")
        await settled(container)
        assert 1 in around.generations.alive
        around.generations.failing.clear()
        await container.roll_back("base")
        await settled(container)
        assert {1, 2}.isdisjoint(around.generations.alive)


@story
async def test_a_container_that_could_not_be_cleared_away_goes_when_asked_again() -> None:
    async with a_container() as (container, around):
        container.boot()
        await container.ready()
        await container.snapshot("base")
        await settled(container)
        around.generations.failing.add("bury")
        await container.roll_back("base")
        with pytest.raises(CommandFailed, match="bury was told to fail"):
            await container.end()
        assert container.sandbox.open


@story
async def test_what_was_asked_of_it_while_it_ended_fails_and_holds_nothing_up() -> None:
    async with a_container() as (container, around):
        container.boot()
        await container.ready()
        await container.snapshot("base")
        await settled(container)
        gate = around.generations.gates["kill"] = threading.Event()
        ending = asyncio.ensure_future(container.end())
        while container.state is not State.GONE:
            await asyncio.sleep(0)
        asking = [
            asyncio.ensure_future(late)
            for late in (container.roll_back("base"), container.snapshot("late"), container.reboot(fresh=False))
        ]
        await asyncio.sleep(0)
        gate.set()
        await ending
        for late in asking:
            with pytest.raises(WrongState, match="is gone"):
                await late
