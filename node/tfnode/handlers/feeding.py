"""From the event loop into a thread that works as fast as pieces come: for what can only be written as a reader.

A thread of its own, since it waits for a client, and the agent's few driver threads must not.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from tfcore.errors import WrongState

T = TypeVar("T")

AHEAD = 8
"""Pieces that may wait for the thread."""


class Feed:
    """`put` and `end` in the loop; `pieces` in the thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(AHEAD)
        self._over = False

    async def put(self, piece: bytes) -> None:
        """Hand a piece over, when there is room for it; it is dropped if the thread wants no more."""
        await self._room.acquire()
        if self._over:
            self._room.release()
        else:
            self._queue.put(piece)

    def end(self) -> None:
        """That was all."""
        self._queue.put(None)

    def tear(self) -> None:
        """There will be no more, though that was not all; nothing happens after `end`."""
        self._queue.put(WrongState("what was sent did not arrive as a whole"))

    def unwanted(self) -> None:
        """The thread has ended: nobody waits for room any more."""
        self._over = True
        self._room.release()

    def pieces(self) -> Iterator[bytes]:
        """In the thread: all pieces. WrongState if they end too early."""
        while (piece := self._queue.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
            with contextlib.suppress(RuntimeError):  # the loop may be gone
                self._loop.call_soon_threadsafe(self._room.release)


def in_own_thread(function: Callable[[], T]) -> asyncio.Future[T]:
    """Run `function` in a thread that ends with it; its outcome, in the running loop."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def tell(set_outcome: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if outcome.done() else set_outcome())

    def run() -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - handed to who waits
            tell(lambda error=error: outcome.set_exception(error))  # type: ignore[misc]
        else:
            tell(lambda: outcome.set_result(result))

    threading.Thread(target=run, name="feeding", daemon=True).start()
    return outcome
