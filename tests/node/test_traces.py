"""When a rollback has nothing to do, and when it must not believe so: a container on a machine made of lists."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest

from tests.node.fake_generations import FakeScene, FakeSurroundings
from tests.node.test_container import a_container, settled, story
from tfcore.errors import NotFound
from tfcore.wire.differences import CompareContainer, Left
from tfnode.containers.container import Container
from tfnode.kernel.procfs import Process

WORKER = Process(7, 100, "worker")


@asynccontextmanager
async def at_base(**wish: Any) -> AsyncIterator[tuple[Container, FakeSurroundings]]:
    """A container that stands at the snapshot "base"."""
    async with a_container(**wish) as (container, around):
        around.generations.failing.clear()
        container.boot()
        await container.ready()
        await container.snapshot("base")
        await settled(container)
        yield container, around


def scene(container: Container, around: FakeSurroundings) -> FakeScene:
    """Of the generation that lives now."""
    return around.generations.scenes[container.running().number]


@story
async def test_nothing_is_done_when_nothing_has_happened() -> None:
    async with at_base() as (container, around):
        around.generations.diary.clear()
        for _ in range(3):
            done = await container.roll_back("")
            assert (done.tier, done.generation, done.log_mark) == ("clean", 1, container.output.next)
        assert (await container.ready()).generation == 1
        assert around.generations.diary == [], "its connections were cut, or something was made or ended"


@story
async def test_after_a_rollback_it_stands_there_again() -> None:
    async with at_base() as (container, around):
        for _ in range(2):
            scene(container, around).counted += 1
            assert (await container.roll_back("")).tier != "clean"
            await settled(container)
            assert (await container.roll_back("")).tier == "clean"


TRACES: dict[str, Callable[[Container, FakeScene], object]] = {
    "traffic": lambda _, scene: setattr(scene, "counted", 1),
    "process": lambda _, scene: setattr(scene, "processes", frozenset({WORKER})),
    "file": lambda _, scene: scene.files.update({"": {"new": (1,)}}),
    "touch": lambda container, _: container.traces.touched("a command").__enter__(),
}


@pytest.mark.parametrize("trace", TRACES)
def test_any_trace_is_enough(trace: str) -> None:
    @story
    async def run() -> None:
        async with at_base() as (container, around):
            TRACES[trace](container, scene(container, around))
            assert (await container.roll_back("")).tier != "clean"

    run()


@story
async def test_what_a_tunnel_still_holds_is_a_trace() -> None:
    async with at_base() as (container, around):
        around.carrying = True
        assert (await container.roll_back("")).tier != "clean"


@story
async def test_one_that_could_not_be_let_go_after_a_snapshot_is_not_clean() -> None:
    async with at_base() as (container, around):
        around.generations.held = True
        assert (await container.roll_back("")).tier != "clean"


@story
async def test_another_moment_than_the_one_it_stands_at_is_never_clean() -> None:
    async with at_base() as (container, _):
        await container.snapshot("other")
        assert (await container.roll_back("base")).tier != "clean"
        await settled(container)
        assert (await container.roll_back("base")).tier == "clean"
        assert (await container.roll_back("other")).tier != "clean"


@story
async def test_what_cannot_be_read_is_a_trace() -> None:
    async with at_base() as (container, around):
        around.generations.failing.add("scene")
        assert (await container.roll_back("")).tier != "clean"


@story
async def test_what_arrives_while_it_is_being_looked_at_belongs_to_the_next_test() -> None:
    async with at_base() as (container, around):
        seen = scene(container, around)
        seen.meanwhile = lambda: setattr(seen, "counted", seen.counted + 1)
        assert (await container.roll_back("")).tier == "clean"
        assert seen.counted == 1, "nothing has arrived"
        assert (await container.roll_back("")).tier != "clean"


@story
async def test_who_reaches_it_before_it_is_ready_leaves_a_trace() -> None:
    async with at_base(after_boot="load") as (container, around):
        container.reserve.drop()
        await settled(container)
        scene(container, around).counted += 1
        execute = around.execute

        async def reached(generation: Any, command: str | tuple[str, ...]) -> tuple[int, str]:
            around.generations.scenes[generation.number].counted += 1
            return await execute(generation, command)

        around.execute = reached  # type: ignore[method-assign]
        container.patient._execute = reached
        await container.roll_back("")
        await settled(container)
        assert (await container.roll_back("")).tier != "clean"


@story
async def test_a_command_that_runs_while_the_snapshot_is_taken_is_a_trace() -> None:
    async with a_container() as (container, around):
        around.generations.failing.clear()
        container.boot()
        await container.ready()
        with container.traces.touched("a command"):
            await container.snapshot("base")
        await settled(container)
        assert (await container.roll_back("")).tier != "clean"


@story
async def test_a_snapshot_of_files_that_change_all_the_time_is_not_to_be_trusted() -> None:
    async with a_container() as (container, around):
        around.generations.failing.clear()
        container.boot()
        await container.ready()
        scene(container, around).fresh = frozenset({""})
        await container.snapshot("base")
        assert (await container.roll_back("")).tier != "clean"


@story
async def test_a_volume_that_somebody_else_has_just_written_to_is_not_to_be_trusted() -> None:
    async with a_container() as (container, around):
        around.generations.failing.clear()
        around.generations.scenes[1] = contested = FakeScene()
        contested.fresh = contested.contested = frozenset({"volume"})
        container.boot()
        await container.ready()
        assert (await container.roll_back("fresh")).tier != "clean"


@story
async def test_processes_that_a_boot_still_starts_belong_to_it() -> None:
    async with at_base() as (container, around):
        scene(container, around).counted += 1
        await container.roll_back("")
        scene(container, around).processes = frozenset({WORKER})
        await settled(container)
        assert (await container.roll_back("")).tier == "clean"
        scene(container, around).processes = frozenset()
        assert (await container.roll_back("")).tier != "clean", "it has settled: that one ended later"


@story
async def test_a_service_that_was_reached_is_not_followed_any_more() -> None:
    async with at_base() as (container, around):
        scene(container, around).counted += 1
        await container.roll_back("")
        scene(container, around).counted += 1
        scene(container, around).processes = frozenset({WORKER})
        await settled(container)
        scene(container, around).counted -= 1
        assert (await container.roll_back("")).tier != "clean"


@story
async def test_the_end_of_its_main_process_is_a_trace() -> None:
    async with at_base() as (container, _):
        container.main_process_ended(1, 0, "ended")
        assert (await container.roll_back("")).tier != "clean"


@story
async def test_a_reboot_stands_nowhere() -> None:
    async with at_base() as (container, _):
        await container.reboot(fresh=False)
        await settled(container)
        assert (await container.roll_back("")).tier != "clean"


@story
async def test_who_wants_it_is_always_rolled_back() -> None:
    async with at_base(always_roll_back=True) as (container, _):
        assert (await container.roll_back("")).tier != "clean"
        await settled(container)
        assert (await container.roll_back("")).tier != "clean"


# --- what is told of it


@story
async def test_it_is_compared_with_how_it_looked_at_the_moment() -> None:
    async with at_base() as (container, around):
        assert (await container.compare(CompareContainer())).snapshot == "base"
        await container.snapshot("other")
        await container.compare(CompareContainer(name="base"))
        await container.compare(CompareContainer(name="other"))
        await container.compare(CompareContainer(name="base", to="other"))
        for wanted in (CompareContainer(name="none"), CompareContainer(to="none")):
            with pytest.raises(NotFound, match="no snapshot 'none'"):
                await container.compare(wanted)
        told = [line for line in around.generations.diary if line.startswith("compare")]
        assert told == [
            "compare 1 with base, seen",
            "compare 1 with base, not seen",
            "compare 1 with other, seen",
            "compare base with other",
        ]


@pytest.mark.parametrize("doubt", ["a command runs", "files are fresh", "always rolled back", "it is blind"])
def test_a_moment_that_no_rollback_is_saved_for_can_be_compared_with(doubt: str) -> None:
    @story
    async def run() -> None:
        async with a_container(always_roll_back=doubt == "always rolled back") as (container, around):
            around.generations.failing.clear()
            container.boot()
            await container.ready()
            seen = scene(container, around)
            seen.fresh = frozenset({""} if doubt == "files are fresh" else ())
            seen.blind = "no" if doubt == "it is blind" else ""
            with container.traces.touched("a command") if doubt == "a command runs" else nullcontext():
                await container.snapshot("base")
            await container.compare(CompareContainer())
            assert around.generations.diary[-1] == "compare 1 with base, seen"
            assert (await container.roll_back("")).tier != "clean"

    run()


@story
async def test_a_rollback_looks_for_what_was_left_only_if_it_is_asked_to_and_something_happened() -> None:
    async with at_base() as (container, around):
        assert (await container.roll_back("", look_for="all")).left == Left()
        scene(container, around).counted += 1
        around.generations.diary.clear()
        assert (await container.roll_back("", look_for="processes")).left.processes == ("sleep 9",)
        assert around.generations.diary[0] == "look for processes in 1, seen"
        await settled(container)
        scene(container, around).counted += 1
        assert (await container.roll_back("")).left == Left()


@story
async def test_no_rollback_fails_because_nobody_can_tell_what_was_left() -> None:
    async with at_base() as (container, around):
        scene(container, around).counted += 1
        around.generations.failing.add("look")
        done = await container.roll_back("", look_for="all")
        assert (done.tier, done.left) == ("created", Left())
