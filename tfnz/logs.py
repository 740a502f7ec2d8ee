"""A container's output as the SDK gives it: seed 001's list of dictionaries (Some Logs)."""

from __future__ import annotations

import codecs
from collections import defaultdict
from collections.abc import Callable
from typing import TypedDict

from tfcore.wire.containers import GetLogs, LogRecord, LogsFound

NEWEST = 1 << 62
"""A record number beyond all there will be: asks for nothing but the number of the next one."""

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
    return _texts(_records(ask, since))


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


def _texts(records: list[LogRecord]) -> list[LogLine]:
    """A letter of several bytes may be torn between two pieces of the same stream."""
    decoders: defaultdict[tuple[str, int], codecs.IncrementalDecoder] = defaultdict(_decoder)
    lines = []
    for record in records:
        text = decoders[record.stream, record.generation].decode(record.data)
        lines.append(LogLine(log=text, stream=record.stream, time=record.time))
    return [line for line in lines if line["log"]]


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")
