"""What containers said: a bounded record of their output, oldest forgotten first and counted.

One per container, over all its generations. Safe to use from any thread. Knows nothing of where the bytes come from.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

log = logging.getLogger(__name__)

CAPACITY = 4 * 1024 * 1024
"""Bytes a container's log may take."""

OVERHEAD = 200
"""What a record costs besides its bytes: a flood of short lines must be bounded as well."""


class Stream(Enum):
    """Which of a process's two outputs."""

    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True)
class Record:
    """A piece of output as it was read: it may hold several lines, or a part of one.

    Attributes:
        seq: counts up by one from 0 on, over all streams and generations.
        time: seconds since the epoch.
        stream: where it was written to.
        generation: which life of the container wrote it.
        data: the bytes.
    """

    seq: int
    time: float
    stream: Stream
    generation: int
    data: bytes


@dataclass(frozen=True)
class Tail:
    """Answer of `ContainerLog.since`.

    Attributes:
        records: in order.
        next: what to ask for next.
        dropped: how many of those asked for were forgotten before.
    """

    records: tuple[Record, ...]
    next: int
    dropped: int


Listener = Callable[[Record], None]
"""Called for each new record, in order, on the thread that appends it; must not block."""


class ContainerLog:
    """The output of one container.

    Args:
        capacity: bytes, overhead included; the newest record is always kept.
        wall_clock: seconds since the epoch.
    """

    def __init__(self, *, capacity: int = CAPACITY, wall_clock: Callable[[], float] = time.time) -> None:
        self._capacity = capacity
        self._clock = wall_clock
        self._lock = threading.RLock()
        self._records: deque[Record] = deque()
        self._size = 0
        self._next = 0
        self._listeners: list[Listener] = []

    def append(self, stream: Stream, data: bytes, *, generation: int) -> None:
        """Add what was read and tell the listeners. Nothing happens for no bytes."""
        if data:
            self._add(self._clock(), stream, generation, data)

    def take_in(self, other: ContainerLog) -> None:
        """Add what another log has, as what was said now, but with the times it was said at."""
        for record in other.since().records:
            self._add(record.time, record.stream, record.generation, record.data)

    def _add(self, when: float, stream: Stream, generation: int, data: bytes) -> None:
        with self._lock:
            record = Record(self._next, when, stream, generation, data)
            self._next += 1
            self._records.append(record)
            self._size += len(data) + OVERHEAD
            self._forget()
            for listener in tuple(self._listeners):
                _tell(listener, record)

    def mark(self) -> int:
        """The sequence number of the next record: what has been said up to now lies before it."""
        with self._lock:
            return self._next

    def since(self, seq: int = 0, *, limit: int = CAPACITY) -> Tail:
        """The records from `seq` on, about `limit` bytes of them at most, but at least one if there is any."""
        with self._lock:
            first = self._next - len(self._records)
            start = max(seq, first)
            dropped = max(0, start - max(seq, 0))
            records: list[Record] = []
            size = 0
            for record in list(self._records)[start - first :]:
                if records and size + len(record.data) > limit:
                    break
                records.append(record)
                size += len(record.data)
            return Tail(tuple(records), max(start, 0) + len(records), dropped)

    def last_words(self, limit: int = 2000) -> str:
        """About the last `limit` bytes of all streams as text, for an error message."""
        with self._lock:
            pieces: list[bytes] = []
            for record in reversed(self._records):
                pieces.append(record.data)
                if sum(map(len, pieces)) >= limit:
                    break
        return b"".join(reversed(pieces))[-limit:].decode("utf-8", "replace").strip()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have `listener` called for every record from now on; the result ends that."""
        with self._lock:
            self._listeners.append(listener)
        return lambda: self._leave(listener)

    def _leave(self, listener: Listener) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def _forget(self) -> None:
        while self._size > self._capacity and len(self._records) > 1:
            self._size -= len(self._records.popleft().data) + OVERHEAD


def _tell(listener: Listener, record: Record) -> None:
    try:
        listener(record)
    except Exception:  # one listener must not keep the container's output from the others
        log.exception("a listener of the container's output failed")
