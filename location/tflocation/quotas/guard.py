"""Refuses what is beyond an account's limits, with the numbers, before anything happens.

Use is counted from what the location has written down: of sessions, containers and volumes those there are, of memory and
processor what containers were given as their limits, of tunnels the connections under way through the location, of disk
what images and kept snapshots take. What running containers write is their node's to know, and is not counted. Who
checks takes note of the new thing before anybody else's request is looked at, so two requests cannot share the last place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from tfcore.wire.containers import Limits
from tflocation.disk import Disk
from tflocation.forwarding import Forwarding
from tflocation.holdings import Container, Holdings
from tflocation.images.cache import ImageCache
from tflocation.kept.shelf import KeptShelf
from tflocation.quotas.book import QuotaBook
from tflocation.quotas.kinds import KINDS, refusal
from tflocation.quotas.meter import Arriving, Meter
from tflocation.sessions import Sessions

MEMORY_EACH = 512 << 20
CPUS_EACH = 1.0
"""What a container is given that wishes nothing, in an account whose memory or processor is limited."""


SESSIONS = 1000
"""How many of them an account may have of which nothing is said: each is remembered for as long as its lease."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Knows what every account has and may have."""

    book: QuotaBook
    holdings: Holdings
    sessions: Sessions
    kept: KeptShelf
    forwarding: Forwarding
    images: ImageCache
    _arriving: Arriving = field(default_factory=Arriving)

    # refusals

    def session(self, account: str) -> None:
        """Raise `QuotaExceeded` unless the account may have one session more."""
        self._require(account, {"sessions": 1})

    def container(self, account: str, limits: Limits, *, instead: Container | None = None) -> None:
        """Raise `QuotaExceeded` unless the account may have this container, be it in place of what it was before."""
        memory, cpus = (instead.memory, instead.cpus) if instead else (0, 0.0)
        asked = {"containers": 0 if instead else 1, "memory": limits.memory - memory, "cpu": limits.cpus - cpus}
        self._require(account, asked)

    def volumes(self, account: str, count: int = 1) -> None:
        """Raise `QuotaExceeded` unless the account may have so many volumes more."""
        self._require(account, {"volumes": count})

    def tunnel(self, account: str) -> None:
        """Raise `QuotaExceeded` unless the account may open one more connection through a tunnel."""
        self._require(account, {"tunnels": 1})

    def meter(self, account: str) -> Meter:
        """For what will be kept of an account, while it comes in."""
        most = self.book.of(account).get("disk")
        return Meter(account, most, self._kept(account), partial(self.images.possessed, account), self._arriving)

    def _require(self, account: str, asked: dict[str, float]) -> None:
        limits = {"sessions": SESSIONS, **self.book.of(account)}
        for kind, more in asked.items():
            most = limits.get(kind)
            if most is None or more <= 0:
                continue
            used = self._used(account, kind)
            if used + more > most:
                raise refusal(account, kind, most=most, used=used, more=more)

    # use

    def sized(self, account: str, limits: Limits) -> Limits:
        """A container's limits, with what it is given where it wishes none and its account has to share."""
        mine = self.book.of(account)
        memory = limits.memory or (int(min(MEMORY_EACH, mine["memory"])) if "memory" in mine else 0)
        cpus = limits.cpus or (min(CPUS_EACH, mine["cpu"]) if "cpu" in mine else 0.0)
        return replace(limits, memory=memory, cpus=cpus)

    async def report(self, account: str, disk: Disk) -> dict[str, dict[str, float]]:
        """Use and limit of what an account is limited in, by kind. The image cache is asked in a thread."""
        mine = self.book.of(account)
        found = {kind: {"used": self._used(account, kind), "limit": mine[kind]} for kind in KINDS if kind in mine}
        if "disk" in found:
            found["disk"]["used"] += await disk.run(self.images.possessed, account)
        return found

    def _used(self, account: str, kind: str) -> float:
        mine = [container for container in self.holdings.containers.values() if container.account == account]
        match kind:
            case "containers":
                return len(mine)
            case "memory":
                return sum(container.memory for container in mine)
            case "cpu":
                return sum(container.cpus for container in mine)
            case "sessions":
                return sum(session.account == account for session in self.sessions)
            case "volumes":
                return sum(volume.account == account for volume in self.holdings.volumes.values())
            case "tunnels":
                return self.forwarding.connections(account)
            case "disk":
                return self._kept(account)
        raise KeyError(kind)

    def _kept(self, account: str) -> int:
        return sum(kept.size for kept in self.kept.of(account))
