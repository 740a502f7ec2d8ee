"""A command beside the main process: its streams to and from whoever asked, its exit code, its end.

Runs in the event loop; the runtime's calls are made in worker threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from tfcore.errors import BadRequest, TfError
from tfcore.rpc.streams import ERRORS, INPUT, OUTPUT, Stream
from tfnode.containers import pipes
from tfnode.containers.life import Generation
from tfnode.kernel.sessions import session_of, signal_session
from tfnode.runtime import console
from tfnode.runtime import interface as oci
from tfnode.runtime.stdio import Pipes

LINGER = 0.5
"""Seconds to go on reading after a command has ended while something it left behind still holds its output open."""

HANG_UP = 1.0
"""Seconds that a command has to end in when its terminal is gone."""

DYING = 5.0
"""Seconds until a killed command is gone; one in a frozen container is when that goes on."""

SURPLUS = 1024 * 1024
"""Bytes that are still read then of something that never stops writing: what a pipe may hold."""

TAIL = 4000
"""Bytes of output kept of a command that runs quietly."""

Sink = Callable[[bytes], Awaitable[None]]


class Running:
    """One command and our ends of its pipes, or of its terminal."""

    def __init__(self, runtime: oci.Runtime, executor: Executor, generation: Generation) -> None:
        self._runtime = runtime
        self._executor = executor
        self._generation = generation
        self._ended: asyncio.Future[oci.Exit] = asyncio.get_running_loop().create_future()
        self._process: oci.Process | None = None
        self._ends: list[int] = []
        self._console: console.Console | None = None
        self._terminal = False
        self._lingering: asyncio.TimerHandle | None = None
        self._surplus: int | None = None
        self._waiting: set[asyncio.Event] = set()

    async def start(self, command: oci.Command, opened: Pipes) -> None:
        """Start it with these pipes, which are this object's from now on; errors as `Runtime.exec`.

        Cancelled, it still returns only when the worker has done with it: what was started by then is for `close` to kill.
        """
        loop = asyncio.get_running_loop()
        self._console = opened.console
        self._terminal = self._console is not None
        stdin = self._terminal or opened.stdin is not None
        try:
            starting = loop.run_in_executor(self._executor, self._exec, command, opened, self._tell(loop))
            try:
                self._process = await asyncio.shield(starting)
            except asyncio.CancelledError:
                with contextlib.suppress(TfError):
                    self._process = await starting
                raise
            self._ends.append(opened.take_stdin() if stdin else -1)
            self._ends.append(opened.take_stdout())
            self._ends.append(-1 if self._terminal else opened.take_stderr())
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
                self._lingering = loop.call_later(LINGER, self._linger_no_more)
                self._let_end()

        def ended(how: oci.Exit) -> None:
            with contextlib.suppress(RuntimeError):  # the loop may be gone when the last processes end
                loop.call_soon_threadsafe(settle, how)

        return ended

    def _let_end(self) -> None:
        """Its terminal has an end when it has ended, unless it has left somebody behind."""
        if self._console is not None:
            self._console.let_end()

    # what it reads and writes

    async def feed(self, stream: Stream) -> None:
        """Pass its stdin on; a command that does not read it any more is no error."""
        last = b""
        try:
            async for chunk in stream.chunks(INPUT):
                await pipes.write(self._ends[0], chunk)
                last = bytes(chunk[-1:])
            if self._terminal:
                await pipes.write(self._ends[0], console.farewell(last))
        except (OSError, TfError):
            return
        finally:
            self._close(0)

    async def drain(self, out: Sink, err: Sink) -> oci.Exit:
        """Pass its output on until it has ended; however slow the sinks are, they get all of it."""
        sinks = ((self._ends[1], out), (self._ends[2], err))
        pumps = [asyncio.ensure_future(self._pump(fd, sink)) for fd, sink in sinks if fd >= 0]
        try:
            await asyncio.gather(*pumps)
            return await asyncio.shield(self._ended)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, fd: int, sink: Sink) -> None:
        while piece := await self._read(fd):
            await sink(piece)

    async def _read(self, fd: int) -> bytes:
        """The next piece; b"" at its end, or when there has been nothing to read for a while since the command ended."""
        while self._surplus is None or self._surplus > 0:
            try:
                piece = console.read(fd, pipes.PIECE)
            except BlockingIOError:
                if self._surplus is not None:
                    break
                await self._readable(fd)
                continue
            if self._surplus is not None:
                self._surplus -= len(piece)
            return piece
        return b""

    async def _readable(self, fd: int) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        self._waiting.add(ready)
        loop.add_reader(fd, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(fd)
            self._waiting.discard(ready)

    def _linger_no_more(self) -> None:
        self._surplus = SURPLUS
        for ready in self._waiting:
            ready.set()

    # what is done to it

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of its terminal.

        Raises:
            BadRequest: it has none.
        """
        if not self._terminal:
            raise BadRequest("the process has no terminal", hint="spawn it with one")
        if self._ends and self._ends[1] >= 0:
            console.resize(self._ends[1], columns, rows)

    async def signal(self, number: int, *, all_of_it: bool) -> None:
        """Send it a signal; with `all_of_it` to its session, too. Nothing happens if it has ended.

        After SIGKILL it has ended when this returns, unless it stands still.
        """
        if self._process is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._signal, number, all_of_it)
            if number == signal.SIGKILL:
                await asyncio.wait([self._ended], timeout=DYING)

    def _signal(self, number: int, all_of_it: bool) -> None:
        """In a worker thread. What it has started is reached by its session, which is known as long as it lives itself."""
        assert self._process is not None
        if self._ended.done():
            return
        session = session_of(self._process.pid) if all_of_it else None
        if session is not None:
            signal_session(session, number, self._generation.group.pids)
        else:
            with contextlib.suppress(TfError):  # it, or its container, has ended meanwhile
                self._runtime.signal(self._process, number)

    async def close(self) -> None:
        """Kill it, with what it has started, if it still runs; close our ends.

        A terminal is hung up first, as when somebody closes a window: who ends by that leaves behind what was to stay.
        """
        if self._lingering is not None:
            self._lingering.cancel()
        try:
            if self._terminal:
                await self._hang_up()
            await self.signal(signal.SIGKILL, all_of_it=True)
        finally:
            self._let_end()
            for n in range(len(self._ends)):
                self._close(n)

    async def _hang_up(self) -> None:
        for n in range(len(self._ends)):
            self._close(n)
        if self._process is not None:
            await asyncio.wait([self._ended], timeout=HANG_UP)

    def _close(self, n: int) -> None:
        if self._ends[n] >= 0:
            os.close(self._ends[n])
            self._ends[n] = -1


async def converse(running: Running, stream: Stream) -> oci.Exit:
    """Carry a started command's streams on a request's channels until it has ended; it is killed if that is cancelled."""
    feeding = asyncio.ensure_future(running.feed(stream))
    try:
        how = await running.drain(lambda data: stream.write(OUTPUT, data), lambda data: stream.write(ERRORS, data))
        stream.finish(OUTPUT)
        stream.finish(ERRORS)
        return how
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        await running.close()


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
        await running.start(command, Pipes.without_stdin())
        how = await running.drain(collect, collect)
    finally:
        await running.close()
    return (-1 if how.status is None else how.status), said.decode("utf-8", "replace")
