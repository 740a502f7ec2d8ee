"""Somebody who reads a container's log as it grows. In the event loop; knows nothing of who that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tfnode.runtime.log import OVERHEAD, ContainerLog, Record

FAR_BEHIND = 1024 * 1024
"""Bytes after which a container waits for its patient followers; a quarter of what its log holds."""

AT_ONCE = 256 * 1024
"""Bytes taken at a time."""


class Follower:
    """A place in a log, and what has been written behind it.

    Attributes:
        news: set when there may be more.
        caught_up: called when it has come further and is not far behind.
        dropped: records that were forgotten before it came to them.
    """

    def __init__(self, log: ContainerLog, since: int) -> None:
        self._log = log
        self._at = since
        self._behind = sum(_cost(record) for record in log.since(since).records)
        self._leave = log.listen(self._heard)
        self.news = asyncio.Event()
        self.caught_up: Callable[[], None] = lambda: None
        self.dropped = 0

    @property
    def far_behind(self) -> bool:
        """True if what it has not taken yet is more than `FAR_BEHIND` bytes."""
        return self._behind > FAR_BEHIND

    def _heard(self, record: Record) -> None:
        self._behind += _cost(record)
        self.news.set()

    def take(self) -> tuple[Record, ...]:
        """The next records; none if it has all there are. `news` is set when that changes."""
        found = self._log.since(self._at, limit=AT_ONCE)
        self._at = found.next
        self.dropped += found.dropped
        if not found.records:
            self._behind = 0
            self.news.clear()
            return ()
        far = self.far_behind
        self._behind = max(0, self._behind - sum(map(_cost, found.records)))
        if far and not self.far_behind:
            self.caught_up()
        return found.records

    def close(self) -> None:
        """It follows no more."""
        self._leave()


def _cost(record: Record) -> int:
    return len(record.data) + OVERHEAD
