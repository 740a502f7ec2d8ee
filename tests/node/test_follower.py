"""Following a container's output: everything in order, and the container waits for whoever is patient."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest

from tfcore.errors import BadRequest, WrongState
from tfnode.containers.follower import FAR_BEHIND, Follower
from tfnode.containers.output import Output
from tfnode.runtime.log import CAPACITY, ContainerLog, Stream
from tfnode.runtime.stdio import Pipes


def test_a_follower_begins_where_it_wants_and_misses_nothing() -> None:
    log = ContainerLog()
    log.append(Stream.STDOUT, b"before", generation=1)

    async def scene() -> list[bytes]:
        all_of_it, later = Follower(log, 0), Follower(log, log.mark())
        assert [record.data for record in all_of_it.take()] == [b"before"]
        assert (all_of_it.take(), later.take()) == ((), ())
        assert not later.news.is_set()
        log.append(Stream.STDERR, b"after", generation=2)
        assert later.news.is_set()
        found = [record.data for follower in (all_of_it, later) for record in follower.take()]
        all_of_it.close()
        later.close()
        return found

    assert asyncio.run(scene()) == [b"after", b"after"]


def test_who_is_overtaken_by_forgetting_knows_how_much_is_missing() -> None:
    log = ContainerLog(capacity=1000)

    async def scene() -> int:
        follower = Follower(log, 0)
        for _ in range(10):
            log.append(Stream.STDOUT, bytes(100), generation=1)
        seen = 0
        while records := follower.take():
            seen += len(records)
        return seen + follower.dropped

    assert asyncio.run(scene()) == 10


def play(scene: Callable[[Output, Pipes], Any]) -> Any:
    """With a container's output whose first generation's pipes are attached."""

    async def with_output() -> Any:
        output, pipes = Output(asyncio.get_running_loop()), Pipes.with_stdin()
        theirs = pipes.theirs
        output.attach(1, pipes)
        try:
            return await scene(output, pipes)
        finally:
            output.close()
            pipes.theirs = theirs
            pipes.close()

    return asyncio.run(with_output())


async def _write(fd: int, size: int) -> int:
    """How much of it a process could write before it would have to wait for good."""
    os.set_blocking(fd, False)
    written = idle = 0
    while written < size and idle < 50:
        try:
            written += os.write(fd, bytes(min(65536, size - written)))
            idle = 0
        except BlockingIOError:
            idle += 1
        await asyncio.sleep(0)
    return written


def test_a_container_waits_for_a_patient_follower_and_for_nobody_else() -> None:
    async def scene(output: Output, pipes: Pipes) -> tuple[int, int, int]:
        out = pipes.theirs.stdout
        assert out is not None
        with output.followed(None, patient=False):
            freely = await _write(out, 2 * CAPACITY)
        with output.followed(None, patient=True) as follower:
            held = await _write(out, 2 * CAPACITY)
            taken = 0
            while records := follower.take():
                taken += sum(len(record.data) for record in records)
                await asyncio.sleep(0)
            assert follower.dropped == 0
            rest = await _write(out, FAR_BEHIND)
        assert rest == FAR_BEHIND, "it goes on when it has been taken"
        return freely, held, taken

    freely, held, taken = play(scene)
    assert freely == 2 * CAPACITY
    assert FAR_BEHIND * 0.9 < held < FAR_BEHIND + 512 * 1024
    assert 0 <= taken - held <= 65536, "nothing but what the pipe still had from before"


def test_the_end_of_a_patient_follower_lets_the_container_go_on() -> None:
    async def scene(output: Output, pipes: Pipes) -> int:
        assert pipes.theirs.stdout is not None
        with output.followed(None, patient=True):
            await _write(pipes.theirs.stdout, 2 * CAPACITY)
        return await _write(pipes.theirs.stdout, 2 * CAPACITY)

    assert play(scene) == 2 * CAPACITY


def test_stdin_is_handed_on_when_it_is_read() -> None:
    async def scene(output: Output, pipes: Pipes) -> None:
        assert pipes.theirs.stdin is not None
        feeding = asyncio.ensure_future(output.feed(1, bytes(200_000), end=True))
        await asyncio.sleep(0)
        os.set_blocking(pipes.theirs.stdin, False)
        received = 0
        while received < 200_000:
            with contextlib.suppress(BlockingIOError):
                received += len(os.read(pipes.theirs.stdin, 50_000))
            assert received or not feeding.done()
            await asyncio.sleep(0)
        await asyncio.wait_for(feeding, 30)
        assert os.read(pipes.theirs.stdin, 1) == b"", "and then it is at its end"
        with pytest.raises(WrongState, match="closed"):
            await output.feed(1, b"more", end=False)
        with pytest.raises(BadRequest, match="no terminal"):
            output.resize(1, 80, 24)

    play(scene)
