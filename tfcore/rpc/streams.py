"""The bytes that go with one request: channels, each one way, each with credit.

A writer may be at most `WINDOW` bytes ahead of its reader, so every hop holds bounded memory and a slow reader slows its
own writer only (DESIGN D12). The same credit says what need not be kept any more: what a cut has swallowed is sent again,
and a cut shows in a stream as a pause (DESIGN D3). Knows nothing of sockets: it is handed what sends, and fed what
arrives. All of it runs in one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Literal

from tfcore.errors import TfError, Unavailable
from tfcore.rpc.channels import CHUNK, WINDOW, Inlet, Outlet

INPUT: Literal[0] = 0
"""The channel from the asker to the handler."""
OUTPUT: Literal[1] = 1
ERRORS: Literal[2] = 2

CROWDED = 0.1
"""Seconds until something is sent once more that the connection did not take."""

TELL = 1.0
"""Seconds after which a writer that is far from the end of its credit is told how far its reader is: until then it keeps
what it has sent."""

SendData = Callable[[int, int, bytes | memoryview, bool], None]
"""(channel, offset, data, end); raises `Unavailable` if the connection does not take it now."""
SendCredit = Callable[[int, int, bool], None]
"""(channel, offset consumed, whether what comes after it is to be sent again); raises nothing."""


class Stream:
    """One request's channels. `write`/`finish` on those we send, `read` on those we receive."""

    def __init__(
        self, send_data: SendData, send_credit: SendCredit, on_torn: Callable[[TfError], None] = lambda _: None
    ) -> None:
        """`on_torn` is told why, if bytes are lost that cannot be had again."""
        self._send_data = send_data
        self._send_credit = send_credit
        self._on_torn = on_torn
        self._outlets: dict[int, Outlet] = {}
        self._inlets: dict[int, Inlet] = {}
        self._error: TfError | None = None

    # writing

    async def write(self, channel: int, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, waiting for credit as needed. It must not be changed afterwards: it may have to be sent again.

        Raises:
            TfError: the stream was aborted.
        """
        outlet = self._outlets.setdefault(channel, Outlet())
        view = memoryview(data)
        while view:
            room = await self._room(outlet)
            piece = view[: min(room, CHUNK)]
            try:
                self._send_data(channel, outlet.sent, piece, False)
            except Unavailable:
                await asyncio.sleep(CROWDED)
                continue
            outlet.keep(piece)
            view = view[len(piece) :]

    async def _room(self, outlet: Outlet) -> int:
        while True:
            self._check()
            room = WINDOW - (outlet.sent - outlet.consumed)
            if room > 0:
                return room
            outlet.room.clear()
            await outlet.room.wait()

    def finish(self, channel: int) -> None:
        """Nothing more comes on this channel; calling it twice is harmless."""
        outlet = self._outlets.setdefault(channel, Outlet())
        if not outlet.ended and self._error is None:
            outlet.ended = True
            self._send_end(channel)

    def _send_end(self, channel: int) -> None:
        if self._error is not None:
            return
        try:
            self._send_data(channel, self._outlets[channel].sent, b"", True)
        except Unavailable:
            asyncio.get_running_loop().call_later(CROWDED, self._send_end, channel)

    # reading

    def waits(self, channel: int) -> bool:
        """True if something has arrived, its end perhaps, that was not read yet, or nobody has begun to read."""
        inlet = self._inlets.get(channel)
        return inlet is None or bool(inlet.chunks) or inlet.ended or self._error is not None

    async def read(self, channel: int) -> bytes | memoryview:
        """The next piece; b"" when the writer has finished.

        Raises:
            TfError: the stream was aborted.
        """
        inlet = self._inlets.setdefault(channel, Inlet())
        while not inlet.chunks:
            if inlet.ended:
                self._tell(channel, inlet)
                return b""
            self._check()
            inlet.arrived.clear()
            await inlet.arrived.wait()
        chunk = inlet.pop()
        if inlet.consumed - inlet.credited >= WINDOW // 4:
            self._tell(channel, inlet)
        elif inlet.telling is None:
            inlet.telling = asyncio.get_running_loop().call_later(TELL, self._tell, channel, inlet)
        return chunk

    def _tell(self, channel: int, inlet: Inlet) -> None:
        """Tell the writer how far we are, if it does not know."""
        if inlet.telling is not None:
            inlet.telling.cancel()
            inlet.telling = None
        if inlet.consumed > inlet.credited and self._error is None:
            inlet.credited = inlet.consumed
            self._send_credit(channel, inlet.consumed, False)

    async def chunks(self, channel: int) -> AsyncIterator[bytes | memoryview]:
        """All pieces until the writer has finished."""
        while chunk := await self.read(channel):
            yield chunk

    # what arrives

    def on_data(self, channel: int, at: int, data: bytes | memoryview, end: bool) -> None:
        """A data frame arrived. What is missing before it is asked for; a writer ahead of its credit tears the stream."""
        if self._error is not None:
            return
        inlet = self._inlets.setdefault(channel, Inlet())
        match inlet.take(at, data, end):
            case "gap" if not inlet.missed:
                self._ask_for(channel)
                inlet.missed = True
            case "overrun":
                self._tear("its writer does not heed its credit")
            case "taken" if inlet.tedious():
                self._send_credit(channel, min(at + len(data), inlet.consumed), False)

    def on_credit(self, channel: int, consumed: int, again: bool = False) -> None:
        """The reader has consumed up to `consumed`, and perhaps misses what comes after it; nonsense is ignored."""
        outlet = self._outlets.get(channel)
        if outlet is None or not outlet.acknowledge(consumed) or not again:
            return
        if outlet.has(consumed):
            self._send_again(channel, consumed)
        else:
            self._tear("the other side was restarted, and what it had got so far is lost")

    def _tear(self, reason: str) -> None:
        error = Unavailable(reason, retryable=True)
        self.abort(error)
        self._on_torn(error)

    # after a cut

    @property
    def sent(self) -> int:
        """What went out on all channels: bytes, and one for each end."""
        return sum(outlet.reach for outlet in self._outlets.values())

    @property
    def received(self) -> int:
        """What came in on all channels, counted as `sent`."""
        return sum(inlet.reach for inlet in self._inlets.values())

    @property
    def kept(self) -> int:
        """Bytes kept because they might have to be sent again."""
        return sum(outlet.kept for outlet in self._outlets.values())

    def tell_all(self) -> None:
        """The asker's part after a cut: what was told of how far we are may not have been heard."""
        for channel, inlet in self._inlets.items():
            inlet.credited = 0
            self._tell(channel, inlet)

    def go_on(self) -> None:
        """The handler's part after a cut: send again what the asker may lack, ask for what it may have sent in vain."""
        for channel, outlet in self._outlets.items():
            self._send_again(channel, outlet.consumed)
        if self._error is None:
            self._ask_for(INPUT)

    def _ask_for(self, channel: int) -> None:
        inlet = self._inlets.setdefault(channel, Inlet())
        inlet.credited = inlet.consumed
        self._send_credit(channel, inlet.consumed, True)

    def _send_again(self, channel: int, at: int) -> None:
        outlet, done = self._outlets[channel], at
        try:
            for start, piece in outlet.after(at):
                self._send_data(channel, start, piece, False)
                done = start + len(piece)
            if outlet.ended:
                self._send_data(channel, outlet.sent, b"", True)
        except Unavailable:
            if self._error is None:
                asyncio.get_running_loop().call_later(CROWDED, self._send_again, channel, done)

    # the end

    def abort(self, error: TfError) -> None:
        """End all channels with an error for whoever reads or writes them; the first error stays."""
        self._error = self._error or error
        for outlet in self._outlets.values():
            outlet.room.set()
        for inlet in self._inlets.values():
            inlet.arrived.set()

    def close(self, error: TfError) -> None:
        """Nobody reads any more; what was written can still be sent again."""
        self.abort(error)
        self._inlets.clear()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
