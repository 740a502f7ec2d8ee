"""`ssh -L` and `ssh -R`: TCP from inside the container to there, and from there to whoever listens at the client.

Both ends of a forwarded connection are streams here: the channel's, and the request's at the container's node.
"""

from __future__ import annotations

import asyncio
import logging

import asyncssh
import msgspec
from asyncssh.stream import SSHTCPStreamSession

from tfcore.errors import NotFound, TfError, Unavailable
from tfcore.rpc.frames import bodies
from tfcore.rpc.streams import OUTPUT
from tfcore.wire import inside as wire
from tfnz.ssh.bridge import Bridge, Talk

log = logging.getLogger(__name__)

PIECE = 64 << 10
_words: msgspec.msgpack.Decoder[wire.Listening | wire.Called] = msgspec.msgpack.Decoder(wire.Listening | wire.Called)

AGAIN = 0.5
"""Seconds between attempts to listen again in a container that was put back, rebooted or ended."""


class Forwarding:
    """What one client has forwarded; ends with its connection."""

    def __init__(self, bridge: Bridge, connection: asyncssh.SSHServerConnection) -> None:
        self._bridge = bridge
        self._connection = connection
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, work: asyncio.Task[None]) -> None:
        """Keep a task until it ends or the connection does."""
        self._tasks.add(work)
        work.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Cut everything that is forwarded."""
        for task in list(self._tasks):
            task.cancel()

    async def connect(self, host: str, port: int) -> asyncssh.SSHTCPSession[bytes]:
        """`-L`, `-W`, `-D`: connect from inside the container; the session of a channel that leads there.

        Raises:
            ChannelOpenError: that cannot be done, and the client is told why.
        """
        stands: asyncio.Future[asyncio.Future[_Ends]] = asyncio.get_running_loop().create_future()
        self.begin(asyncio.ensure_future(self._carry_to(wire.ConnectInside(host=host, port=port), stands)))
        try:
            ends = await stands
        except TfError as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, error.message) from error
        return SSHTCPStreamSession[bytes](lambda reader, writer: ends.set_result((reader, writer)))

    async def _carry_to(self, request: wire.ConnectInside, stands: asyncio.Future[asyncio.Future[_Ends]]) -> None:
        """Tells `stands` when the far end does, then waits for the near one."""
        try:
            async with self._bridge.talk(request) as talk:
                first = await _until_it_stands(talk)
                ends: asyncio.Future[_Ends] = asyncio.get_running_loop().create_future()
                stands.set_result(ends)
                await _carry(talk, first, *await ends)
        except TfError as error:
            if not stands.done():
                stands.set_exception(error)
            log.debug("a forwarded connection to %s:%d ended: %s", request.host, request.port, error)

    async def listen(self, host: str, port: int) -> asyncssh.SSHListener | bool:
        """`-R`: listen in the container, and connect each caller to the client; False if that cannot be done."""
        listener = Listener(self._bridge, self._connection, self, host, port)
        self.begin(listener.task)
        try:
            await listener.begun()
        except TfError as error:
            log.info("ssh cannot listen at %s:%d in the container: %s", host, port, error)
            return False
        return listener


_Ends = tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]


class Listener(asyncssh.SSHListener):
    """Listens in the container until it is closed, through its rollbacks and reboots."""

    def __init__(
        self, bridge: Bridge, connection: asyncssh.SSHServerConnection, forwarding: Forwarding, host: str, port: int
    ) -> None:
        super().__init__()
        self._bridge = bridge
        self._connection = connection
        self._forwarding = forwarding
        self._host = host
        self._wanted = port
        self._port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.task = asyncio.ensure_future(self._keep_listening())

    async def begun(self) -> None:
        """Wait until it listens; raises why it cannot."""
        await asyncio.shield(self._port)

    def get_port(self) -> int:
        """Where it listens."""
        return self._port.result()

    def close(self) -> None:
        """Listen no more; connections go on."""
        self.task.cancel()

    async def wait_closed(self) -> None:
        """Until it does not."""
        await asyncio.wait([self.task])

    async def _keep_listening(self) -> None:
        while True:
            try:
                await self._listen(self._port.result() if self._port.done() else self._wanted)
            except TfError as error:
                if not self._port.done():
                    self._port.set_exception(error)
                    return
                log.info("ssh does not listen at %s in the container for now: %s", self._host, error)
                if isinstance(error, NotFound):
                    return
            await asyncio.sleep(AGAIN)

    async def _listen(self, port: int) -> None:
        async with self._bridge.talk(wire.ListenInside(host=self._host, port=port)) as talk:
            async for body in bodies(talk.chunks(OUTPUT)):
                said = _words.decode(body)
                if isinstance(said, wire.Called):
                    self._forwarding.begin(asyncio.ensure_future(self._forward(talk.id, said)))
                elif not self._port.done():
                    self._port.set_result(said.port)
            await talk.reply()

    async def _forward(self, listener: str, caller: wire.Called) -> None:
        request = wire.TakeCall(listener=listener, number=caller.number)
        try:
            async with self._bridge.talk(request) as talk:
                first = await _until_it_stands(talk)
                reader, writer = await self._connection.open_connection(
                    self._host, self.get_port(), caller.host, caller.port, encoding=None
                )
                await _carry(talk, first, reader, writer)
        except (TfError, asyncssh.Error) as error:
            log.debug("a connection forwarded from the container ended: %s", error)


async def _until_it_stands(talk: Talk) -> bytes:
    """Read the byte by which the far side says so, and return what came with it; what went wrong is raised otherwise."""
    first = await talk.read(OUTPUT)
    if not first:
        await talk.reply()
        raise Unavailable("the connection ended before it stood")
    return first[1:]


async def _carry(
    talk: Talk, first: bytes, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]
) -> None:
    """Both ways until both have ended; half-close is preserved. An error ends the channel."""
    try:
        writer.write(first)
        async with asyncio.TaskGroup() as ways:
            ways.create_task(_upwards(reader, talk))
            ways.create_task(_downwards(talk, writer))
    except* (TfError, OSError, asyncssh.Error) as failures:
        log.debug("a forwarded connection ended: %s", failures.exceptions)
    finally:
        writer.close()


async def _upwards(reader: asyncssh.SSHReader[bytes], talk: Talk) -> None:
    while data := await reader.read(PIECE):
        await talk.write(data)
    await talk.finish()


async def _downwards(talk: Talk, writer: asyncssh.SSHWriter[bytes]) -> None:
    async for data in talk.chunks(OUTPUT):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
    await talk.reply()
