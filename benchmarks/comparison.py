"""What the figures of `rollback` say in short: a service, ours, and each peer with how much longer it takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.measuring.report import OURS


@dataclass(frozen=True)
class Peer:
    """Somebody else's way.

    Attributes:
        median: milliseconds.
        p95: milliseconds that 95 of 100 do not exceed.
        ratio: of its figure to ours, in the middle of all rounds.
    """

    who: str
    median: float
    p95: float
    ratio: float


@dataclass(frozen=True)
class Comparison:
    """One service: our rollback with a spare ready, in milliseconds, and the peers, the fastest first."""

    what: str
    median: float
    p95: float
    peers: tuple[Peer, ...]


def comparisons(document: Mapping[str, Any]) -> list[Comparison]:
    """All services that were measured beside somebody, in the order they were measured.

    Args:
        document: the JSON of `rollback`.
    """
    summaries = {(row["what"], row["who"]): row["summary"] for row in document["rows"]}
    compared = [quotient for quotient in document["quotients"] if quotient["divisor"] == OURS]
    found = []
    for what in dict.fromkeys(quotient["what"] for quotient in compared):
        ours = summaries[what, OURS]
        peers = [_peer(quotient, summaries) for quotient in compared if quotient["what"] == what]
        found.append(Comparison(what, ours["median"], ours["p95"], tuple(sorted(peers, key=lambda peer: peer.median))))
    return found


def _peer(quotient: Mapping[str, Any], summaries: Mapping[tuple[str, str], Mapping[str, float]]) -> Peer:
    own = summaries[quotient["what"], quotient["dividend"]]
    return Peer(quotient["dividend"], own["median"], own["p95"], quotient["summary"]["median"])
