"""One at a time per key: callers for the same thing wait for each other, callers for different things do not.

Knows nothing of what is done.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tfcore.errors import DeadlineExceeded


class Turns:
    """Locks by key, kept only while somebody holds or wants them."""

    def __init__(self) -> None:
        self._table = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._interested: dict[str, int] = {}

    @contextmanager
    def of(self, key: str, *, timeout: float) -> Iterator[None]:
        """Hold the turn for `key`.

        Args:
            key: what for.
            timeout: seconds to wait for it.

        Raises:
            DeadlineExceeded: somebody else had it all the time.
        """
        lock = self._join(key)
        try:
            if not lock.acquire(timeout=timeout):
                raise DeadlineExceeded(f"{key} is still being worked on by another request after {timeout:g} s")
            try:
                yield
            finally:
                lock.release()
        finally:
            self._leave(key)

    def _join(self, key: str) -> threading.Lock:
        with self._table:
            self._interested[key] = self._interested.get(key, 0) + 1
            return self._locks.setdefault(key, threading.Lock())

    def _leave(self, key: str) -> None:
        with self._table:
            self._interested[key] -= 1
            if not self._interested[key]:
                del self._interested[key], self._locks[key]
