"""A request and its reply: to the location (RenewLease), and through it to the node (AskContainer)."""

from __future__ import annotations

import contextlib

from benchmarks.ground.bench import Bench
from benchmarks.ground.remote import remote_location
from benchmarks.ground.services import NGINX
from benchmarks.measuring import budgets
from benchmarks.measuring.report import OURS, Report
from benchmarks.measuring.rounds import Contestant, interleave, milliseconds
from tfcore.wire.sessions import RenewLease
from tfnz.container import Container

ROUNDS = 400
LOCAL = f"{OURS}, local"
REMOTE = f"{OURS}, TCP on loopback"


def run(bench: Bench) -> Report:
    """Measure over the local location's socket and over TCP."""
    report = Report("round_trip", "from a request to its reply, by the synchronous SDK, CURVE on every link")
    with contextlib.ExitStack() as stack:
        local = bench.spawn(stack.enter_context(bench.location()), NGINX)
        remote = bench.spawn(stack.enter_context(remote_location(bench.directory / "remote")), NGINX)
        for what, contestants in (
            ("to the location", [Contestant(LOCAL, lambda: _renew(local)), Contestant(REMOTE, lambda: _renew(remote))]),
            ("to the node", [Contestant(LOCAL, lambda: _ask(local)), Contestant(REMOTE, lambda: _ask(remote))]),
        ):
            bench.progress.step(f"round trip: {what}")
            found = interleave(
                what, contestants, rounds=bench.times(ROUNDS), progress=bench.progress, warm_up=bench.times(50)
            )
            summaries = {who: report.row(what, who, samples) for who, samples in found.items()}
            report.verdict(budgets.ROUND_TRIP, summaries[LOCAL].median, how=what)
    return report


def _renew(container: Container) -> float:
    """The SDK renews its lease by itself; there is no public call that does no more than that."""
    return milliseconds(lambda: container.location._call(RenewLease()))


def _ask(container: Container) -> float:
    return milliseconds(container.status)
