"""`tf ps`: the account's containers, in all its sessions."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfnz.commands import exits, tables
from tfnz.commands import options as common
from tfnz.commands.command import Command

if TYPE_CHECKING:
    from tfcore.wire.containers import ContainerStatus
    from tfnz.visiting import Visited

HEAD = ("ID", "IMAGE", "TAG", "STATE", "PROCESSES", "MEMORY", "AGE", "ADDRESS", "NODE", "PROGRAM")


def _ps(options: argparse.Namespace) -> int:
    with common.visited(options) as visit:
        found = visit.found()
        if options.quiet:
            print("".join(f"{one.uuid}\n" for one in found), end="")
        elif options.json:
            tables.print_json([plain(one, look_at(one)) for one in found])
        else:
            tables.print_table(HEAD, [row(one, look_at(one)) for one in found])
    return exits.OK


@dataclass(frozen=True, slots=True)
class Seen:
    """How a container is: its state in a word, and what its node knows of it if that answers."""

    state: str
    status: ContainerStatus | None = None


def look_at(container: Visited) -> Seen:
    """Ask how it is; never raises for one that cannot be asked."""
    from tfcore.errors import NotFound, TfError

    if container.lost:
        return Seen("lost")
    try:
        status = container.status()
    except NotFound:
        return Seen("gone")
    except TfError:
        return Seen("unreachable")
    return Seen(status.state, status)


def row(container: Visited, seen: Seen) -> tuple[str, ...]:
    """As one row of the table."""
    status = seen.status
    return (
        container.uuid,
        container.image,
        container.tag,
        seen.state,
        str(status.processes) if status else "",
        tables.size_of(status.memory) if status else "",
        tables.time_of(time.time() - container.created),
        str(container.ip),
        container.node.name,
        container.program,
    )


def plain(container: Visited, seen: Seen) -> dict[str, Any]:
    """As one object for programs."""
    status = seen.status
    return {
        "id": container.uuid,
        "image": container.image,
        "tag": container.tag,
        "state": seen.state,
        "processes": status.processes if status else None,
        "memory": status.memory if status else None,
        "exit_code": status.exit_code if status else None,
        "created": container.created,
        "address": str(container.ip),
        "node": container.node.name,
        "session": container.session,
        "program": container.program,
    }


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="only the ids")


COMMAND = Command(
    name="ps",
    summary="list your containers, those of running test suites and other terminals too",
    description="""
A row for each container of your account at the location, whichever session it belongs to, oldest first: ID, IMAGE,
TAG, STATE, PROCESSES, MEMORY, AGE, ADDRESS, NODE, PROGRAM (what its session's client is). STATE is booting, ready,
asleep … as the node says, or lost, gone, unreachable.
""",
    run=_ps,
    arguments=_arguments,
    common=("where", "json"),
    examples=(
        ("tf ps", "what there is"),
        ("tf ps -q", "only the ids"),
        ("tf ps --json | jq '.[].memory'", "for programs"),
    ),
    see_also=("tf-top", "tf-exec", "tf-logs", "tf-cp"),
)
