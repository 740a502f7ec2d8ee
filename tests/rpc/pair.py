"""Two links back to back, with a wire between them that can be held, cut and listened to. One loop, no sockets."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tfcore.errors import Unavailable
from tfcore.rpc.dispatcher import Dispatcher, Handlers
from tfcore.rpc.link import Link
from tfcore.wire.header import Header, decode_header, encode_header

T = TypeVar("T")


def run(scenario: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a test's coroutine; it fails if it hangs."""

    async def limited() -> T:
        async with asyncio.timeout(30):
            return await scenario()

    return asyncio.run(limited())


async def settled() -> None:
    """Everything that can happen without anybody's help has happened."""
    for _ in range(50):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop go on until `condition` holds."""
    while not condition():
        await asyncio.sleep(0)


class Wire:
    """One direction: frames are delivered in order, in the next round of the loop."""

    def __init__(self) -> None:
        self.to: Link | None = None
        self.passed: list[Header] = []
        self.held: deque[tuple[bytes, bytes]] | None = None
        self.broken = False
        self.loses: Callable[[Header], bool] = lambda _: False
        """Which frames are sent and never arrive."""

    def send(self, header: Header, body: bytes | memoryview) -> None:
        """As a port does: encode, deliver later, never wait."""
        if self.broken:
            raise Unavailable("the wire is cut", retryable=True)
        self.passed.append(header)
        if self.loses(header):
            return
        frame = encode_header(header), bytes(body)
        if self.held is not None:
            self.held.append(frame)
        else:
            asyncio.get_running_loop().call_soon(self._deliver, *frame)

    def _deliver(self, header: bytes, body: bytes) -> None:
        assert self.to is not None
        self.to.receive(decode_header(header), memoryview(body))

    def hold(self) -> None:
        """Keep what is sent from now on."""
        self.held = deque()

    def release(self) -> None:
        """Deliver what was kept."""
        kept, self.held = self.held, None
        for frame in kept or ():
            self._deliver(*frame)

    def lose(self) -> None:
        """What was kept is lost, as in a cut."""
        self.held = None

    def kinds(self) -> list[str]:
        """The kinds of frames that have passed."""
        return [header.kind for header in self.passed]


class Pair:
    """An asker and an answerer."""

    def __init__(self, handlers: Handlers, *, on_event: Callable[..., None] = lambda *_: None) -> None:
        self.there, self.back = Wire(), Wire()
        self.asker = Link(self.there.send, dispatcher=Dispatcher({}), on_event=on_event, session="")
        self.answerer = Link(self.back.send, dispatcher=Dispatcher(handlers), on_event=on_event, peer="the asker")
        self.there.to, self.back.to = self.answerer, self.asker

    async def close(self) -> None:
        """End both."""
        await self.asker.close()
        await self.answerer.close()
