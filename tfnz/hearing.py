"""What a process has written: kept for who waits for its end, and heard by who waits for a reply. In the I/O loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from tfcore.errors import DeadlineExceeded, Exhausted

KEPT = 16 * 1024 * 1024
"""Bytes of output kept of a process that has no callback for it and that nobody waits for yet."""

REPLYING = 60.0
"""Seconds a process may take to say something."""

SILENCE = 0.2
"""Seconds without output after which a reply counts as complete."""


class Hearing:
    """The output of one process.

    Args:
        process: what to call it.
    """

    def __init__(self, process: str) -> None:
        self._process = process
        self._kept = bytearray()
        self._claimed = False
        self._too_much = False
        self._hearers: set[Hearer] = set()

    def hear(self, piece: bytes, *, keep: bool) -> None:
        """It has written this."""
        for hearer in self._hearers:
            hearer.add(piece)
        if not keep or self._too_much:
            return
        if len(self._kept) + len(piece) > KEPT and not self._claimed:
            self._too_much = True
            self._kept = bytearray()
        else:
            self._kept += piece

    def end(self) -> None:
        """It writes nothing more."""
        for hearer in self._hearers:
            hearer.end()

    def claim(self) -> None:
        """Somebody waits for it: all of it is kept from now on.

        Raises:
            Exhausted: too much was written before, and is lost.
        """
        self._claimed = True
        if self._too_much:
            raise Exhausted(
                f"process {self._process} wrote more than {KEPT >> 20} MiB before anybody waited for it",
                hint="give it a data_callback, or wait for it at once",
            )

    def all(self) -> bytes:
        """What was kept."""
        return bytes(self._kept)

    @contextlib.contextmanager
    def heard(self) -> Iterator[Hearer]:
        """Listen during this block."""
        hearer = Hearer(self._process)
        self._hearers.add(hearer)
        try:
            yield hearer
        finally:
            self._hearers.discard(hearer)


class Hearer:
    """What was written since somebody began to listen."""

    def __init__(self, process: str) -> None:
        self._process = process
        self._pieces: list[bytes] = []
        self._news = asyncio.Event()
        self._ended = False

    def add(self, piece: bytes) -> None:
        """It has written this."""
        self._pieces.append(piece)
        self._news.set()

    def end(self) -> None:
        """It writes nothing more."""
        self._ended = True
        self._news.set()

    async def reply(self) -> bytes:
        """What it has written, once it has been silent for a moment.

        Raises:
            DeadlineExceeded: it has written nothing.
        """
        try:
            async with asyncio.timeout(REPLYING):
                await self._news.wait()
        except TimeoutError as late:
            raise DeadlineExceeded(f"process {self._process} has said nothing within {REPLYING:g} s") from late
        with contextlib.suppress(TimeoutError):
            while not self._ended:
                self._news.clear()
                async with asyncio.timeout(SILENCE):
                    await self._news.wait()
        return b"".join(self._pieces)
