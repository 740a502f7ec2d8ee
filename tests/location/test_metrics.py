"""Metrics: on a loopback address when asked for, and nowhere else; true figures in Prometheus' text format."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.location.world import World, location, run
from tfcore.errors import BadRequest, Unavailable
from tfcore.rpc.dispatcher import Call, Dispatcher
from tfcore.timings import BOUNDS, Timings
from tfcore.wire import containers as c
from tfcore.wire.figures import AskFigures, NodeFigures, TimingsOf
from tflocation.cli import main
from tflocation.metrics.address import loopback
from tflocation.metrics.server import MetricsServer

Value = Callable[..., float | None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


async def scraped(world: World, server: MetricsServer, port: int) -> Value:
    """What a scrape says: `value(name, label=...)`, None for what is not there."""
    text = await asyncio.to_thread(lambda: requests.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text)
    samples = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return lambda name, **labels: samples.get((name, frozenset(labels.items())))


def test_the_figures_are_those_of_the_location(root: Path) -> None:
    async def told(_call: Call, _: AskFigures) -> NodeFigures:
        return NodeFigures(rollbacks=(timings,), memory=1234)

    timings = TimingsOf(name="spare", count=3, seconds=0.5, buckets=(1, 2, *[0] * (len(BOUNDS) - 1)))

    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            alice = await world.client("alice")
            there = await world.container(alice)
            await alice.call(c.WaitReady(), target=there)
            await alice.error_of(c.SnapshotTogether(containers=("c-0000000000000000000000",)), target=there)
            server = MetricsServer(world.location, ("127.0.0.1", 0))
            port = server.open()
            value = await scraped(world, server, port)
            assert value("tf_sessions", account="alice") == 1
            assert value("tf_containers", account="alice", node="rack1") == 1
            assert value("tf_node_up", node="rack1") == 1
            assert value("tf_request_seconds_count", op="container.wait-ready", outcome="ok") == 1, "a node answered"
            assert value("tf_request_seconds_count", op="container.spawn", outcome="ok") == 1
            assert value("tf_request_seconds_bucket", op="container.spawn", outcome="ok", le="+Inf") == 1
            assert (value("tf_received_bytes_total", source="clients") or 0) > 0
            assert (value("process_resident_memory_bytes") or 0) > 1e6
            assert value("tf_agent_memory_bytes", node="rack1") is None, "this node does not know the question"
            node.link._dispatcher = Dispatcher({AskFigures: told})
            value = await scraped(world, server, port)
            assert value("tf_agent_memory_bytes", node="rack1") == 1234
            assert value("tf_rollback_seconds_bucket", node="rack1", tier="spare", le="0.0025") == 3
            assert value("tf_rollback_seconds_sum", node="rack1", tier="spare") == 0.5
            with pytest.raises(Unavailable, match=str(port)):
                MetricsServer(world.location, ("127.0.0.1", port)).open()
            await server.close()
            with pytest.raises(requests.ConnectionError):
                await scraped(world, server, port)

    run(scenario)


def test_nobody_listens_unless_asked(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            assert world.daemon._metrics is None
            asked = replace(world.options(), metrics=("127.0.0.1", 0))
            await world.stop()
            from tflocation.daemon import Daemon

            world.daemon = Daemon(asked)
            await world.daemon.start()
            assert world.daemon._metrics is not None

    run(scenario)


@pytest.mark.parametrize(("text", "address"), [("127.0.0.1:9555", ("127.0.0.1", 9555)), ("[::1]:0", ("::1", 0))])
def test_loopback_addresses(text: str, address: tuple[str, int]) -> None:
    assert loopback(text) == address


@pytest.mark.parametrize("text", ["0.0.0.0:9555", "10.0.0.1:9555", "9555", "localhost:9555", "127.0.0.1:x", "[::]:1"])
def test_other_addresses_are_refused(text: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadRequest):
        loopback(text)
    main(["init", "--dir", str(root), "--name", "lab"])
    assert main(["serve", "--dir", str(root), "--metrics", text]) == 1
    assert "127.0.0.1" in capsys.readouterr().err or text == "127.0.0.1:x"


def test_buckets_are_bounded_from_above() -> None:
    timings = Timings()
    for seconds in (0.001, 0.0011, 31.0):
        timings.add(seconds)
    assert (timings.count, timings.buckets[0], timings.buckets[1], timings.buckets[-1]) == (3, 1, 1, 1)


def test_a_strangers_operation_is_not_counted_under_its_name(root: Path) -> None:
    from tfcore.wire.message import Done, Request

    class Strange(Request[Done], frozen=True, kw_only=True, tag="strange.words"):
        """An operation that nobody knows."""

    async def scenario() -> None:
        async with location(root) as world:
            alice = await world.client("alice")
            await alice.error_of(Strange())
            await asyncio.sleep(0)
            names = {op for op, _, _ in world.location.tally}
            assert "unknown" in names
            assert "strange.words" not in names

    run(scenario)
