"""What a node counts of itself, for the operator's metrics and for what looks for leaks."""

from __future__ import annotations

from msgspec import Struct

from tfcore.wire.message import Reply, Request
from tfcore.wire.values import Bytes


class TimingsOf(Struct, frozen=True, kw_only=True):
    """See `tfcore.timings`; `buckets` are its counts, in the order of its bounds."""

    name: str
    count: int
    seconds: float
    buckets: tuple[int, ...] = ()


class NodeFigures(Reply, frozen=True, kw_only=True, tag="node.figures"):
    """Since the agent's start.

    Attributes:
        rollbacks: by tier (`RolledBack.tier`).
        boots: of containers, from being taken on to being ready.
        memory: the agent's resident memory, bytes.
        descriptors, threads: the agent's.
        spares: generations that stand ready.
    """

    rollbacks: tuple[TimingsOf, ...] = ()
    boots: tuple[TimingsOf, ...] = ()
    memory: Bytes = 0
    descriptors: int = 0
    threads: int = 0
    spares: int = 0


class AskFigures(Request[NodeFigures], frozen=True, kw_only=True, tag="node.ask-figures"):
    """What have you counted?"""
