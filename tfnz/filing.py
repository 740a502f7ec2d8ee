"""What is asked of a container's files, as coroutines of the I/O loop: single acts, and files held open.

`tfnz.files` makes the SDK's calls of it, `tfnz.ssh` an sftp server. Paths are bytes, as the container has them.
"""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec

from tfcore.errors import Internal, TfError, WrongState
from tfcore.rpc.frames import bodies, framed
from tfcore.rpc.link import Ongoing
from tfcore.rpc.streams import INPUT, OUTPUT
from tfcore.wire import files as wire
from tfcore.wire.header import LONGEST
from tfcore.wire.message import Done, Failure, Message, ReplyT, Request
from tfnz.connection import Connection

PIECE = 1 << 20
"""Most bytes that one operation on an open file reads or writes."""

TIMEOUT = 60.0
"""Seconds for one act."""

_outcomes: msgspec.msgpack.Decoder[wire.FileDone | wire.FilePiece | Failure] = msgspec.msgpack.Decoder(
    wire.FileDone | wire.FilePiece | Failure
)


class Filing:
    """The files of one container."""

    def __init__(self, connection: Connection, container: str) -> None:
        self._connection = connection
        self._container = container

    async def ask(self, request: Request[ReplyT]) -> ReplyT:
        """One act; errors as the node says."""
        return await self._connection.call(request, target=self._container, timeout=TIMEOUT)

    async def look(self, path: bytes, *, follow: bool = True) -> wire.FileSeen:
        """What is at a path; NotFound if there is nothing."""
        return await self.ask(wire.AskFile(path=path, follow=follow))

    async def entries(self, path: bytes) -> list[wire.DirectoryEntry]:
        """All that is in a directory, by name, however much that is."""
        found: list[wire.DirectoryEntry] = []
        while True:
            after = found[-1].name if found else b""
            page = await self.ask(wire.ListDirectory(path=path, after=after))
            found.extend(page.entries)
            if not page.more or not page.entries:
                return found

    async def open(self, request: wire.OpenFile) -> OpenedFile:
        """Open a file; errors as `OpenFile` says."""
        ongoing = await self._connection.begin(request, target=self._container, timeout=LONGEST)
        opened = OpenedFile(self._connection, ongoing)
        try:
            await opened.begin()
        except BaseException:
            await opened.abandon()
            raise
        return opened


class OpenedFile:
    """A file held open at the node. Operations may be begun before earlier ones are done; they are done in their order.

    Every method raises what the node says; WrongState when it is closed, Unavailable when the container's files were put
    back meanwhile.
    """

    def __init__(self, connection: Connection, ongoing: Ongoing[Done]) -> None:
        self._ongoing = ongoing
        self._replying = asyncio.ensure_future(connection.reply(ongoing))
        self._waiting: deque[asyncio.Future[wire.FileDone | wire.FilePiece]] = deque()
        self._sending = asyncio.Lock()
        self._end: TfError | None = None
        self._reading = asyncio.ensure_future(self._read())

    async def begin(self) -> None:
        """Wait until it is open."""
        opening: asyncio.Future[wire.FileDone | wire.FilePiece] = asyncio.get_running_loop().create_future()
        self._waiting.append(opening)
        await opening

    async def _read(self) -> None:
        """Settle the operations with their outcomes until there are no more; then with the reason why."""
        try:
            async for body in bodies(self._ongoing.stream.chunks(OUTPUT)):
                self._settle(body)
            await self._replying
            self._end = WrongState("the file is closed")
        except TfError as error:
            self._end = error
        except (msgspec.MsgspecError, IndexError) as nonsense:
            self._end = Internal(f"a node has answered an operation on a file with nonsense: {nonsense}")
        finally:
            self._give_up(self._end or WrongState("the file is closed"))
            self._replying.cancel()
            await asyncio.gather(self._replying, return_exceptions=True)

    def _settle(self, body: bytes) -> None:
        waiting = self._waiting.popleft()
        if waiting.done():  # whoever waited for it has gone
            return
        outcome = _outcomes.decode(body)
        if isinstance(outcome, Failure):
            waiting.set_exception(outcome.error())
        else:
            waiting.set_result(outcome)

    def _give_up(self, error: TfError) -> None:
        self._end = self._end or error
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(self._end)

    async def _ask(self, operation: Message) -> wire.FileDone | wire.FilePiece:
        outcome: asyncio.Future[wire.FileDone | wire.FilePiece] = asyncio.get_running_loop().create_future()
        async with self._sending:  # a message may have to wait for credit in its middle
            if self._end is not None:
                raise self._end
            self._waiting.append(outcome)
            await self._ongoing.stream.write(INPUT, framed(operation))
        return await outcome

    async def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes, and at most `PIECE`, from `offset`; none at the end."""
        piece = await self._ask(wire.ReadAt(offset=offset, size=min(size, PIECE)))
        if not isinstance(piece, wire.FilePiece):
            raise Internal("a node has answered a read with something else")
        return piece.data

    async def write(self, offset: int, data: bytes) -> None:
        """Write all of it."""
        for start in range(0, len(data), PIECE):
            await self._ask(wire.WriteAt(offset=offset + start, data=data[start : start + PIECE]))

    async def change(self, changes: wire.Changes) -> None:
        """Mode, owner, size or times."""
        await self._ask(wire.ChangeOpen(changes=changes))

    async def status(self) -> wire.FileStatus:
        """How it is now."""
        done = await self._ask(wire.AskOpen())
        if not isinstance(done, wire.FileDone) or done.status is None:
            raise Internal("a node has not told how a file is")
        return done.status

    async def sync(self) -> None:
        """Have it on the disk."""
        await self._ask(wire.SyncOpen())

    async def close(self) -> None:
        """Close it, after all that was begun; twice is harmless.

        Raises:
            TfError: the connection was lost before it was closed.
        """
        async with self._sending:
            self._ongoing.stream.finish(INPUT)
        await asyncio.shield(self._reading)
        if self._end is not None and not isinstance(self._end, WrongState):
            raise self._end

    async def abandon(self) -> None:
        """Let go of it whatever it is doing."""
        self._ongoing.abandon()
        for task in (self._replying, self._reading):
            task.cancel()
        await asyncio.gather(self._replying, self._reading, return_exceptions=True)
