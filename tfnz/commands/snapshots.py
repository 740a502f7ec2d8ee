"""`tf snapshots`: what an account keeps at a location, listed and let go."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from tfnz.commands import options as common
from tfnz.commands import tables
from tfnz.commands.command import Command
from tfnz.commands.tables import size_of, time_of

if TYPE_CHECKING:
    from tfnz.kept import Kept

HEAD = ("ID", "NAME", "IMAGE", "SIZE", "AGE", "GOES IN", "NODE", "LABELS")


def _list(options: argparse.Namespace) -> int:
    with common.opened(options) as location:
        present = location.kept()
        if options.json:
            tables.print_json([_plain(kept) for kept in present])
        elif present:
            tables.print_table(HEAD, map(_row, present))
        else:
            print(f"nothing is kept at {location.name}")
    return 0


def _remove(options: argparse.Namespace) -> int:
    with common.opened(options) as location:
        found = {kept.id: kept for kept in map(location.kept_snapshot, options.snapshot)}  # all, before one goes
        for kept in found.values():
            kept.forget()
            print(f"{_called(kept)} is gone, and {size_of(kept.size)} with it")
    return 0


def _tidy(options: argparse.Namespace) -> int:
    from tfcore.wire.kept import TidyKept
    from tfnz.kept import Kept

    with common.opened(options) as location:
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


def _rm_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("snapshot", nargs="+", metavar="ID", help="a kept snapshot's id or name")


COMMAND = Command(
    name="snapshots",
    summary="list kept snapshots and let them go",
    description="""
Snapshots of containers that outlive their sessions: made by Container.keep() and pytest --tf-keep, spawned from by
Location.resume() and tf resume. They hold disk on their node, and no memory.
""",
    verbs=(
        Command(
            name="list",
            summary="what this account keeps, oldest first",
            description="One row for each kept snapshot. GOES IN is when it goes by itself; `when full` means that it may "
            "go when the account keeps more than the location's limit.",
            run=_list,
            common=("where", "json"),
        ),
        Command(
            name="rm",
            summary="let some go; containers that were spawned from them live on",
            description="Forgets kept snapshots. All of them are looked up before the first one goes.",
            run=_remove,
            arguments=_rm_arguments,
            common=("where",),
        ),
        Command(
            name="gc",
            summary="let go what has expired, and the oldest evictable ones beyond the limit",
            description="Does at once what the location does by itself now and then, and says what went and what is left.",
            run=_tidy,
            common=("where",),
        ),
    ),
    examples=(
        ("tf snapshots list", "what is kept, oldest first"),
        ("tf snapshots list --json", "the same for programs"),
        ("tf snapshots rm seeded x-4fGh…", "let these go, by name or id"),
        ("tf snapshots gc", "let go what has expired or is beyond the limit"),
    ),
    see_also=("tf-resume",),
)
