"""`tf logs`: what a container has written, and goes on to write."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfnz.commands import exits
from tfnz.commands import options as common
from tfnz.commands.command import Command

if TYPE_CHECKING:
    from tfcore.wire.containers import LogRecord
    from tfnz.container import Container


def _logs(options: argparse.Namespace) -> int:
    with common.visited(options) as visit:
        container = visit.container(options.container)
        so_far, since = _so_far(container)
        for record in so_far if options.tail is None else last_lines(so_far, options.tail):
            _print(record, as_json=options.json)
        if options.follow:
            for record in _from_now_on(container, since):
                _print(record, as_json=options.json)
    return exits.OK


def _so_far(container: Container) -> tuple[list[LogRecord], int]:
    """All there is, and where to go on."""
    from tfcore.wire.containers import GetLogs

    found: list[LogRecord] = []
    since = 0
    while True:
        page = container._page(GetLogs(since=since))
        found += page.records
        if not page.records:
            return found, page.next
        since = page.next


def _from_now_on(container: Container, since: int) -> Iterator[LogRecord]:
    """What is written until the container has ended, or is gone, and all of it was told."""
    from tfcore.errors import NotFound
    from tfnz.logs import follow

    with contextlib.suppress(NotFound):  # it was removed
        yield from follow(container._page, since)


def last_lines(records: list[LogRecord], lines: int) -> list[LogRecord]:
    """The last records, the first of them cut so that so many lines are left."""
    from msgspec.structs import replace

    found: list[LogRecord] = []
    wanted = lines + (
        0 if records and not records[-1].data.endswith(b"\n") else 1
    )  # newlines up to the first line's begin
    for record in reversed(records) if lines > 0 else ():
        parts = record.data.split(b"\n")
        if len(parts) - 1 >= wanted:
            tail = b"\n".join(parts[len(parts) - wanted :])
            return [replace(record, data=tail), *found] if tail else found
        wanted -= len(parts) - 1
        found.insert(0, record)
    return found


def _print(record: LogRecord, *, as_json: bool) -> None:
    if as_json:
        text = record.data.decode(errors="replace")
        print(json.dumps({"log": text, "stream": record.stream, "time": record.time}), flush=True)
        return
    stream = (sys.stderr if record.stream == "stderr" else sys.stdout).buffer
    stream.write(record.data)
    stream.flush()


def _lines(text: str) -> int:
    lines = int(text)
    if lines < 0:
        raise ValueError(text)
    return lines


_lines.__name__ = "number of lines"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER", help="its id or tag, or as much of the id as is only its own")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until it ends, or Ctrl-C")
    parser.add_argument("-n", "--tail", type=_lines, metavar="N", help="only the last N lines of what there is")


COMMAND = Command(
    name="logs",
    summary="print what a container has written, and follow it",
    description="""
Prints the output of a container of your account, whichever session it belongs to: what it wrote to its standard
output on standard output, and likewise for standard error. The output of a container goes on over its rollbacks. With
--json there is one object on each line: `log`, `stream`, `time`.
""",
    run=_logs,
    arguments=_arguments,
    common=("where", "json"),
    examples=(
        ("tf logs db", "all there is"),
        ("tf logs -f --tail 20 db", "the last twenty lines, and what comes"),
        ("tf logs db 2>/dev/null", "only its standard output"),
    ),
    see_also=("tf-ps", "tf-exec"),
)
