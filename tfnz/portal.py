"""The one I/O thread behind the synchronous SDK, and the thread that runs users' callbacks.

A callback may block and may call back into the SDK, so callbacks never run on the I/O thread (DESIGN D3). Knows nothing
of locations or containers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tfcore.errors import WrongState

log = logging.getLogger(__name__)
T = TypeVar("T")


class Portal:
    """An event loop in a daemon thread, entered from any other thread."""

    def __init__(self, name: str) -> None:
        self._pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"tfnz {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the loop and wait for its result; Ctrl-C cancels it.

        Raises:
            WrongState: called from the loop's own thread, after `close`, or in a forked child.
            Exception: whatever `work` raises.
        """
        try:
            self._check()
        except WrongState:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError as stopped:
            raise WrongState("the location was disconnected during the call") from stopped
        except BaseException:
            future.cancel()
            raise

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise WrongState("this location belongs to the parent process", hint="connect again after the fork")
        if threading.current_thread() is self._thread:
            raise WrongState("a blocking call on the I/O thread would never return")
        if self.loop.is_closed() or not self._thread.is_alive():
            raise WrongState("the location is disconnected", hint="make a new Location")

    def close(self) -> None:
        """Cancel what runs in the loop, end the thread and wait for it. Safe to call twice."""
        if os.getpid() != self._pid or self.loop.is_closed():
            return
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(_cancel_others(), self.loop).result(5)
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Callbacks:
    """Runs users' functions one after another in a thread of their own, started at the first one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def post(self, function: Callable[..., object] | None, *args: Any) -> None:
        """Have `function(*args)` called soon, after all posted before it; None is ignored."""
        if function is None:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"tfnz {self._name} callbacks", daemon=True)
                self._thread.start()
        self._queue.put((function, args))

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            function, args = item
            try:
                function(*args)
            except Exception:
                log.exception("the callback %r failed", function)

    def close(self) -> None:
        """Run what was posted, then end. From within a callback it does not wait for itself."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            self._queue.put(None)
            if thread is not threading.current_thread():
                thread.join(5)
