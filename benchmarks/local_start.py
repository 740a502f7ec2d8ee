"""`Location("local")` in a new process: with the daemons to be started, and with the daemons there already."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.ground.bench import Bench
from benchmarks.ground.local import daemons_in, stop
from benchmarks.measuring import budgets
from benchmarks.measuring.report import OURS, Report
from benchmarks.measuring.rounds import Contestant, interleave

ROUNDS = 9
FIRST = f"{OURS}, daemons to be started"
NEXT = f"{OURS}, daemons there"

OPEN = """
import time
begun = time.perf_counter()
from tfnz.location import Location
with Location("local"):
    print((time.perf_counter() - begun) * 1000)
"""
"""The import of the SDK is part of what a session waits for."""


def run(bench: Bench) -> Report:
    """Measure starts; the daemons are stopped between the rounds."""
    report = Report("local_start", "from the import of the SDK to an open session with the local location")
    place = bench.directory / "start"

    def first() -> float:
        stop(place)
        return _open()

    def following() -> float:
        _open()
        return _open()

    bench.progress.step("local start")
    with daemons_in(place):
        found = interleave(
            "local start",
            [Contestant(FIRST, first), Contestant(NEXT, following)],
            rounds=bench.times(ROUNDS),
            progress=bench.progress,
        )
    summaries = {who: report.row("session open", who, samples) for who, samples in found.items()}
    report.verdict(budgets.LOCAL_START, summaries[FIRST].median)
    return report


def _open() -> float:
    return float(subprocess.run([sys.executable, "-c", OPEN], capture_output=True, text=True, check=True).stdout)
