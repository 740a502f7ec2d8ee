"""From the ssh server's loop into the session's I/O loop and back: requests, and their streams.

Everything here is called in the server's loop. Knows nothing of ssh.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from tfcore.errors import Unavailable
from tfcore.rpc.link import Ongoing
from tfcore.rpc.streams import INPUT
from tfcore.wire.header import LONGEST
from tfcore.wire.message import ReplyT, Request
from tfnz.filing import Filing
from tfnz.moving import gathered

if TYPE_CHECKING:
    from tfnz.container import Container

T = TypeVar("T")


class Bridge:
    """Into the session that one container belongs to."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self._connection = container.location._connection
        self._loop = container.location._io.loop
        self.filing = Filing(self._connection, container.uuid)

    async def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Have a coroutine run in the I/O loop; if whoever waits is cancelled, so is that.

        Raises:
            Unavailable: the session is over. Whatever `work` raises.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as closed:
            work.close()
            raise Unavailable("the session is over") from closed
        return await asyncio.wrap_future(future)

    async def call(self, request: Request[ReplyT], *, timeout: float = 60.0) -> ReplyT:
        """Ask the container's node and wait for the answer."""
        return await self.ask(self._connection.call(request, target=self.container.uuid, timeout=timeout))

    @contextlib.asynccontextmanager
    async def talk(self, request: Request[ReplyT]) -> AsyncIterator[Talk]:
        """A request with a stream, given up at the end of the block if it has not been answered."""
        begun = await self.ask(self._connection.begin(request, target=self.container.uuid, timeout=LONGEST))
        try:
            yield Talk(self, begun)
        finally:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(begun.abandon)

    async def reply_to(self, ongoing: Ongoing[Any]) -> Any:
        """The answer to what was begun."""
        return await self.ask(self._connection.reply(ongoing))


class Talk:
    """A request's stream and answer. Errors are the request's own."""

    def __init__(self, bridge: Bridge, ongoing: Ongoing[Any]) -> None:
        self._bridge = bridge
        self._ongoing = ongoing

    @property
    def id(self) -> str:
        """The request's."""
        return self._ongoing.header.id

    async def write(self, data: bytes) -> None:
        """Send; waits until the far side has room."""
        await self._bridge.ask(self._ongoing.stream.write(INPUT, data))

    async def finish(self) -> None:
        """Nothing more is sent."""

        async def end() -> None:
            self._ongoing.stream.finish(INPUT)

        await self._bridge.ask(end())

    async def read(self, channel: int) -> bytes:
        """The next piece; none at the end."""
        return await self._bridge.ask(gathered(self._ongoing.stream, channel))

    async def chunks(self, channel: int) -> AsyncIterator[bytes]:
        """All pieces."""
        while piece := await self.read(channel):
            yield piece

    async def reply(self) -> Any:
        """The answer."""
        return await self._bridge.reply_to(self._ongoing)
