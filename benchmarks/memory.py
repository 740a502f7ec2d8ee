"""Memory of the location, of the node with and without containers, and what the SDK adds to a program.

The node is several processes forked from one, and there are two ways to add them up. Proportional sizes (Pss, proc(5))
count a page that several processes share once, in parts; that is what the node is judged by. Resident sizes (Rss) count it
once for each of them, so that their sum is more than the machine has given; it stands beside it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ground.bench import Bench
from benchmarks.ground.local import daemon_of
from benchmarks.ground.services import NGINX
from benchmarks.measuring import budgets
from benchmarks.measuring.report import OURS, Report
from tfnz.container import Container
from tfnz.location import Location

CONTAINERS = 10
MB = 1e6
ROUNDS = 3
RESIDENT = "Rss"
SHARED_ONCE = "Pss"

JUDGED = (
    "The daemons are judged by proportional sizes (Pss): a page that processes share is counted once, a part in each."
    " Resident sizes (Rss) count it in each of them."
)

ADDED = """
import re, sys
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024 / 1e6
before = resident()
from tfnz.location import Location
with Location("local") as location:
    container = location.node().spawn_container(sys.argv[1]).wait_until_ready()
    container.snapshot()
    container.rollback()
    container.tunnel(80)
    print(resident() - before)
"""
"""A program that does what a suite does."""


def run(bench: Bench) -> Report:
    """Measure a location that has worked: its daemons have had a container before anything is read."""
    report = Report("memory", "memory of idle daemons, and of a program")
    image = bench.image(NGINX.image)
    with bench.location() as location:
        bench.progress.step("memory: SDK")
        added = [_added(image) for _ in range(bench.times(ROUNDS))]
        daemon = daemon_of(bench.directory / "local")
        if daemon is None:
            raise RuntimeError("the local location's daemon has gone")
        bench.progress.step(f"memory: {CONTAINERS} containers")
        master, master_apart = megabytes(daemon, SHARED_ONCE), megabytes(daemon, RESIDENT)
        idle, apart = _node(daemon, SHARED_ONCE), _node(daemon, RESIDENT)
        containers = [_busy(location, image) for _ in range(CONTAINERS)]
        each = (_node(daemon, SHARED_ONCE) - idle) / len(containers)
    report.row("the location, resident", OURS, [master_apart], unit="MB")
    report.row("the node, no container, resident sizes added up", OURS, [apart], unit="MB")
    for what, samples, budget in (
        ("the location, shared pages counted once", [master], budgets.LOCATION_MEMORY),
        ("the node, no container, shared pages counted once", [idle], budgets.NODE_MEMORY),
        (f"the node, more for each of {CONTAINERS} containers", [each], budgets.CONTAINER_MEMORY),
        ("the SDK, resident, on top of Python", added, budgets.SDK_MEMORY),
    ):
        report.verdict(budget, report.row(what, OURS, samples, unit="MB").median, how=what)
    report.remark(JUDGED)
    return report


def _busy(location: Location, image: str) -> Container:
    """A container with a snapshot and a spare, as under a test suite."""
    container = location.node().spawn_container(image).wait_until_ready()
    container.snapshot()
    container.rollback()
    return container


def _added(image: str) -> float:
    done = subprocess.run([sys.executable, "-c", ADDED, image], capture_output=True, text=True, check=True)
    return float(done.stdout)


def _node(daemon: int, measure: str) -> float:
    """All of the node's own processes: Python ones below the location's daemon. Containers' processes are not its memory."""
    return sum(megabytes(pid, measure) for pid in descendants(daemon) if _is_python(pid))


def descendants(pid: int) -> Iterator[int]:
    """The processes below `pid`, its own threads' children included."""
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in listing.read_text().split():
            yield int(child)
            yield from descendants(int(child))


def _is_python(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/exe").resolve() == Path(sys.executable).resolve()
    except OSError:
        return False


def megabytes(pid: int, measure: str) -> float:
    """A process's memory by a measure of /proc/<pid>/smaps_rollup."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    found = next(line for line in lines if line.startswith(f"{measure}:"))
    return int(found.split()[1]) * 1024 / MB
