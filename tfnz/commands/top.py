"""`tf top`: the account's containers and what they use, live."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from tfnz.commands import exits, tables
from tfnz.commands import options as common
from tfnz.commands.command import Command
from tfnz.commands.ps import Seen, look_at

if TYPE_CHECKING:
    from rich.table import Table

    from tfnz.visiting import Visit, Visited

HEAD = ("ID", "IMAGE", "TAG", "STATE", "CPU", "MEMORY", "PROCESSES", "SPARES", "AGE", "NODE", "PROGRAM")
WIDEST = 36
"""Characters of a cell on a terminal."""

INTERVAL = 2.0
FIRST = 0.5
"""Seconds over which processor time is measured for --once."""


class Meter:
    """What share of a processor each container has used since it was last looked at."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int, float]] = {}

    def cpu(self, container: str, seen: Seen, now: float) -> float | None:
        """Cores in use; None if nobody knows: the first look, another generation than last time, no accounting."""
        if seen.status is None or seen.status.cpu_seconds is None:
            self._last.pop(container, None)
            return None
        before = self._last.get(container)
        self._last[container] = (now, seen.status.generation, seen.status.cpu_seconds)
        if before is None or before[1] != seen.status.generation or now <= before[0]:
            return None
        return max(0.0, seen.status.cpu_seconds - before[2]) / (now - before[0])


def _top(options: argparse.Namespace) -> int:
    with common.visited(options) as visit:
        if options.once or not sys.stdout.isatty():
            _once(visit)
        else:
            _live(visit, options.interval)
    return exits.OK


def _once(visit: Visit) -> None:
    meter = Meter()
    rows(visit, meter)
    time.sleep(FIRST)
    tables.print_table(HEAD, rows(visit, meter))


def rows(visit: Visit, meter: Meter) -> list[tuple[str, ...]]:
    """The table as of now."""
    return [_row(container, look_at(container), meter) for container in visit.found()]


def _row(container: Visited, seen: Seen, meter: Meter) -> tuple[str, ...]:
    status, cpu = seen.status, meter.cpu(container.uuid, seen, time.monotonic())
    return (
        container.uuid,
        container.image,
        container.tag,
        seen.state,
        "" if cpu is None else f"{100 * cpu:.1f}%",
        tables.size_of(status.memory) if status else "",
        str(status.processes) if status else "",
        str(status.spares) if status else "",
        tables.time_of(time.time() - container.created),
        container.node.name,
        container.program,
    )


def _live(visit: Visit, interval: float) -> None:
    """Until Ctrl-C, which is how one leaves it."""
    from rich.console import Console
    from rich.live import Live

    meter = Meter()
    with Live(_drawn(visit, meter), console=Console(), screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(interval)
                live.update(_drawn(visit, meter), refresh=True)
        except KeyboardInterrupt:
            return


def _drawn(visit: Visit, meter: Meter) -> Table:
    from rich.table import Table

    nodes = [node for node in visit.nodes.values() if node.alive]
    free = tables.size_of(sum(node.offer.memory for node in nodes))
    title = f"{visit.name} as {visit.account}: {tables.counted(len(nodes), 'node')}, {free} free      Ctrl-C leaves"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1), header_style="bold")
    for name in HEAD:
        right = name in ("CPU", "MEMORY", "PROCESSES", "SPARES", "AGE")
        table.add_column(name, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    for row in rows(visit, meter):
        table.add_row(*(shortened(cell) or tables.NOTHING for cell in row))
    return table


def shortened(text: str) -> str:
    """Its end, which tells images that are files apart, so that the other columns have room as well."""
    return text if len(text) <= WIDEST else f"…{text[1 - WIDEST :]}"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--once", action="store_true", help="print one table and end; so it does if this is no terminal"
    )
    parser.add_argument(
        "-d",
        "--interval",
        type=float,
        default=INTERVAL,
        metavar="SECONDS",
        help=f"between two looks (default: {INTERVAL:g})",
    )


COMMAND = Command(
    name="top",
    summary="watch your containers and what they use",
    description="""
A table of the containers of your account in all its sessions, brought up to date until Ctrl-C: ID, IMAGE, TAG, STATE,
CPU (100% is one core), MEMORY, PROCESSES, SPARES (lives that wait for the next rollback), AGE, NODE, PROGRAM.
""",
    run=_top,
    arguments=_arguments,
    common=("where",),
    examples=(("tf top", "live"), ("tf top --once", "one table, for a script or a report")),
    see_also=("tf-ps", "tf-resources"),
)
