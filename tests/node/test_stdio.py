"""Pipes to a container's process, read and written by an event loop."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator

import pytest

from tfcore.errors import Exhausted, WrongState
from tfnode.runtime.log import ContainerLog, Stream
from tfnode.runtime.stdio import UNWRITTEN, InputWriter, OutputReader, Pipes


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    pipes = Pipes.with_stdin()
    yield pipes
    pipes.close()


def test_our_ends_do_not_block_and_theirs_do(pipes: Pipes) -> None:
    ours = (pipes.stdin, pipes.stdout, pipes.stderr)
    theirs = (pipes.theirs.stdin, pipes.theirs.stdout, pipes.theirs.stderr)
    assert [os.get_blocking(fd) for fd in ours if fd is not None] == [False] * 3
    assert [os.get_blocking(fd) for fd in theirs if fd is not None] == [True] * 3


def test_nothing_is_inherited_by_accident(pipes: Pipes) -> None:
    for fd in (pipes.stdin, pipes.stdout, pipes.stderr, pipes.theirs.stdin, pipes.theirs.stdout, pipes.theirs.stderr):
        assert fd is not None
        assert not os.get_inheritable(fd)


def test_without_stdin_there_is_none_to_take() -> None:
    pipes = Pipes.without_stdin()
    try:
        assert pipes.theirs.stdin is None
        with pytest.raises(WrongState):
            pipes.take_stdin()
    finally:
        pipes.close()


def test_what_was_taken_is_not_closed_and_not_given_twice(pipes: Pipes) -> None:
    fd = pipes.take_stdout()
    with pytest.raises(WrongState):
        pipes.take_stdout()
    pipes.close()
    pipes.close()
    os.fstat(fd)
    os.close(fd)


async def _run(script: str, pipes: Pipes, log: ContainerLog, stdin: bytes = b"") -> int:
    """A process with these pipes, its output in `log`; its exit code after both outputs have ended."""
    loop = asyncio.get_running_loop()
    process = subprocess.Popen(
        ["sh", "-c", script], stdin=pipes.theirs.stdin, stdout=pipes.theirs.stdout, stderr=pipes.theirs.stderr
    )
    pipes.close_theirs()
    readers = [
        OutputReader(pipes.take_stdout(), Stream.STDOUT, generation=3, into=log),
        OutputReader(pipes.take_stderr(), Stream.STDERR, generation=3, into=log),
    ]
    writer = InputWriter(pipes.take_stdin(), loop)
    for reader in readers:
        reader.attach(loop)
    if stdin:
        writer.write(stdin)
    writer.end()
    async with asyncio.timeout(20):
        while any(reader.open for reader in readers):
            await asyncio.sleep(0.001)
    assert not writer.open
    writer.close()
    return process.wait()


def _said(log: ContainerLog, stream: Stream) -> bytes:
    return b"".join(record.data for record in log.since().records if record.stream is stream)


def test_output_reaches_the_log_with_stream_and_generation(pipes: Pipes) -> None:
    log = ContainerLog()
    assert asyncio.run(_run("echo out; echo err >&2; exit 4", pipes, log)) == 4
    assert (_said(log, Stream.STDOUT), _said(log, Stream.STDERR)) == (b"out\n", b"err\n")
    assert {record.generation for record in log.since().records} == {3}


def test_more_than_a_pipe_holds_passes_in_both_directions(pipes: Pipes) -> None:
    log, much = ContainerLog(), b"0123456789abcdef" * 40_000
    assert asyncio.run(_run("cat", pipes, log, much)) == 0
    assert _said(log, Stream.STDOUT) == much


def test_a_reader_takes_its_turn_and_comes_back(pipes: Pipes) -> None:
    log = ContainerLog()
    asyncio.run(_run("head -c 3000000 /dev/zero", pipes, log))
    assert len(_said(log, Stream.STDOUT)) == 3_000_000


def test_the_last_words_can_be_fetched_without_a_loop(pipes: Pipes) -> None:
    log = ContainerLog()
    reader = OutputReader(pipes.take_stdout(), Stream.STDOUT, generation=1, into=log)
    assert pipes.theirs.stdout is not None
    os.write(pipes.theirs.stdout, b"last")
    reader.read()
    assert log.last_words() == "last"
    assert reader.open
    pipes.close_theirs()
    reader.read()
    assert not reader.open
    reader.read()
    reader.close()


class StillLoop:
    """A loop in which nothing happens; remembers what it was asked to watch."""

    def __init__(self) -> None:
        self.writers: dict[int, object] = {}

    def add_writer(self, fd: int, callback: object) -> None:
        self.writers[fd] = callback

    def remove_writer(self, fd: int) -> None:
        del self.writers[fd]

    def add_reader(self, fd: int, callback: object) -> None: ...

    def remove_reader(self, fd: int) -> None: ...


def test_a_process_that_does_not_read_stops_its_writers_in_the_end(pipes: Pipes) -> None:
    loop = StillLoop()
    writer = InputWriter(pipes.take_stdin(), loop)
    writer.write(b"x" * (UNWRITTEN + 100_000))  # a pipe holds less than 100,000
    with pytest.raises(Exhausted, match="waiting for the container to read"):
        writer.write(b"x")
    assert len(loop.writers) == 1
    writer.close()
    assert loop.writers == {}


def test_no_bytes_end_the_input(pipes: Pipes) -> None:
    writer = InputWriter(pipes.take_stdin(), StillLoop())
    writer.write(b"all")
    writer.write(b"")
    assert not writer.open
    assert pipes.theirs.stdin is not None
    assert os.read(pipes.theirs.stdin, 10) == b"all"
    assert os.read(pipes.theirs.stdin, 10) == b""
    with pytest.raises(WrongState, match="closed"):
        writer.write(b"more")


def test_a_process_that_hung_up_ends_the_input(pipes: Pipes) -> None:
    writer = InputWriter(pipes.take_stdin(), StillLoop())
    pipes.close_theirs()
    writer.write(b"anybody?")
    assert not writer.open
    with pytest.raises(WrongState):
        writer.write(b"hello?")
