"""Tunnels beside what else carries connections: a new connection with one round trip, a round trip, bulk both ways.

Everything ends at the same sink, ours and Docker's in a container, the others' on this machine. Ours are the two ways a
tunnel can go: *handed over* to the node's agent on the same machine, and *streamed* through a location over TCP with keys.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.ground.bench import Bench
from benchmarks.ground.remote import remote_location
from benchmarks.ground.services import Address
from benchmarks.measuring import budgets
from benchmarks.measuring.report import OURS, Report
from benchmarks.measuring.rounds import Contestant, interleave, milliseconds
from benchmarks.peers import relays, sink
from benchmarks.peers.engine import Engine
from tfcore.errors import HostLacks
from tfnz import ready
from tfnz.location import Location
from tfnz.tunnel import Tunnel

T = TypeVar("T")

CONNECTIONS = 200
ROUND_TRIPS = 400
BULKS = 9
BULK = 128 * 1024 * 1024

HANDED = f"{OURS}, handed over"
STREAMED = f"{OURS}, streamed over TCP"
DIRECT = "directly"
PLAIN = "plain relay"
SSH = "ssh -L"
PROXY = "docker-proxy"


@dataclass(frozen=True)
class Way:
    """A way to a sink: where it begins, and how to get there (Docker's is in a network namespace)."""

    who: str
    address: Address
    engine: Engine | None = None

    def connect(self) -> socket.socket:
        """A new connection."""
        return self._inside(lambda: sink.connect(self.address))

    def connect_and_echo(self) -> float:
        """Milliseconds until a new connection has answered once; getting into the engine's namespace is not counted."""
        return self._inside(lambda: sink.connect_and_echo(self.address))

    def _inside(self, function: Callable[[], T]) -> T:
        return function() if self.engine is None else self.engine.inside(function)


def run(bench: Bench) -> Report:
    """Measure every way there is on this machine, in turns."""
    report = Report("tunnel", "TCP through tunnels and relays, on one machine")
    with contextlib.ExitStack() as stack:
        ways = _ours(bench, stack) + _relays(bench, report, stack)
        _connections(report, bench, ways)
        _round_trips(report, bench, ways)
        _bulk(report, bench, ways, "bulk to the container", sink.upload)
        _bulk(report, bench, ways, "bulk from the container", sink.download)
    return report


def _ours(bench: Bench, stack: contextlib.ExitStack) -> list[Way]:
    bench.progress.step("tunnel: locations")
    local = _tunnel(bench, stack.enter_context(bench.location()))
    remote = _tunnel(bench, stack.enter_context(remote_location(bench.directory / "remote")))
    if not local.handed_over or remote.handed_over:
        raise RuntimeError("the local tunnel must be handed over, and the remote one must not")
    return [Way(HANDED, _end_of(local)), Way(STREAMED, _end_of(remote))]


def _tunnel(bench: Bench, location: Location) -> Tunnel:
    container = location.node().spawn_container(
        bench.image("nginx"), command=sink.command(), ready=ready.tcp(sink.PORT)
    )
    tunnel = container.wait_until_ready().tunnel(sink.PORT)
    sink.wait(_end_of(tunnel))
    return tunnel


def _end_of(tunnel: Tunnel) -> Address:
    return "127.0.0.1", int(tunnel.localport)


def _relays(bench: Bench, report: Report, stack: contextlib.ExitStack) -> list[Way]:
    bench.progress.step("tunnel: relays")
    here = stack.enter_context(sink.sink_here())
    ways = [Way(DIRECT, here), Way(PLAIN, stack.enter_context(relays.plain_relay(here)))]
    try:
        ways.append(Way(SSH, stack.enter_context(relays.ssh_forward(here, bench.directory / "ssh"))))
    except HostLacks as reason:
        report.remark(f"ssh -L is left out: {reason.message}; the plain relay (no encryption) stands in")
    engine = bench.docker
    if isinstance(engine, str):
        report.remark(engine)
    else:
        ways.append(Way(PROXY, stack.enter_context(relays.docker_proxy(engine)), engine))
    return ways


def _connections(report: Report, bench: Bench, ways: list[Way]) -> None:
    what = "new connection and a round trip"
    bench.progress.step(f"tunnel: {what}")
    found = interleave(
        what,
        [Contestant(way.who, way.connect_and_echo) for way in ways],
        rounds=bench.times(CONNECTIONS),
        progress=bench.progress,
        warm_up=5,
    )
    summaries = {who: report.row(what, who, samples) for who, samples in found.items()}
    report.verdict(budgets.HANDED_CONNECT, summaries[HANDED].median)
    report.verdict(budgets.STREAMED_CONNECT, summaries[STREAMED].median, how="TCP on loopback")


def _round_trips(report: Report, bench: Bench, ways: list[Way]) -> None:
    what = "round trip on an open connection, 64 bytes"
    found = _on_open_connections(bench, ways, what, lambda client: milliseconds(lambda: sink.echo(client)), ROUND_TRIPS)
    for who, samples in found.items():
        report.row(what, who, samples)


def _bulk(
    report: Report, bench: Bench, ways: list[Way], what: str, carry: Callable[[socket.socket, int], float]
) -> None:
    found = _on_open_connections(bench, ways, what, lambda client: carry(client, BULK), BULKS)
    for who, samples in found.items():
        report.row(what, who, samples, unit="MB/s")
    for ours, peer, budget in ((STREAMED, SSH, budgets.STREAMED_BULK), (HANDED, PROXY, budgets.HANDED_BULK)):
        if peer in found:
            report.verdict(budget, report.quotient(what, ours, peer, found).median, how=what)
    if SSH not in found:
        report.quotient(what, STREAMED, PLAIN, found)


def _on_open_connections(
    bench: Bench, ways: list[Way], what: str, measure: Callable[[socket.socket], float], rounds: int
) -> dict[str, list[float]]:
    """One connection each, used in every round."""
    bench.progress.step(f"tunnel: {what}")
    with contextlib.ExitStack() as stack:
        contestants = [
            Contestant(way.who, functools.partial(measure, stack.enter_context(way.connect()))) for way in ways
        ]
        return interleave(what, contestants, rounds=bench.times(rounds), progress=bench.progress)
