"""The streams of a process in a container, or of its main process, as coroutines: what everything interactive is built on.

    duplex = await Duplex.spawn(connection, container.uuid, spawn_request(command="cat"))
    await duplex.write(b"hello")
    duplex.finish()
    while piece := await duplex.read(): ...
    ended = await duplex.wait()

All of it runs in the I/O loop of the `Location` (`location._io.call(...)`, or a coroutine already in it). There are no
callbacks and no threads; whoever does not read slows the process down, and nothing else. Both outputs must be read, or the
one that is not will hold up the process in the end. `tfnz.conversation` has the same for threads, `tfnz.process` the
objects of the seeds.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tfcore.errors import BadRequest, NotFound, WrongState
from tfcore.ids import new_id
from tfcore.rpc.link import Ongoing
from tfcore.rpc.streams import ERRORS, INPUT, OUTPUT
from tfcore.wire.containers import ProcessEnded
from tfcore.wire.message import Request
from tfcore.wire.processes import (
    LASTING,
    AttachContainer,
    AwaitProcess,
    ResizeTerminal,
    SignalProcess,
    SpawnProcess,
)
from tfcore.wire.terminal import Terminal
from tfnz import arguments
from tfnz.connection import Connection

STARTING = 90.0
"""Seconds until a process must run, its container's boot included."""

SAYING = 30.0
"""Seconds for something said about a process."""


class Duplex:
    """A running process.

    Attributes:
        process: its id; "" for the main process.
    """

    def __init__(self, connection: Connection, container: str, process: str, ongoing: Ongoing[ProcessEnded]) -> None:
        self._connection = connection
        self._container = container
        self.process = process
        self._stream = ongoing.stream
        self._reply = asyncio.ensure_future(connection.reply(ongoing))
        self._reply.add_done_callback(_known)

    @classmethod
    async def spawn(cls, connection: Connection, container: str, request: SpawnProcess) -> Duplex:
        """Start a process and return when it runs (or has run).

        Raises:
            BadRequest: no such user. CommandFailed: no such program. ContainerDied, NotFound, Unavailable: as they say.
        """
        ongoing = await connection.begin(request, target=container, timeout=LASTING)
        duplex = cls(connection, container, request.process, ongoing)
        try:
            await duplex._started()
        except BaseException:
            await duplex.abandon()
            raise
        return duplex

    async def _started(self) -> None:
        starting = asyncio.ensure_future(self._say(AwaitProcess(process=self.process), timeout=STARTING))
        try:
            both: set[asyncio.Future[Any]] = {starting, self._reply}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not self._reply.done():
                await starting
        except NotFound:
            await self.wait()  # it has ended before it was asked for, or the container is not there
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        if self._reply.done():
            self._reply.result()

    @classmethod
    async def attach(cls, connection: Connection, container: str, request: AttachContainer) -> Duplex:
        """Listen to, and speak to, a container's main process. `abandon` leaves it running."""
        ongoing = await connection.begin(request, target=container, timeout=LASTING)
        return cls(connection, container, "", ongoing)

    # its streams

    async def read(self) -> bytes | memoryview:
        """The next piece of stdout, or of what a terminal shows; b"" at its end.

        Raises:
            TfError: the process, or the way to it, was lost.
        """
        return await self._stream.read(OUTPUT)

    async def read_errors(self) -> bytes | memoryview:
        """The next piece of stderr; likewise. With a terminal there is nothing but its end."""
        return await self._stream.read(ERRORS)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data` to its stdin; waits while it is far ahead of the process. Must not be changed afterwards.

        Raises:
            TfError: as `read`. WrongState: it has ended.
        """
        writing = asyncio.ensure_future(self._stream.write(INPUT, data))
        try:
            both: set[asyncio.Future[Any]] = {writing, self._reply}
            if not self._reply.done():
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if self._reply.done():
                raise WrongState("the process has ended")
            await writing
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    def finish(self) -> None:
        """Nothing more comes on its stdin; harmless if said twice."""
        self._stream.finish(INPUT)

    # its life

    @property
    def ended(self) -> bool:
        """True if it is known how it ended, or that it was lost."""
        return self._reply.done()

    async def wait(self) -> ProcessEnded:
        """How it ended, when it has. Its last output may still have to be read.

        Raises:
            TfError: it was lost, as with its node.
        """
        return await asyncio.shield(self._reply)

    async def resize(self, columns: int, rows: int) -> None:
        """Give its terminal another size.

        Raises:
            BadRequest: it has none. NotFound: it has ended.
        """
        await self._say(ResizeTerminal(process=self.process, columns=columns, rows=rows))

    async def signal(self, number: int, *, all_of_it: bool = False) -> None:
        """Send it a signal; `all_of_it`: also to what it has started.

        Raises:
            NotFound: it has ended.
        """
        await self._say(SignalProcess(process=self.process, signal=number, all=all_of_it))

    async def _say(self, request: Request[Any], *, timeout: float = SAYING) -> None:
        arguments.representable(request)
        await self._connection.call(request, target=self._container, timeout=timeout)

    async def abandon(self) -> None:
        """Let go of it: a spawned process is killed if it still runs, a main process goes on."""
        self._reply.cancel()
        await asyncio.gather(self._reply, return_exceptions=True)


def _known(reply: asyncio.Future[ProcessEnded]) -> None:
    """Nobody need have asked how it ended."""
    if not reply.cancelled():
        reply.exception()


def spawn_request(
    command: str = "",
    *,
    argv: tuple[str, ...] = (),
    shell: bool = False,
    env: arguments.Pairs = None,
    user: str = "",
    workdir: str = "",
    terminal: Terminal | None = None,
) -> SpawnProcess:
    """What asks for a process, checked: a `command` for `/bin/sh -c`, an `argv` without a shell, or the user's `shell`.

    Raises:
        BadRequest: something in it cannot be.
    """
    if not isinstance(command, str):
        raise BadRequest("the command is one string, for the container's shell", hint="shlex.join() makes one")
    if [bool(command), bool(argv), shell].count(True) != 1:
        raise BadRequest("there is nothing to run: the command is empty")
    request = SpawnProcess(
        process=new_id("p"),
        command=command,
        argv=arguments.words(argv, what="argv"),
        shell=shell,
        env=arguments.environment(env),
        user=user,
        workdir=workdir,
        terminal=terminal,
    )
    arguments.representable(request)
    return request
