"""A location's figures as Prometheus' metric families: what each is called and means. Pure: figures in, families out.

Names end in their unit, as Prometheus asks for. Labels are accounts, nodes, operations and outcomes: never ids of sessions
or containers, of which there is no end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from tfcore.timings import BOUNDS
from tfcore.wire.figures import NodeFigures
from tflocation.metrics.tally import Tally


def families(report: Mapping[str, Any], tally: Tally, nodes: Mapping[str, NodeFigures]) -> Iterator[Metric]:
    """All families.

    Args:
        report: as `status.report` gives it for the operator.
        tally: the location's own counts.
        nodes: what the nodes have counted, by name; of those that have answered.
    """
    yield from _holdings(report)
    yield from _traffic(report, tally)
    yield from _cache(report["images"])
    yield from _offers(report["nodes"])
    yield from _agents(nodes)


def _gauge(name: str, text: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    """`values` are by the labels' values, a tuple of as many strings."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for label, value in sorted(values.items()):
        family.add_metric(label, value)
    return family


def _counted(name: str, text: str, labels: Sequence[str], found: Sequence[tuple[str, ...]]) -> Metric:
    return _gauge(name, text, labels, Counter(found))


def _holdings(report: Mapping[str, Any]) -> Iterator[Metric]:
    info = GaugeMetricFamily("tf_info", "Always 1; what is running.", labels=("location", "version"))
    info.add_metric((report["location"], report["version"]), 1)
    yield info
    yield _gauge("tf_uptime_seconds", "Since the daemon's start.", (), {(): report["uptime"]})
    yield _gauge("tf_draining", "1 while no new sessions are opened.", (), {(): float(report["draining"])})
    yield _counted("tf_sessions", "Open sessions.", ("account",), [(s["account"],) for s in report["sessions"]])
    connected = sum(session["connected"] for session in report["sessions"])
    yield _gauge("tf_sessions_connected", "Those of them that have a connection.", (), {(): connected})
    names = {node["id"]: node["name"] for node in report["nodes"]}
    places = [(c["account"], names.get(c["node"], c["node"])) for c in report["containers"]]
    yield _counted("tf_containers", "Containers, ended ones included.", ("account", "node"), places)
    ended = sum(container["ended"] for container in report["containers"])
    yield _gauge("tf_containers_ended", "Those of them that have ended with their node.", (), {(): ended})
    yield _counted(
        "tf_volumes", "Volumes.", ("account", "persistent"),
        [(v["account"], "yes" if v["persistent"] else "no") for v in report["volumes"]],
    )  # fmt: skip
    yield _counted("tf_kept_snapshots", "Kept snapshots.", ("account",), [(k["account"],) for k in report["kept"]])
    sizes: Counter[tuple[str, ...]] = Counter()
    for kept in report["kept"]:
        sizes[(kept["account"],)] += kept["size"]
    yield _gauge("tf_kept_bytes", "What they take on the nodes' disks.", ("account",), sizes)
    states = [(state,) for state in report["leases"].values()]
    yield _counted("tf_leases", "Sessions' leases by state.", ("state",), states)
    addresses = report["addresses"]["in_use"]
    yield _gauge("tf_addresses_in_use", "Containers' addresses given out.", (), {(): addresses})


def _traffic(report: Mapping[str, Any], tally: Tally) -> Iterator[Metric]:
    messages = dict(report["messages"])
    under_way = messages.pop("under_way")
    volume = CounterMetricFamily("tf_received_bytes", "Bodies of messages received.", labels=("source",))
    for source in ("clients", "nodes"):
        volume.add_metric((source,), messages.pop(f"bytes_from_{source}"))
    yield volume
    fates = CounterMetricFamily("tf_messages", "Messages by what became of them.", labels=("fate",))
    for fate, number in messages.items():
        fates.add_metric((fate,), number)
    yield fates
    yield _gauge("tf_requests_under_way", "Requests that nodes have not answered yet.", (), {(): under_way})
    refused = CounterMetricFamily("tf_refused_connections", "Handshakes with unknown keys.")
    refused.add_metric((), report["refused_connections"])
    yield refused
    requests = HistogramMetricFamily(
        "tf_request_seconds", "Requests answered, by the location or a node behind it.", labels=("op", "outcome")
    )
    for op, outcome, timings in tally:
        requests.add_metric((op, outcome), _buckets(timings.buckets), timings.seconds)
    yield requests


def _buckets(counts: Sequence[int]) -> list[tuple[str, float]]:
    """Prometheus' are summed up from below."""
    return list(zip([*(f"{bound:g}" for bound in BOUNDS), "+Inf"], accumulate(counts), strict=True))


def _cache(usage: Mapping[str, Any]) -> Iterator[Metric]:
    yield _gauge("tf_image_cache_bytes", "Image layers on the location's disk.", (), {(): usage["size"]})
    yield _gauge("tf_image_cache_pinned_bytes", "Those of them in use.", (), {(): usage["pinned"]})
    yield _gauge("tf_images", "Images described.", (), {(): usage["images"]})


_OFFERS = (
    ("tf_node_cores", "Cores.", "cores"),
    ("tf_node_cpu_free_ratio", "Idle share of all cores.", "cpu"),
    ("tf_node_memory_free_bytes", "Memory that can be had.", "memory"),
    ("tf_node_memory_bytes", "Memory.", "memory_total"),
    ("tf_node_disk_free_bytes", "Free on the disk with layers, volumes and snapshots.", "disk"),
    ("tf_node_disk_bytes", "Size of that disk.", "disk_total"),
    ("tf_node_containers", "Containers the node runs.", "containers"),
    ("tf_node_draining", "1 while it takes nothing new on.", "draining"),
)


def _offers(nodes: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    up = {(node["name"],): float(node["state"] in ("joined", "draining")) for node in nodes}
    yield _gauge("tf_node_up", "1 if the node has joined and is heard of.", ("node",), up)
    for name, text, field in _OFFERS:
        yield _gauge(name, text, ("node",), {(node["name"],): float(node[field]) for node in nodes})


def _agents(nodes: Mapping[str, NodeFigures]) -> Iterator[Metric]:
    rollbacks = HistogramMetricFamily(
        "tf_rollback_seconds", "Rollbacks by how they were had, as the node saw them.", labels=("node", "tier")
    )
    boots = HistogramMetricFamily("tf_boot_seconds", "Boots of new containers until ready.", labels=("node",))
    for node, figures in sorted(nodes.items()):
        for of in figures.rollbacks:
            rollbacks.add_metric((node, of.name), _buckets(of.buckets), of.seconds)
        for of in figures.boots:
            boots.add_metric((node,), _buckets(of.buckets), of.seconds)
    yield rollbacks
    yield boots
    for name, text, field in (
        ("tf_agent_memory_bytes", "The agent's resident memory.", "memory"),
        ("tf_agent_open_fds", "The agent's open files.", "descriptors"),
        ("tf_agent_threads", "The agent's threads.", "threads"),
        ("tf_spares", "Generations that stand ready for a rollback.", "spares"),
    ):
        values = {(node,): float(getattr(figures, field)) for node, figures in nodes.items()}
        yield _gauge(name, text, ("node",), values)
