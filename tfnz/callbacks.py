"""The thread that runs users' callbacks.

A callback may block and may call back into the SDK, so it never runs on the I/O thread (DESIGN D3). Knows nothing of what
is called.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

CLOSE_TIMEOUT = 5.0
"""Seconds that callbacks have to come to an end; one that blocks longer is left behind, on a daemon thread."""


class Callbacks:
    """Runs functions one after another in a thread of their own, started at the first one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._lock = threading.Lock()

    def post(self, function: Callable[..., object] | None, *args: Any) -> None:
        """Have `function(*args)` called soon, after all posted before it. None is ignored, and all after `close`."""
        if function is None:
            return
        with self._lock:
            if self._closed:
                return
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
            thread = None if self._closed else self._thread
            self._closed = True
        if thread is None:
            return
        self._queue.put(None)
        if thread is not threading.current_thread():
            thread.join(CLOSE_TIMEOUT)
