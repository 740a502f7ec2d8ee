"""A command beside the main process: its streams to and from whoever asked, its exit code, its end.

Runs in the event loop; the runtime's calls are made in worker threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from tfcore.errors import TfError, WrongState
from tfcore.rpc.streams import ERRORS, INPUT, OUTPUT, Stream
from tfnode.containers import pipes
from tfnode.containers.life import Generation
from tfnode.runtime import interface as oci
from tfnode.runtime.stdio import Pipes

LINGER = 0.5
"""Seconds to go on reading after a command has ended while something it left behind still holds its output open."""

TAIL = 4000
"""Bytes of output kept of a command that runs quietly."""

Sink = Callable[[bytes], Awaitable[None]]


class Running:
    """One command and our ends of its pipes."""

    def __init__(self, runtime: oci.Runtime, executor: Executor, generation: Generation) -> None:
        self._runtime = runtime
        self._executor = executor
        self._generation = generation
        self._ended: asyncio.Future[oci.Exit] = asyncio.get_running_loop().create_future()
        self._process: oci.Process | None = None
        self._ends: list[int] = []

    async def start(self, command: oci.Command, *, stdin: bool) -> None:
        """Start it; errors as `Runtime.exec`."""
        loop = asyncio.get_running_loop()
        opened = Pipes.with_stdin() if stdin else Pipes.without_stdin()
        try:
            self._process = await loop.run_in_executor(self._executor, self._exec, command, opened, self._tell(loop))
            self._ends = [opened.take_stdin() if stdin else -1, opened.take_stdout(), opened.take_stderr()]
        finally:
            opened.close()

    def _exec(self, command: oci.Command, opened: Pipes, ended: oci.Ended) -> oci.Process:
        """In a worker thread; waits while the generation is held still."""
        with self._generation.turn:
            return self._runtime.exec(self._generation.runtime_id, command, opened.theirs, ended=ended)

    def _tell(self, loop: asyncio.AbstractEventLoop) -> oci.Ended:
        def settle(how: oci.Exit) -> None:
            if not self._ended.done():
                self._ended.set_result(how)

        def ended(how: oci.Exit) -> None:
            with contextlib.suppress(RuntimeError):  # the loop may be gone when the last processes end
                loop.call_soon_threadsafe(settle, how)

        return ended

    async def feed(self, stream: Stream) -> None:
        """Pass its stdin on; a command that does not read it any more is no error."""
        try:
            async for chunk in stream.chunks(INPUT):
                await pipes.write(self._ends[0], chunk)
        except (BrokenPipeError, TfError):
            return
        finally:
            self._close(0)

    async def drain(self, out: Sink, err: Sink) -> oci.Exit:
        """Pass its output on until it has ended."""
        pumps = [asyncio.ensure_future(_pump(self._ends[n], sink)) for n, sink in ((1, out), (2, err))]
        try:
            how = await asyncio.shield(self._ended)
            _, late = await asyncio.wait(pumps, timeout=LINGER)
            for pump in set(pumps) - late:
                pump.result()
            return how
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def close(self) -> None:
        """Kill it if it still runs, and close our ends."""
        for n in range(len(self._ends)):
            self._close(n)
        if self._process is not None and not self._ended.done():
            process = self._process
            await asyncio.get_running_loop().run_in_executor(self._executor, _kill, self._runtime, process)

    def _close(self, n: int) -> None:
        if self._ends[n] >= 0:
            os.close(self._ends[n])
            self._ends[n] = -1


def _kill(runtime: oci.Runtime, process: oci.Process) -> None:
    with contextlib.suppress(TfError):  # it, or its container, has ended meanwhile
        runtime.signal(process, 9)


async def _pump(fd: int, sink: Sink) -> None:
    while piece := await pipes.read(fd):
        await sink(piece)


async def run_streamed(
    runtime: oci.Runtime, executor: Executor, generation: Generation, command: oci.Command, stream: Stream
) -> int:
    """Run a command with its streams on a request's channels; its exit status.

    Raises:
        WrongState: its container was gone before anybody could know how it ended.
    """
    running = Running(runtime, executor, generation)
    feeding: asyncio.Task[None] | None = None
    try:
        await running.start(command, stdin=True)
        feeding = asyncio.ensure_future(running.feed(stream))
        how = await running.drain(lambda data: stream.write(OUTPUT, data), lambda data: stream.write(ERRORS, data))
        stream.finish(OUTPUT)
        stream.finish(ERRORS)
    finally:
        if feeding is not None:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        await running.close()
    if how.status is None:
        raise WrongState("the container ended while the command was running")
    return how.status


async def run_quietly(
    runtime: oci.Runtime, executor: Executor, generation: Generation, command: oci.Command
) -> tuple[int, str]:
    """Run a command without input; (exit status, the end of its output)."""
    said = bytearray()

    async def collect(data: bytes) -> None:
        said.extend(data)
        del said[:-TAIL]

    running = Running(runtime, executor, generation)
    try:
        await running.start(command, stdin=False)
        how = await running.drain(collect, collect)
    finally:
        await running.close()
    return (-1 if how.status is None else how.status), said.decode("utf-8", "replace")
