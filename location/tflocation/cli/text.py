"""How `tf-location` writes days, spans of time and tables. Pure but for the printing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any


def day(seconds: float) -> str:
    """A moment (seconds since the epoch) in local time, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def moment(seconds: float) -> str:
    """A moment in UTC, as programs read it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def span(seconds: float) -> str:
    """So many hours and minutes, or minutes and seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def cell(column: str, value: Any) -> str:
    """A value of a report as people read it; `--json` has it as it is."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column == "cpu":
        return f"{value:.0%} free"
    if column == "memory":
        return f"{value / 2**30:.1f} GiB free"
    return f"{value} s ago" if column == "seen" else str(value)


def print_table(heading: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns as wide as they have to be, two spaces between."""
    lines = [heading, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading))]
    for line in lines:
        print("  ".join(entry.ljust(width) for entry, width in zip(line, widths, strict=True)).rstrip())
