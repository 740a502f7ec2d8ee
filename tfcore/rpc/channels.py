"""The two ends of one channel of a stream, as bookkeeping: what was sent and not yet consumed, what has arrived.

A writer keeps what its reader has not consumed, so that what a cut has swallowed can be sent again; a reader takes every
byte once, however often it comes. Both hold at most a window of bytes. Knows no frames and sends nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

WINDOW = 4 * 1024 * 1024
"""Bytes a writer may be ahead of its reader."""

CHUNK = 256 * 1024
"""Bytes in one data frame."""

GATHERED = 16 * 1024
"""Bytes up to which small pieces are kept as one: a million pieces of a byte each would be a hundred million bytes."""

SMALL = 1024
"""Bytes below which a piece that arrives is copied to others."""

FEW = 64
"""Pieces that may wait as they came."""

Piece = bytes | bytearray | memoryview


@dataclass
class Outlet:
    """A channel we write.

    Attributes:
        sent, consumed: offsets in bytes: how far we are, how far the reader is.
        ended: nothing comes after `sent`.
        room: set when the reader has come further.
    """

    sent: int = 0
    consumed: int = 0
    ended: bool = False
    room: asyncio.Event = field(default_factory=asyncio.Event)
    _pieces: deque[Piece] = field(default_factory=deque)
    _first: int = 0

    @property
    def kept(self) -> int:
        """Bytes that could be sent again."""
        return self.sent - self._first

    @property
    def reach(self) -> int:
        """How far we are, the end counted as one more."""
        return self.sent + self.ended

    def keep(self, piece: memoryview) -> None:
        """It has been sent. The piece must not change any more."""
        self.sent += len(piece)
        last = self._pieces[-1] if self._pieces else b""
        if isinstance(last, bytearray) and len(last) + len(piece) <= GATHERED:
            last += piece
        else:
            self._pieces.append(bytearray(piece) if len(piece) < GATHERED else piece)

    def acknowledge(self, consumed: int) -> bool:
        """The reader has consumed up to `consumed`; False if that is nonsense: beyond what was sent."""
        if consumed > self.sent:
            return False
        if consumed > self.consumed:
            self.consumed = consumed
            while self._pieces and self._first + len(self._pieces[0]) <= consumed:
                self._first += len(self._pieces.popleft())
            self.room.set()
        return True

    def has(self, at: int) -> bool:
        """True if everything from `at` on could be sent again."""
        return self._first <= at

    def after(self, at: int) -> Iterator[tuple[int, bytes | memoryview]]:
        """What was sent from offset `at` on, with where each piece belongs."""
        start = self._first
        for piece in list(self._pieces):
            end = start + len(piece)
            if end > at:
                skipped = max(0, at - start)
                view = memoryview(piece)[skipped:]
                yield start + skipped, bytes(view) if isinstance(piece, bytearray) else view
            start = end


@dataclass
class Inlet:
    """A channel we read.

    Attributes:
        chunks: what has arrived and was not yet consumed.
        received, consumed: offsets in bytes.
        credited: the offset up to which the writer has been told that we have consumed.
        ended: nothing comes after `received`.
        missed: something did not arrive, and the writer has been asked for it.
        arrived: set when there is something to read.
        telling: will tell the writer how far we are, in a moment.
    """

    chunks: deque[bytes | bytearray | memoryview] = field(default_factory=deque)
    received: int = 0
    consumed: int = 0
    credited: int = 0
    ended: bool = False
    missed: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    telling: asyncio.TimerHandle | None = None
    _repeated: int = 0

    @property
    def reach(self) -> int:
        """How much has arrived, the end counted as one more."""
        return self.received + self.ended

    def take(self, at: int, data: bytes | memoryview, end: bool) -> Literal["taken", "gap", "overrun"]:
        """Something arrived: after a cut perhaps not for the first time, or too early.

        Returns:
            "gap" if what comes before it is missing, "overrun" if the writer is further ahead than it may be; nothing is
            taken then.
        """
        if at > self.received:
            return "gap"
        fresh = data[self.received - at :] if at < self.received else data
        if self.received + len(fresh) - self.consumed > WINDOW + CHUNK:
            return "overrun"
        if fresh:
            self._keep(fresh)
            self.received += len(fresh)
        self._repeated += len(data) - len(fresh)
        self.ended = self.ended or end
        self.missed = False
        self.arrived.set()
        return "taken"

    def _keep(self, piece: bytes | memoryview) -> None:
        """Small pieces that pile up are kept as one: their writer chooses how small they are, and we pay for each."""
        last = self.chunks[-1] if self.chunks else b""
        if len(piece) >= SMALL or len(self.chunks) < FEW:
            self.chunks.append(piece)
        elif isinstance(last, bytearray) and len(last) + len(piece) <= GATHERED:
            last += piece
        else:
            self.chunks.append(bytearray(piece))

    def tedious(self) -> bool:
        """True now and then while the writer repeats itself: one that has begun anew needs credit for that, too."""
        if self._repeated < WINDOW // 4:
            return False
        self._repeated = 0
        return True

    def pop(self) -> bytes | memoryview:
        """Consume the next piece."""
        chunk = self.chunks.popleft()
        self.consumed += len(chunk)
        return bytes(chunk) if isinstance(chunk, bytearray) else chunk
