"""From "roll back" to the service's first answer on a new connection, beside what others do for a test.

- *spare ready*: the test took so long that the node has made the next generation meanwhile: the node is asked, and the
  rollback comes as soon as it says so.
- *back to back*: the rollback follows another at once; the node makes the next generation while we wait.
- *other snapshot*: to another snapshot than the last one, for which nothing was prepared.

A peer's turn takes a second, ours milliseconds: in every round ours has 25 turns beside one of each peer, and its
median of the round is what the peer is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.ground.bench import Bench
from benchmarks.ground.patient import BACK_TO_BACK, OTHER_SNAPSHOT, Patient
from benchmarks.ground.services import NGINX, POSTGRES, POSTGRES_60_MB, POSTGRES_520_MB, POSTGRES_BY_LOG, REDIS, Service
from benchmarks.measuring import budgets
from benchmarks.measuring.budgets import Budget
from benchmarks.measuring.figures import Summary
from benchmarks.measuring.report import OURS, Report
from benchmarks.measuring.rounds import Contestant, interleave
from benchmarks.peers.beside import TEMPLATE, like_for_like, peers_of
from tfnz.location import Location

ROUNDS = 8
TURNS = 25
"""Of ours in each round: 200 rollbacks of each service."""

UNPREPARED = 10
"""Rollbacks of each service with no spare ready."""

PAIRED = 20
"""Rounds in which ours are compared with each other."""

IN_NODE = f"{OURS}, the node's part"
SIZE = "size of the data"
PROBE = "readiness probe"


@dataclass(frozen=True)
class Case:
    """A service and what it is judged by."""

    service: Service
    spare: Budget | None = None
    no_spare: Budget | None = None
    ratio: Budget | None = None


_OF_POSTGRES = (budgets.ROLLBACK_POSTGRES, budgets.NO_SPARE_POSTGRES, budgets.ROLLBACK_POSTGRES_RATIO)

CASES = (
    Case(NGINX, budgets.ROLLBACK_NGINX, budgets.NO_SPARE_NGINX, budgets.ROLLBACK_NGINX_RATIO),
    Case(REDIS),
    Case(POSTGRES, *_OF_POSTGRES),
    Case(POSTGRES_60_MB, *_OF_POSTGRES),
    Case(POSTGRES_520_MB, *_OF_POSTGRES),
)


def run(bench: Bench) -> Report:
    """Measure every service, then how a rollback grows with the data."""
    report = Report("rollback", "until a test finds its service clean and answering again")
    if isinstance(bench.docker, str):
        report.remark(bench.docker)
    report.remark(f"{TEMPLATE}: in a container of ours, whose disk does not wait for fsync, which flatters it.")
    with bench.location() as location:
        patients = {case.service.name: measure(report, bench, location, case) for case in CASES}
        _compare_sizes(report, bench, [patients[s.name] for s in (POSTGRES, POSTGRES_60_MB, POSTGRES_520_MB)])
        by_log = Patient(bench.spawn(location, POSTGRES_BY_LOG), POSTGRES_BY_LOG)
        _together(report, bench, PROBE, [patients[POSTGRES.name], by_log])
    return report


def measure(report: Report, bench: Bench, location: Location, case: Case) -> Patient:
    """Measure one service: beside its peers with a spare ready, then by itself without one. Returns its container."""
    bench.progress.step(f"rollback: {case.service.name}")
    patient = Patient(bench.spawn(location, case.service), case.service)
    with peers_of(case.service, bench, location) as peers:
        _beside(report, bench, case, patient, peers)
    _unprepared(report, bench, case, patient)
    return patient


def _beside(report: Report, bench: Bench, case: Case, patient: Patient, peers: list[Contestant]) -> None:
    what, rounds = case.service.name, bench.times(ROUNDS)
    ours = Contestant(OURS, patient.spare_ready, turns=bench.amount(TURNS, quick=1))
    found = interleave(what, [ours, *peers], rounds=rounds, progress=bench.progress)
    summary = report.row(what, OURS, found[OURS], note=patient.note(OURS))
    report.row(what, IN_NODE, patient.in_node[OURS][-len(found[OURS]) :])
    if case.spare:
        report.verdict(case.spare, summary.median, how=f"{what}, spare ready: {patient.note(OURS)}")
    for peer in peers:
        report.row(what, peer.who, found[peer.who])
        quotient = report.quotient(what, peer.who, OURS, found, rounds=rounds)
        if case.ratio and peer.who == like_for_like(case.service):
            report.verdict(case.ratio, quotient.median, how=f"{what}, {peer.who}")


def _unprepared(report: Report, bench: Bench, case: Case, patient: Patient) -> None:
    """The ways that find no spare, one after the other: who had to wait is given more spares, until the next snapshot."""
    what = case.service.name
    for contestant in (
        Contestant(BACK_TO_BACK, patient.back_to_back),
        Contestant(OTHER_SNAPSHOT, patient.other_snapshot),
    ):
        who = contestant.who
        found = interleave(what, [contestant], rounds=bench.times(UNPREPARED), progress=bench.progress)
        summary = report.row(what, who, found[who], note=patient.note(who))
        if case.no_spare:
            report.verdict(case.no_spare, summary.median, how=f"{what}, {who}: {patient.note(who)}")


def _compare_sizes(report: Report, bench: Bench, patients: list[Patient]) -> None:
    for quotient, patient in zip(_together(report, bench, SIZE, patients), patients[1:], strict=True):
        report.verdict(budgets.ROLLBACK_FLAT, quotient.median, how=f"{patient.service.name} over 10 MB")


def _together(report: Report, bench: Bench, what: str, patients: list[Patient]) -> list[Summary]:
    """Several of ours in the same rounds, a spare ready; how the others compare with the first."""
    bench.progress.step(f"rollback: {what}")
    contestants = [Contestant(patient.service.name, patient.spare_ready) for patient in patients]
    found = interleave(what, contestants, rounds=bench.times(PAIRED), progress=bench.progress)
    for who, samples in found.items():
        report.row(what, who, samples)
    first = contestants[0].who
    return [report.quotient(what, other.who, first, found) for other in contestants[1:]]
