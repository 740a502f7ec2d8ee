"""Spares that boot ahead, on a machine made of lists: when they do, when they must not, what goes wrong on the way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from tests.node.fake_generations import birth_of
from tests.node.test_container import ID, a_container, settled, story
from tfcore.errors import Exhausted, WrongState
from tfcore.wire.containers import Mount, Probe
from tfnode.containers.container import Container
from tfnode.containers.life import moment_of
from tfnode.containers.patient import Patient
from tfnode.containers.room import LEAST, Room
from tfnode.containers.standing import State
from tfnode.containers.wakening import Wakening
from tfnode.runtime.log import Stream


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def with_baseline(container: Container) -> None:
    container.boot()
    await container.ready()
    await container.snapshot("base")
    await settled(container)


@story
async def test_a_rollback_swaps_in_the_spare_that_was_booted_after_the_snapshot() -> None:
    async with a_container(ahead=True) as (container, around):
        await with_baseline(container)
        assert around.generations.diary[-3:] == ["make_beside 2 from base", "start 2", "hold 2"]
        assert container.spares == 1
        former = container.sandbox
        around.generations.diary.clear()
        done = await container.roll_back("")
        assert (done.tier, done.generation) == ("spare", 2)
        assert around.generations.diary[:2] == ["cut", "swap 1 for 2"]
        assert container.state is State.READY
        await settled(container)
        assert not former.open, "the old sandbox is still there"
        assert container.sandbox.open
        assert "bury 1" in around.generations.diary
        assert container.spares == 1, "the next one was not booted"


@story
async def test_a_rollback_waits_for_a_spare_that_boots_and_more_are_kept_from_then_on() -> None:
    async with a_container(ahead=True) as (container, around):
        container.boot()
        await container.ready()
        around.generations.gates["hold"] = threading.Event()
        await container.snapshot("base")
        rolling = asyncio.ensure_future(container.roll_back("base"))
        await until(lambda: "start 2" in around.generations.diary)
        around.generations.gates["hold"].set()
        assert (await rolling).tier == "booting"
        await settled(container)
        assert container.spares == 2


@story
async def test_what_a_spare_writes_is_not_in_the_log_before_it_is_the_container() -> None:
    async with a_container(ahead=True) as (container, _):
        await with_baseline(container)
        container.output._aside[2].append(Stream.STDOUT, b"booted\n", generation=2)
        assert container.output.page(0).records == ()
        done = await container.roll_back("base")
        assert [record.data for record in container.output.page(0).records] == [b"booted\n"]
        assert done.log_mark == 0


@story
async def test_a_few_sandboxes_are_used_in_turn() -> None:
    async with a_container(ahead=True) as (container, around):
        await with_baseline(container)
        for _ in range(6):
            assert (await container.roll_back("base")).tier == "spare"
            await settled(container)
        assert len(around.beside) <= 3, "one more for a spare that was booted before the former generation was buried"
        assert container.sandbox.reached


@story
async def test_one_that_only_needs_to_be_started_is_not_used_where_nobody_would_reach_it() -> None:
    """It was made, for lack of memory, in the sandbox that was the container's before a swap."""
    async with a_container(ahead=True) as (container, around):
        await with_baseline(container)
        stale = await container.succession.make(container.moments["base"])
        assert (await container.roll_back("base")).tier == "spare"
        await settled(container)
        container.reserve._tasks.appendleft(asyncio.ensure_future(asyncio.sleep(0, stale)))
        around.generations.diary.clear()
        assert (await container.roll_back("base")).generation != stale.number
        await settled(container)
        assert f"bury {stale.number}" in around.generations.diary


@story
async def test_a_spare_that_dies_is_not_swapped_in() -> None:
    async with a_container(ahead=True) as (container, around):
        await with_baseline(container)
        container.main_process_ended(2, 137, "killed by signal 9")
        assert container.state is State.READY
        assert around.ends == []
        assert (await container.roll_back("base")).tier == "cold"
        await settled(container)
        assert "bury 2" in around.generations.diary


@story
async def test_a_service_that_does_not_boot_beside_itself_is_only_created() -> None:
    async with a_container(ahead=True, after_boot="load") as (container, around):
        container.boot()
        await container.ready()
        around.answers["load"] = (1, "the port is taken")
        await container.snapshot("base")
        await settled(container)
        around.answers.clear()
        made = [line for line in around.generations.diary if line.startswith("make")]
        assert made[-2:] == ["make_beside 2 from base", "make 3 from base"]
        assert (await container.roll_back("base")).tier == "created"
        await settled(container)
        assert sum(line.startswith("make_beside") for line in around.generations.diary) == 1, "it was tried again"


@story
async def test_without_memory_to_spare_it_is_only_created_until_there_is_some() -> None:
    async with a_container(ahead=True) as (container, around):
        around.memory = LEAST
        await with_baseline(container)
        assert not container.ahead._standings, "one that was never made is still waited for"
        around.memory = 1 << 40
        assert (await container.roll_back("base")).tier == "created"
        await settled(container)
        assert (await container.roll_back("base")).tier == "spare"


@story
async def test_a_failed_swap_leaves_the_rollback_to_a_new_generation() -> None:
    async with a_container(ahead=True) as (container, around):
        await with_baseline(container)
        around.generations.failing.add("swap")
        done = await container.roll_back("base")
        assert done.tier == "cold"
        assert container.state is State.READY
        await settled(container)
        assert "bury 2" in around.generations.diary


@story
async def test_company_that_came_since_keeps_a_spare_from_being_used() -> None:
    async with a_container(ahead=True) as (container, around):
        await with_baseline(container)
        around.against = "it may talk to somebody"
        assert (await container.roll_back("base")).tier == "cold"


@story
async def test_a_container_whose_spare_never_gets_ready_can_be_removed() -> None:
    async with a_container(ahead=True, ready=Probe(kind="log", pattern="up")) as (container, around):
        container.boot()
        await until(lambda: container.state is State.STARTED)
        container.output._log.append(Stream.STDOUT, b"up", generation=1)
        await container.ready()
        await container.snapshot("base")
        await until(lambda: "start 2" in around.generations.diary)


@story
async def test_a_rollback_that_waits_for_a_spare_says_what_it_sees_and_can_be_given_up() -> None:
    never = "echo not yet; exit 1"
    async with a_container(ahead=True) as (container, around):
        container.boot()
        await container.ready()
        around.answers[never] = (1, "not yet")
        container.ahead._wakening = lambda generation, standing: Wakening(  # type: ignore[method-assign]
            birth_of(ID, ready=Probe(kind="exec", command=never)),
            standing,
            Patient("", container.output, around.execute, lambda: generation, container.ahead._saw),
            container.death,
        )
        await container.snapshot("base")
        rolling = asyncio.ensure_future(container.roll_back("base"))
        await until(lambda: "not yet" in container.seen)
        await container.end()
        with pytest.raises(WrongState, match="is being removed"):
            await rolling


@story
async def test_a_new_snapshot_discards_the_spares_of_the_former_one() -> None:
    async with a_container(ahead=True) as (container, around):
        await with_baseline(container)
        await container.snapshot("later")
        await settled(container)
        assert "bury 2" in around.generations.diary
        assert (await container.roll_back("base")).tier == "cold"


@story
async def test_what_sleeps_or_writes_to_shared_volumes_is_not_booted_ahead() -> None:
    shared = Mount(volume="v-" + "1" * 22, path="/data")
    async with a_container(ahead=True, mounts=(shared,)) as (container, _):
        container.boot()
        await container.ready()
        ahead, birth = container.ahead, container.birth
        assert "would write to what others see" in ahead.refusal(moment_of(birth, "base", asleep=False))
        assert "asleep" in ahead.refusal(moment_of(birth, "base", asleep=True))


def test_one_boots_at_a_time_unless_somebody_waits() -> None:
    async def run() -> None:
        room, patient, hurried = Room(1, lambda: (1 << 40, 1 << 40)), asyncio.Event(), asyncio.Event()
        hurried.set()
        async with room.turn(0, patient):
            waiting = asyncio.ensure_future(_enter(room, patient))
            await asyncio.sleep(0)
            await _enter(room, hurried)
            assert not waiting.done()
        await waiting

    asyncio.run(asyncio.wait_for(run(), 10))


async def _enter(room: Room, hurry: asyncio.Event) -> None:
    async with room.turn(0, hurry):
        pass


def test_memory_that_is_promised_is_not_there_for_others() -> None:
    async def run() -> None:
        never = asyncio.Event()
        room = Room(2, lambda: (1000 * LEAST, 152 * LEAST))
        async with room.turn(LEAST, never):
            with pytest.raises(Exhausted, match="it may need"):
                async with room.turn(LEAST, never):
                    pass
        await _enter(room, never)

    asyncio.run(asyncio.wait_for(run(), 10))
