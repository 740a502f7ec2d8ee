"""What the agent counts of itself: rollbacks by tier, boots, and what its own process takes of the machine."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tfcore.timings import Timings
from tfcore.wire.containers import ContainerReady, RolledBack
from tfcore.wire.figures import NodeFigures, TimingsOf

PAGE = os.sysconf("SC_PAGE_SIZE")


class Figures:
    """Counts in the agent's loop; read there, too."""

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self._proc = proc
        self._rollbacks: defaultdict[str, Timings] = defaultdict(Timings)
        self._boots = Timings()

    def rolled_back(self, done: Iterable[RolledBack]) -> None:
        """These went back, each in its own time."""
        for one in done:
            self._rollbacks[one.tier].add(one.seconds)

    def booted(self, boot: asyncio.Task[ContainerReady]) -> None:
        """A container's first boot has come to its end, good or bad; only good ones count."""
        if not boot.cancelled() and boot.exception() is None:
            self._boots.add(boot.result().seconds)

    def told(self, *, spares: int) -> NodeFigures:
        """All of it. A process that cannot be looked at (no /proc) counts as nothing."""
        return NodeFigures(
            rollbacks=tuple(_told(tier, timings) for tier, timings in sorted(self._rollbacks.items())),
            boots=(_told("boot", self._boots),),
            memory=self._memory(),
            descriptors=self._descriptors(),
            threads=threading.active_count(),
            spares=spares,
        )

    def _memory(self) -> int:
        try:
            return int((self._proc / "statm").read_text().split()[1]) * PAGE
        except OSError:
            return 0

    def _descriptors(self) -> int:
        try:
            return len(os.listdir(self._proc / "fd")) - 1  # the listing's own
        except OSError:
            return 0


def _told(name: str, timings: Timings) -> TimingsOf:
    return TimingsOf(name=name, count=timings.count, seconds=timings.seconds, buckets=tuple(timings.buckets))
