"""What the plugin costs a pytest run that does not use it: the same empty run with `-p no:tf` and without, in turns.

Its modules are compiled, as pip leaves what it installs; otherwise every run would compile a checkout anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.ground.bench import Bench
from benchmarks.measuring import budgets
from benchmarks.measuring.report import OURS, Report
from benchmarks.measuring.rounds import Contestant, Turn, interleave

ROUNDS = 41
WITH = "with the plugin"
WITHOUT = "without (-p no:tf)"

IMPORT = """
import time, pytest
begun = time.perf_counter()
import pytest_tf.plugin
print((time.perf_counter() - begun) * 1000)
"""
"""What of the difference is the import of the module; pytest itself is there already, as in any run."""


COMPILED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""The environment of all runs: the first of them leaves the compiled modules to those that count."""


def run(bench: Bench) -> Report:
    """Measure whole runs by the processor time they take, which other programs disturb less, and by the clock."""
    report = Report("plugin_load", "pytest --collect-only of an empty file, in a process of its own")
    place = bench.directory / "empty"
    place.mkdir()
    (place / "test_empty.py").write_text("")
    clock: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    contestants = [
        Contestant(WITH, _collecting(place, clock[WITH])),
        Contestant(WITHOUT, _collecting(place, clock[WITHOUT], "-p", "no:tf")),
    ]
    bench.progress.step("plugin load")
    rounds = bench.times(ROUNDS)
    processor = interleave("plugin load", contestants, rounds=rounds, progress=bench.progress)
    counted = {who: samples[-rounds:] for who, samples in clock.items()}
    for what, found in (("processor time", processor), ("by the clock", counted)):
        for who, samples in found.items():
            report.row(what, who, samples)
        difference = [one - other for one, other in zip(found[WITH], found[WITHOUT], strict=True)]
        summary = report.row(what, "difference, round by round", difference)
        report.verdict(budgets.PLUGIN_LOAD, summary.median, how=what)
    alone = interleave("import", [Contestant(OURS, _importing)], rounds=rounds, progress=bench.progress)
    report.row("import of the plugin's module alone", OURS, alone[OURS])
    return report


def _collecting(place: Path, by_the_clock: list[float], *options: str) -> Turn:
    """Runs pytest; the turn's figure is processor time, the clock's goes to `by_the_clock`."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *options, str(place)]

    def turn() -> float:
        import time

        begun = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=place, env=COMPILED, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        by_the_clock.append((time.perf_counter() - begun) * 1000)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 5):  # 5: no tests collected
            raise RuntimeError(f"pytest ended with status {process.returncode}: {' '.join(command)}")
        return (usage.ru_utime + usage.ru_stime) * 1000

    return turn


def _importing() -> float:
    done = subprocess.run([sys.executable, "-c", IMPORT], env=COMPILED, capture_output=True, text=True, check=True)
    return float(done.stdout)
