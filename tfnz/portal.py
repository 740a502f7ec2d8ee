"""The one I/O thread behind the synchronous SDK: an event loop that other threads enter and leave.

Users' callbacks never run here (`tfnz.callbacks`). Knows nothing of locations or containers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from tfcore.errors import WrongState
from tfnz.callbacks import standing_aside

log = logging.getLogger(__name__)
T = TypeVar("T")

CLOSE_TIMEOUT = 5.0
"""Seconds the loop has to come to its end; everything in it can be cancelled."""


class Portal:
    """An event loop in a daemon thread, entered from any other thread.

    No default executor is ever used in it: its threads could not be ended when the interpreter is shutting down.
    """

    def __init__(self, name: str) -> None:
        self._pid = os.getpid()
        self._gate = threading.Lock()
        self._closed = False
        self._over = asyncio.Event()
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._run, name=f"tfnz {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._runner:
            self._runner.run(self._stay())

    async def _stay(self) -> None:
        await self._over.wait()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the loop and wait for its result; Ctrl-C cancels it.

        Raises:
            WrongState: called from the loop's own thread, after `close`, or in a forked child; or closed meanwhile.
            Exception: whatever `work` raises.
        """
        try:
            future = self._submit(work)
        except BaseException:
            work.close()
            raise
        try:
            with standing_aside():
                return future.result()
        except concurrent.futures.CancelledError as stopped:
            raise WrongState("the location was disconnected during the call") from stopped
        except BaseException:
            future.cancel()
            raise

    def _submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        if os.getpid() != self._pid:
            raise WrongState("a Location belongs to the process that made it", hint="make one in the forked child")
        if threading.current_thread() is self._thread:
            raise WrongState("the I/O thread cannot wait for itself", hint="use a callback, which has its own thread")
        with self._gate:
            if self._closed:
                raise WrongState("the location is disconnected", hint="make a new Location")
            return asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self) -> None:
        """Cancel what runs in the loop, end the thread and wait for it. Safe to call twice, and in a forked child."""
        if os.getpid() != self._pid:
            return
        with self._gate:
            if not self._closed:
                self._closed = True
                self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join(CLOSE_TIMEOUT)
        if self._thread.is_alive():
            log.error("the I/O thread did not end within %g s", CLOSE_TIMEOUT)
