"""How many rollbacks there are in a second if nothing else happens: one after another, with no test in between.

That is not the latency of a rollback turned round. A rollback that finds a spare had it made meanwhile; here there is no
meanwhile, and making spares and burying old generations share the processors with whoever waits. Each rollback is of a
container that has been written to, and ends with the service's first answer on a new connection.
"""

from __future__ import annotations

import time
from collections import Counter

from benchmarks.ground.bench import Bench
from benchmarks.ground.patient import counted
from benchmarks.ground.services import NGINX, POSTGRES, Address, Service
from benchmarks.measuring.report import OURS, Report
from benchmarks.measuring.rounds import Contestant, interleave
from tfnz.container import Container
from tfnz.location import Location

BATCHES = 10
"""Samples: each is how many rollbacks there were in a second during one batch, the next of which follows at once."""

BATCH = 15
"""Rollbacks of a batch."""

TRACE = "/tmp/trace"


def run(bench: Bench) -> Report:
    """Measure one service after the other: together they would have each other's work in their figures."""
    report = Report("throughput", "rollbacks in a second, one after another, each until the service answers")
    with bench.location() as location:
        for service in (NGINX, POSTGRES):
            bench.progress.step(f"throughput: {service.name}")
            _measure(report, bench, location, service)
    return report


def _measure(report: Report, bench: Bench, location: Location, service: Service) -> None:
    container, tiers = bench.spawn(location, service), Counter[str]()
    address, size = service.address_of(container), bench.amount(BATCH, quick=3)
    container.snapshot()

    def batch() -> float:
        begun = time.perf_counter()
        for _ in range(size):
            tiers[_roll_back(container, service, address)] += 1
        return size / (time.perf_counter() - begun)

    found = interleave(service.name, [Contestant(OURS, batch)], rounds=bench.times(BATCHES), progress=bench.progress)
    report.row(service.name, OURS, found[OURS], unit="per second", note=counted(tiers))
    container.destroy()


def _roll_back(container: Container, service: Service, address: Address) -> str:
    """Leave a trace, go back, wait for an answer; how the node did it."""
    container.put(TRACE, b"x")
    tier = container.rollback().tier
    service.wait(address)
    return tier
