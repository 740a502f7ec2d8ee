"""A rollback after a test that left no trace: what the look for traces costs, beside a plain request in the same rounds.

Nothing happens to the container between the rollbacks, so the node answers `clean` and the same processes go on. A plain
request (AskContainer) goes the same way, and the node has nothing to do for it: the difference is what the look costs.
"""

from __future__ import annotations

from collections import Counter

from benchmarks.ground.bench import Bench
from benchmarks.ground.patient import counted
from benchmarks.ground.services import NGINX, POSTGRES, Service
from benchmarks.measuring import budgets
from benchmarks.measuring.report import OURS, Report
from benchmarks.measuring.rounds import Contestant, interleave, milliseconds
from tfnz.container import Container
from tfnz.location import Location

ROUNDS = 200
ROUND_TRIP = "a request and its reply"
LOOK = "the look alone, round by round"


def run(bench: Bench) -> Report:
    """Measure a service that has nothing to do by itself, and one with processes that wake up."""
    report = Report("clean", "a rollback where nothing has happened since the last one")
    with bench.location() as location:
        for service in (NGINX, POSTGRES):
            bench.progress.step(f"clean: {service.name}")
            _measure(report, bench, location, service)
    return report


def _measure(report: Report, bench: Bench, location: Location, service: Service) -> None:
    container, tiers = bench.spawn(location, service), Counter[str]()
    container.snapshot()
    contestants = [
        Contestant(OURS, lambda: _roll_back(container, tiers)),
        Contestant(ROUND_TRIP, lambda: milliseconds(container.status)),
    ]
    warm_up = bench.amount(10, quick=1)
    rounds = bench.times(ROUNDS)
    found = interleave(service.name, contestants, rounds=rounds, progress=bench.progress, warm_up=warm_up)
    summary = report.row(service.name, OURS, found[OURS], note=counted(tiers))
    report.row(service.name, ROUND_TRIP, found[ROUND_TRIP])
    look = [one - other for one, other in zip(found[OURS], found[ROUND_TRIP], strict=True)]
    report.row(service.name, LOOK, look)
    report.verdict(budgets.CLEAN, summary.median, how=f"{service.name}: {counted(tiers)}")


def _roll_back(container: Container, tiers: Counter[str]) -> float:
    def roll_back() -> None:
        tiers[container.rollback().tier] += 1

    return milliseconds(roll_back)
