"""The bytes that go with one request: channels, each one way, each with credit.

A writer may be at most `WINDOW` bytes ahead of its reader, so every hop holds bounded memory and a slow reader slows its
own writer only (DESIGN D12). Knows nothing of sockets: it is handed a `Send` and fed what arrives. All of it runs in one
event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal

from tfcore.errors import TfError, Unavailable

WINDOW = 4 * 1024 * 1024
"""Bytes a writer may be ahead of its reader."""

CHUNK = 256 * 1024
"""Bytes in one data frame."""

INPUT: Literal[0] = 0
"""The channel from the asker to the handler."""
OUTPUT: Literal[1] = 1
ERRORS: Literal[2] = 2

SendData = Callable[[int, int, bytes | memoryview, bool], None]
"""(channel, offset, data, end)"""
SendCredit = Callable[[int, int], None]
"""(channel, offset consumed)"""


@dataclass
class _Outlet:
    """A channel we write: how far we are, how far the reader is."""

    sent: int = 0
    consumed: int = 0
    ended: bool = False
    room: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class _Inlet:
    """A channel we read: what has arrived and was not yet consumed."""

    chunks: deque[bytes | memoryview] = field(default_factory=deque)
    received: int = 0
    consumed: int = 0
    credited: int = 0
    ended: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class Stream:
    """One request's channels. `write`/`finish` on those we send, `read` on those we receive."""

    def __init__(self, send_data: SendData, send_credit: SendCredit) -> None:
        self._send_data = send_data
        self._send_credit = send_credit
        self._outlets: dict[int, _Outlet] = {}
        self._inlets: dict[int, _Inlet] = {}
        self._error: TfError | None = None

    @property
    def used(self) -> bool:
        """True once any byte went either way: the request cannot simply be sent again."""
        return any(o.sent or o.ended for o in self._outlets.values()) or any(
            i.received or i.ended for i in self._inlets.values()
        )

    async def write(self, channel: int, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, waiting for credit as needed.

        Raises:
            TfError: the stream was aborted, e.g. `Unavailable` after a cut.
        """
        outlet = self._outlets.setdefault(channel, _Outlet())
        view = memoryview(data)
        while view:
            room = await self._room(outlet)
            piece, view = view[: min(room, CHUNK)], view[min(room, CHUNK) :]
            self._send_data(channel, outlet.sent, piece, False)
            outlet.sent += len(piece)

    async def _room(self, outlet: _Outlet) -> int:
        while True:
            self._check()
            room = WINDOW - (outlet.sent - outlet.consumed)
            if room > 0:
                return room
            outlet.room.clear()
            await outlet.room.wait()

    def finish(self, channel: int) -> None:
        """Nothing more comes on this channel; calling it twice is harmless."""
        outlet = self._outlets.setdefault(channel, _Outlet())
        if not outlet.ended and self._error is None:
            outlet.ended = True
            self._send_data(channel, outlet.sent, b"", True)

    def waits(self, channel: int) -> bool:
        """True if something has arrived, its end perhaps, that was not read yet, or nobody has begun to read."""
        inlet = self._inlets.get(channel)
        return inlet is None or bool(inlet.chunks) or inlet.ended or self._error is not None

    async def read(self, channel: int) -> bytes | memoryview:
        """The next piece; b"" when the writer has finished.

        Raises:
            TfError: the stream was aborted.
        """
        inlet = self._inlets.setdefault(channel, _Inlet())
        while not inlet.chunks:
            if inlet.ended:
                return b""
            self._check()
            inlet.arrived.clear()
            await inlet.arrived.wait()
        chunk = inlet.chunks.popleft()
        inlet.consumed += len(chunk)
        if inlet.consumed - inlet.credited >= WINDOW // 4 and not inlet.ended:
            inlet.credited = inlet.consumed
            self._send_credit(channel, inlet.consumed)
        return chunk

    async def chunks(self, channel: int) -> AsyncIterator[bytes | memoryview]:
        """All pieces until the writer has finished."""
        while chunk := await self.read(channel):
            yield chunk

    def on_data(self, channel: int, at: int, data: bytes | memoryview, end: bool) -> None:
        """A data frame arrived. A gap (frames lost with a connection) or a writer ahead of its credit aborts the stream."""
        inlet = self._inlets.setdefault(channel, _Inlet())
        if at != inlet.received or inlet.received + len(data) - inlet.consumed > WINDOW + CHUNK:
            self.abort(Unavailable("the connection was interrupted in the middle of a stream", retryable=True))
            return
        if data:
            inlet.chunks.append(data)
            inlet.received += len(data)
        inlet.ended = inlet.ended or end
        inlet.arrived.set()

    def on_credit(self, channel: int, consumed: int) -> None:
        """The reader has consumed up to `consumed`; nonsense (beyond what was sent) is ignored."""
        outlet = self._outlets.setdefault(channel, _Outlet())
        if outlet.consumed < consumed <= outlet.sent:
            outlet.consumed = consumed
            outlet.room.set()

    def abort(self, error: TfError) -> None:
        """End all channels with an error for whoever reads or writes them; the first error stays."""
        self._error = self._error or error
        for outlet in self._outlets.values():
            outlet.room.set()
        for inlet in self._inlets.values():
            inlet.arrived.set()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
