"""A container of ours that is dirtied and rolled back over and over, the way a test does it: through the SDK and a tunnel.

Every rollback is searched for traces of what it was to undo. Dirtying, waiting and searching are not counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import cycle

from benchmarks.ground.services import Service
from benchmarks.measuring.report import OURS
from benchmarks.measuring.rounds import milliseconds, until
from tfnz.container import Container

SPARE_TIMEOUT = 60.0
"""Seconds the node may take to make the next generation."""

BETWEEN_LOOKS = 0.01
"""Seconds between two looks whether it has: seldom enough to leave it the processor."""

BACK_TO_BACK = f"{OURS}, back to back"
OTHER_SNAPSHOT = f"{OURS}, other snapshot"


class Patient:
    """A container, filled once, with two snapshots of that.

    Attributes:
        tiers: how the node did it, counted by the way it was asked.
        in_node: milliseconds the node itself says it took, by the way it was asked.
    """

    def __init__(self, container: Container, service: Service) -> None:
        self.container = container
        self.service = service
        self.address = service.address_of(container)
        service.fill(self.address)
        self._snapshots = cycle([container.snapshot(), container.snapshot()])
        self.tiers: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.in_node: defaultdict[str, list[float]] = defaultdict(list)

    def spare_ready(self) -> float:
        """Milliseconds of a rollback after a test during which the node has made the next generation."""
        self.service.dirty(self.container)
        self.wait_for_spare()
        return self._roll_back(OURS)

    def back_to_back(self) -> float:
        """Milliseconds of a rollback right after another one."""
        self.container.rollback()
        self.service.dirty(self.container)
        return self._and_settle(self._roll_back(BACK_TO_BACK))

    def other_snapshot(self) -> float:
        """Milliseconds of a rollback for which nothing is prepared, while the node has nothing else to do."""
        self.container.rollback(next(self._snapshots))
        self.service.dirty(self.container)
        self.wait_for_spare()
        return self._and_settle(self._roll_back(OTHER_SNAPSHOT, next(self._snapshots)))

    def wait_for_spare(self) -> None:
        """Wait until a generation is ready for the next rollback.

        Raises:
            TimeoutError: none is, for a minute.
        """
        until(
            lambda: self.container.status().spares > 0,
            what=f"a spare of {self.service.name}",
            patience=SPARE_TIMEOUT,
            pause=BETWEEN_LOOKS,
        )

    def _and_settle(self, took: float) -> float:
        """What follows shall not find the machine busy with this one's spare."""
        self.wait_for_spare()
        return took

    def _roll_back(self, way: str, snapshot: str = "") -> float:
        def roll_back() -> None:
            done = self.container.rollback(snapshot)
            self.service.wait(self.address)
            self.tiers[way][done.tier] += 1
            self.in_node[way].append(done.seconds * 1000)

        took = milliseconds(roll_back)
        if not self.service.clean(self.address):
            raise RuntimeError(f"{self.service.name} was rolled back and is not clean")
        return took

    def note(self, way: str) -> str:
        """How the node did it, in words, the rounds that were not counted included."""
        return counted(self.tiers[way])


def counted(tiers: Counter[str]) -> str:
    """`spare 198, booting 2`."""
    return ", ".join(f"{tier} {count}" for tier, count in tiers.most_common())
