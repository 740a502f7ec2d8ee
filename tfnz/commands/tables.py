"""What commands print: tables whose columns scripts can rely on, JSON, sizes and times for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")

NOTHING = "-"
"""Stands in a table where there is nothing to say: every row has all columns."""


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns, at least two spaces apart, below their names; the same on a terminal and in a pipe."""
    table = [tuple(head), *(tuple(cell or NOTHING for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_json(found: Any) -> None:
    """Print it for programs."""
    print(json.dumps(found, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """A word for whoever waits: results have standard output to themselves."""
    print(text, file=sys.stderr, flush=True)


def size_of(size: int) -> str:
    """A number of bytes for people: 512 bytes, 1.5 MiB."""
    number, unit = float(size), 0
    while number >= 1024 and unit < len(UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{size} bytes" if unit == 0 else f"{number:.1f} {UNITS[unit]}"


def time_of(seconds: float) -> str:
    """A time for people, in its two largest units: 3d 4h, 59s."""
    rest = max(0, int(seconds))
    parts: list[str] = []
    for letter, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or (letter == "s" and not parts):
            parts.append(f"{count}{letter}")
    return " ".join(parts[:2])


def counted(number: int, what: str) -> str:
    """1 layer, 2 layers."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
