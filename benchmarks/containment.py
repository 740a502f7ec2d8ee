"""What others lose by one container that misbehaves: culprits in turn, quiet and besieged moments in the same rounds.

The culprit has a session of its own, and the limits that hold it where the machine has the controllers. Beside it nginx is
asked for its page, rolled back and asked again, and spawned anew.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.ground.bench import Bench
from benchmarks.ground.services import NGINX, get
from benchmarks.measuring import budgets
from benchmarks.measuring.report import Report
from benchmarks.measuring.rounds import milliseconds
from tfnz import local, ready
from tfnz.container import Container
from tfnz.location import Location

ROUNDS = 15
ANSWERS = 20
"""Pages asked for in a round; their median counts."""

SETTLE = 0.3
"""Seconds in which a culprit gets going."""


@dataclass(frozen=True)
class Culprit:
    """A shell command, and what holds it."""

    command: str
    limits: Mapping[str, Any] = field(default_factory=dict)


CULPRITS = {
    "a busy loop": Culprit("for i in 1 2 3 4; do while :; do :; done & done; wait", {"cpus": 0.5}),
    "a fork bomb": Culprit(
        "while :; do sh -c 'while :; do sleep 9 & done' 2>/dev/null; done", {"pids": 100, "cpus": 0.5}
    ),
    "a memory eater": Culprit("while :; do tail /dev/zero 2>/dev/null; done", {"memory": "64m", "cpus": 0.5}),
    "a log flooder": Culprit("while :; do yes all work and no play makes a dull log; done", {"cpus": 0.5}),
    "a disk filler": Culprit(
        "while :; do dd if=/dev/zero of=/filling bs=1M count=200 2>/dev/null; done", {"cpus": 0.5}
    ),
}

QUIET = "quiet"


def run(bench: Bench) -> Report:
    """Measure all of them."""
    report = Report("containment", "what a container that misbehaves costs the others")
    with bench.location() as location, Location(local.NAME) as other:
        victim = bench.spawn(location, NGINX)
        victim.snapshot()
        for name, culprit in CULPRITS.items():
            bench.progress.step(f"containment: {name}")
            _measure(report, bench, _Measured(bench, location, victim), other, name, culprit)
    return report


def _measure(report: Report, bench: Bench, measured: _Measured, other: Location, name: str, culprit: Culprit) -> None:
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: {QUIET: [], name: []})
    rounds = bench.times(ROUNDS)
    for number in range(rounds):
        bench.progress.during(f"{name}, round {number + 1} of {rounds}")
        measured.into(found, QUIET)
        with _at_it(bench, other, culprit):
            measured.into(found, name)
    for what, samples in found.items():
        report.row(what, QUIET, samples[QUIET])
        report.row(what, name, samples[name])
        quotient = report.quotient(what, name, QUIET, samples)
        report.verdict(budgets.CONTAINED, quotient.median, how=f"{what}, {name}")


@contextmanager
def _at_it(bench: Bench, other: Location, culprit: Culprit) -> Iterator[Container]:
    container = other.node().spawn_container(
        bench.image(NGINX.image), entrypoint=["sh", "-c", culprit.command], ready=ready.running(), **culprit.limits
    )
    try:
        container.wait_until_ready()
        time.sleep(SETTLE)
        yield container
    finally:
        container.destroy()


@dataclass(frozen=True)
class _Measured:
    """What a suite does, in milliseconds."""

    bench: Bench
    location: Location
    victim: Container

    def into(self, found: dict[str, dict[str, list[float]]], who: str) -> None:
        """One round's worth."""
        address = NGINX.address_of(self.victim)
        answers = sorted(milliseconds(lambda: get(address)) for _ in range(ANSWERS))
        found["a page"][who].append(answers[ANSWERS // 2])
        found["a rollback to its next page"][who].append(self._roll_back())
        found["a spawn to its readiness"][who].append(self._spawn())

    def _roll_back(self) -> float:
        NGINX.dirty(self.victim)
        address = NGINX.address_of(self.victim)

        def roll_back() -> None:
            self.victim.rollback()
            NGINX.wait(address)

        return milliseconds(roll_back)

    def _spawn(self) -> float:
        spawned: list[Container] = []
        took = milliseconds(lambda: spawned.append(self.bench.spawn(self.location, NGINX)))
        spawned[0].destroy()
        return took
