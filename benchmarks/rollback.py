"""From "roll back" to the service's first answer on a new connection, beside a fresh container by Docker's tools.

Ours goes the way a test goes: through the SDK, the location, the node, and a tunnel. Every round dirties the container
first and looks afterwards whether anything of it is left; neither is counted.

- *spare ready*: the test took so long that the node has made the next generation meanwhile (a fixed pause stands for it).
- *back to back*: the rollback follows another at once; the node makes the next generation while we wait.
- *other snapshot*: to another snapshot than the last one, for which nothing was prepared.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

from benchmarks.ground.bench import Bench
from benchmarks.ground.services import NGINX, POSTGRES, POSTGRES_BY_LOG, POSTGRES_LARGE, REDIS, Service
from benchmarks.measuring import budgets
from benchmarks.measuring.budgets import Budget
from benchmarks.measuring.figures import Summary
from benchmarks.measuring.report import OURS, Report
from benchmarks.measuring.rounds import Contestant, interleave, milliseconds
from benchmarks.peers import lives
from benchmarks.peers.engine import LABEL, Engine
from tfnz.container import Container

TEST = 0.4
"""Seconds a test takes, where a spare is to be ready after it."""

BACK_TO_BACK = f"{OURS}, back to back"
OTHER_SNAPSHOT = f"{OURS}, other snapshot"
IN_NODE = f"{OURS}, the node's part"
BAKED = ", data in the image"
COMMIT = "docker commit"


@dataclass(frozen=True)
class Case:
    """A service, how often it is rolled back, and what it is judged by."""

    service: Service
    rounds: int
    spare: Budget | None = None
    no_spare: Budget | None = None
    ratio: Budget | None = None


CASES = (
    Case(NGINX, 15, budgets.ROLLBACK_NGINX, budgets.NO_SPARE_NGINX, budgets.ROLLBACK_NGINX_RATIO),
    Case(REDIS, 15),
    Case(POSTGRES, 11, budgets.ROLLBACK_POSTGRES, budgets.NO_SPARE_POSTGRES, budgets.ROLLBACK_POSTGRES_RATIO),
    Case(POSTGRES_LARGE, 11, budgets.ROLLBACK_POSTGRES, budgets.NO_SPARE_POSTGRES, budgets.ROLLBACK_POSTGRES_RATIO),
)
PAIRED = 15
"""Rounds in which two of ours are compared."""


class Patient:
    """A container of ours that is dirtied and rolled back over and over.

    Attributes:
        tiers: how the node did it, counted by the way it was asked.
        in_node: milliseconds the node itself says it took, by the way it was asked.
    """

    def __init__(self, container: Container, service: Service) -> None:
        self.container = container
        self.service = service
        self.address = service.address_of(container)
        service.fill(self.address)
        self._snapshots = cycle([container.snapshot(), container.snapshot()])
        self.tiers: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.in_node: defaultdict[str, list[float]] = defaultdict(list)

    def spare_ready(self) -> float:
        """A rollback after a test of some length."""
        self.service.dirty(self.container)
        time.sleep(TEST)
        return self._roll_back(OURS)

    def back_to_back(self) -> float:
        """A rollback right after another one."""
        self.container.rollback()
        self.service.dirty(self.container)
        return self._roll_back(BACK_TO_BACK)

    def other_snapshot(self) -> float:
        """A rollback for which nothing is prepared."""
        self.container.rollback(next(self._snapshots))
        self.service.dirty(self.container)
        time.sleep(TEST)
        return self._roll_back(OTHER_SNAPSHOT, next(self._snapshots))

    def _roll_back(self, way: str, snapshot: str = "") -> float:
        def roll_back() -> None:
            done = self.container.rollback(snapshot)
            self.service.wait(self.address)
            self.tiers[way][done.tier] += 1
            self.in_node[way].append(done.seconds * 1000)

        took = milliseconds(roll_back)
        if not self.service.clean(self.address):
            raise RuntimeError(f"{self.service.name} was rolled back and is not clean")
        return took

    def contestants(self) -> list[Contestant]:
        """The three ways."""
        return [
            Contestant(OURS, self.spare_ready),
            Contestant(BACK_TO_BACK, self.back_to_back),
            Contestant(OTHER_SNAPSHOT, self.other_snapshot),
        ]

    def note(self, way: str) -> str:
        """How the node did it, in words, the rounds that were not counted included."""
        return ", ".join(f"{tier} {count}" for tier, count in self.tiers[way].items())


def run(bench: Bench) -> Report:
    """Measure every service, then how a rollback grows with the data."""
    report = Report("rollback", "until a test finds its service clean and answering again")
    report.remark(f"Spare ready: the rollback comes {TEST:g} s after the test's last deed.")
    if isinstance(bench.docker, str):
        report.remark(bench.docker)
    for case in CASES:
        measure(report, bench, case)
    bench.progress.step("rollback: pairs")
    _pair(report, bench, "readiness probe", (POSTGRES, POSTGRES_BY_LOG))
    grown = _pair(report, bench, "size of the data", (POSTGRES, POSTGRES_LARGE))
    report.verdict(budgets.ROLLBACK_FLAT, grown.median, how="10 and 60 MB")
    return report


def measure(report: Report, bench: Bench, case: Case) -> None:
    """Measure one service, in all three ways and beside its peers."""
    bench.progress.step(f"rollback: {case.service.name}")
    with bench.location() as location, _peers(bench, case) as peers:
        patient = Patient(bench.spawn(location, case.service), case.service)
        _compare(report, bench, case, patient, peers)


def _compare(report: Report, bench: Bench, case: Case, patient: Patient, peers: list[Contestant]) -> None:
    what, ours = case.service.name, patient.contestants()
    found = interleave(what, [*ours, *peers], rounds=bench.times(case.rounds), progress=bench.progress)
    summaries = {who: report.row(what, who, samples, note=patient.note(who)) for who, samples in found.items()}
    report.row(what, IN_NODE, patient.in_node[OURS][-len(found[OURS]) :])
    if case.spare:
        report.verdict(case.spare, summaries[OURS].median, how=f"{what}, spare ready: {patient.note(OURS)}")
    if case.no_spare:
        for who in (BACK_TO_BACK, OTHER_SNAPSHOT):
            report.verdict(case.no_spare, summaries[who].median, how=f"{who}: {patient.note(who)}")
    for peer in peers:
        quotient = report.quotient(what, peer.who, OURS, found)
        if case.ratio and peer.who == _like_for_like(case.service):
            report.verdict(case.ratio, quotient.median, how=f"{what}, {peer.who}")


def _like_for_like(service: Service) -> str:
    """The peer that starts from where ours does: a database with its data."""
    return lives.TESTCONTAINERS + (BAKED if service.image == "postgres" else "")


@contextlib.contextmanager
def _peers(bench: Bench, case: Case) -> Iterator[list[Contestant]]:
    """Fresh containers, as others isolate tests."""
    if isinstance(bench.docker, str):
        yield []
        return
    service, engine = case.service, bench.docker
    with lives.client_of(engine) as client:
        peers = []
        if service is not POSTGRES_LARGE:
            peers += _both(engine, client, service, engine.images[service.image], "")
        if service.image == "postgres":
            tag = f"{LABEL}-baked:{'large' if service is POSTGRES_LARGE else 'small'}"
            bench.progress.step("baking the data into an image for Docker")
            peers += _both(engine, client, service, lives.filled_image(engine, client, service, tag), BAKED)
        if service is NGINX:
            peers.append(Contestant(COMMIT, lives.restored(engine, client, service, f"{LABEL}-committed:nginx")))
        yield peers


def _both(engine: Engine, client: lives.Client, service: Service, image: str, label: str) -> list[Contestant]:
    return [
        Contestant(lives.DOCKER + label, lives.docker_life(engine, client, service, image)),
        Contestant(lives.TESTCONTAINERS + label, lives.testcontainers_life(engine, service, image)),
    ]


def _pair(report: Report, bench: Bench, what: str, services: tuple[Service, Service]) -> Summary:
    """Two services of ours in the same rounds, a spare ready; the second over the first."""
    one, other = (service.name for service in services)
    with bench.location() as location:
        patients = [Patient(bench.spawn(location, service), service) for service in services]
        contestants = [Contestant(patient.service.name, patient.spare_ready) for patient in patients]
        found = interleave(what, contestants, rounds=bench.times(PAIRED), progress=bench.progress)
    for who, samples in found.items():
        report.row(what, who, samples)
    return report.quotient(what, other, one, found)
