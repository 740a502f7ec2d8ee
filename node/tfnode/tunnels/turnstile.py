"""A lock for one thread that takes it over and over, and others that want it now and then.

A plain lock is unfair: whoever releases it and takes it again at once can keep the others waiting for ever.
"""

from __future__ import annotations

import threading
from types import TracebackType


class Turnstile:
    """`with turnstile:` as with a lock; whoever waits is next. Not reentrant."""

    def __init__(self) -> None:
        self._next = threading.Lock()
        self._inside = threading.Lock()

    def __enter__(self) -> None:
        with self._next:  # held by whoever is next, so that the one who just left cannot overtake
            self._inside.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._inside.release()
