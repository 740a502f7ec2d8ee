"""A container's output as the SDK gives it: seed 001's list of dictionaries (Some Logs)."""

from __future__ import annotations

import codecs
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import TypedDict

from tfcore.wire.containers import GetLogs, LogRecord, LogsFound

NEWEST = 1 << 62
"""A record number beyond all there will be: asks for nothing but the number of the next one."""

PATIENCE = 20.0
"""Seconds the node waits for something to be written before it says that there is nothing."""

Ask = Callable[[GetLogs], LogsFound]


class LogLine(TypedDict):
    """A piece of output, as the container wrote it. `stream` is stdout or stderr, `time` seconds since the epoch."""

    log: str
    stream: str
    time: float


def next_record(ask: Ask) -> int:
    """The number the next piece of output will have."""
    return ask(GetLogs(since=NEWEST)).next


def read(ask: Ask, since: int) -> list[LogLine]:
    """The output from record `since` up to now, whatever is written meanwhile."""
    return list(texts(_records(ask, since)))


def follow(ask: Ask, since: int) -> Iterator[LogRecord]:
    """The output from record `since` on, and what is written from now on, until nothing runs and all was told.

    It goes on over rollbacks and reboots. What is written faster than it is taken is left out when the log is full.

    Raises:
        NotFound: the container is gone.
    """
    while True:
        page = ask(GetLogs(since=since, wait=PATIENCE))
        yield from page.records
        if page.ended and not page.records:
            return
        since = page.next if page.next >= since else 0  # it was built again: another log


def texts(records: Iterable[LogRecord]) -> Iterator[LogLine]:
    """Records as dictionaries. A letter of several bytes may be torn between two pieces of the same stream."""
    decoders: defaultdict[tuple[str, int], codecs.IncrementalDecoder] = defaultdict(_decoder)
    for record in records:
        if text := decoders[record.stream, record.generation].decode(record.data):
            yield LogLine(log=text, stream=record.stream, time=record.time)


def _records(ask: Ask, since: int) -> list[LogRecord]:
    end = next_record(ask)
    found: list[LogRecord] = []
    while since < end:
        page = ask(GetLogs(since=since))
        found += page.records
        if page.next <= since:
            break
        since = page.next
    return found


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")
