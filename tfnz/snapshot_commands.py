"""`tf snapshots`: what an account keeps at a location, listed and let go."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfnz.kept import Kept

EXAMPLES = """examples:
  tf snapshots list                 what is kept, oldest first
  tf snapshots list --json          the same for programs
  tf snapshots rm seeded x-4fGh…    let these go, by name or id
  tf snapshots gc                   let go what has expired, and the oldest evictable ones beyond the limit
"""
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `snapshots` with its own commands."""
    snapshots = commands.add_parser(
        "snapshots",
        help="list kept snapshots and let them go",
        description="Snapshots of containers that outlive their sessions: made by Container.keep(), spawned from by "
        "Location.resume(). They hold disk on their node, and no memory.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = snapshots.add_subparsers(required=True, metavar="COMMAND")
    listing = verbs.add_parser("list", help="what this account keeps, oldest first")
    listing.add_argument(
        "--json", action="store_true", help="a list of objects for programs; times since the epoch, bytes"
    )
    listing.set_defaults(run=_list)
    rm = verbs.add_parser("rm", help="let some go; containers that were spawned from them live on")
    rm.add_argument("snapshot", nargs="+", metavar="ID", help="a kept snapshot's id or name")
    rm.set_defaults(run=_remove)
    gc = verbs.add_parser("gc", help="let go what has expired, and the oldest evictable ones beyond the limit")
    gc.set_defaults(run=_tidy)
    for parser in (listing, rm, gc):
        parser.add_argument("--location", metavar="NAME", help="where (default: the default location, else local)")


def _list(options: argparse.Namespace) -> int:
    from tfnz.local import location_or
    from tfnz.location import Location

    with Location(location_or(options.location), quiet=True) as location:
        present = location.kept()
        if options.json:
            print(json.dumps([_plain(kept) for kept in present], indent=2))
        elif present:
            _print_table([("ID", "NAME", "IMAGE", "SIZE", "AGE", "GOES IN", "NODE", "LABELS"), *map(_row, present)])
        else:
            print(f"nothing is kept at {location.name}")
    return 0


def _remove(options: argparse.Namespace) -> int:
    from tfnz.local import location_or
    from tfnz.location import Location

    with Location(location_or(options.location), quiet=True) as location:
        found = {kept.id: kept for kept in map(location.kept_snapshot, options.snapshot)}  # all, before one goes
        for kept in found.values():
            kept.forget()
            print(f"{_called(kept)} is gone, and {size_of(kept.size)} with it")
    return 0


def _tidy(options: argparse.Namespace) -> int:
    from tfcore.wire.kept import TidyKept
    from tfnz.kept import Kept
    from tfnz.local import location_or
    from tfnz.location import Location

    with Location(location_or(options.location), quiet=True) as location:
        tidied = location._call(TidyKept(), timeout=300)
        now = time.time()
        for kept in (Kept(location, snapshot) for snapshot in tidied.gone):
            expired = kept.expires is not None and kept.expires <= now
            why = "it had expired" if expired else "beyond the limit"
            print(f"{_called(kept)} is gone, and {size_of(kept.size)} with it: {why}")
        print(f"{size_of(tidied.size)} are kept at {location.name}; the limit is {size_of(tidied.limit)}")
    return 0


def _called(kept: Kept) -> str:
    return f"{kept.name} ({kept.id})" if kept.name else kept.id


def _plain(kept: Kept) -> dict[str, Any]:
    return {
        "id": kept.id,
        "name": kept.name,
        "image": kept.image,
        "size": kept.size,
        "created": kept.created,
        "expires": kept.expires,
        "evictable": kept.evictable,
        "node": _node(kept),
        "labels": kept.labels,
    }


def _row(kept: Kept) -> tuple[str, ...]:
    now = time.time()
    labels = " ".join(f"{name}={value}" for name, value in kept.labels.items())
    return (
        kept.id, kept.name or "-", kept.image, size_of(kept.size), time_of(now - kept.created), _goes(kept, now),
        _node(kept), labels or "-",
    )  # fmt: skip


def _goes(kept: Kept, now: float) -> str:
    if kept.expires is not None:
        return time_of(kept.expires - now)
    return "when full" if kept.evictable else "-"


def _node(kept: Kept) -> str:
    from tfcore.errors import NotFound

    try:
        return kept.node.name
    except NotFound:
        return "gone"


def _print_table(rows: Iterable[tuple[str, ...]]) -> None:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


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
