"""Pieces of a stream on their way to a user's callback: in order, none lost, and never far ahead of it.

The I/O thread hands them over and waits when the callback has not kept up, so that memory stays bounded and a slow callback
slows its own writer only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from tfnz.callbacks import Callbacks

AHEAD = 1024 * 1024
"""Bytes that may wait for the callback."""


class Delivery:
    """To one callback. Made and called in the I/O loop.

    Args:
        lane: what the pieces belong to: whatever else is posted for it keeps its place among them.
        callback: called with (subject, bytes).
    """

    def __init__(self, callbacks: Callbacks, lane: object, callback: Callable[..., object], subject: object) -> None:
        self._callbacks = callbacks
        self._lane = lane
        self._callback = callback
        self._subject = subject
        self._loop = asyncio.get_running_loop()
        self._waiting = 0
        self._progress = asyncio.Event()

    async def __call__(self, data: bytes) -> None:
        """Hand a piece over, when the callback is not far behind."""
        await self._until(AHEAD)
        if self._callbacks.post(self._run, data, lane=self._lane):
            self._waiting += len(data)

    async def drained(self) -> None:
        """Wait until the callback has had everything."""
        await self._until(0)

    async def _until(self, most: int) -> None:
        while self._waiting > most:
            self._progress.clear()
            await self._progress.wait()

    def _run(self, data: bytes) -> None:
        """On a thread for callbacks."""
        try:
            self._callback(self._subject, data)
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                self._loop.call_soon_threadsafe(self._had, len(data))

    def _had(self, size: int) -> None:
        self._waiting -= size
        self._progress.set()
