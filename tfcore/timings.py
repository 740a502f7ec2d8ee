"""How long something took, counted: number, sum, and a histogram in the form Prometheus reads. Pure."""

from __future__ import annotations

from bisect import bisect_left

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets, seconds; a last one holds what took longer. The wire carries counts in this order."""


class Timings:
    """Durations of one kind of thing.

    Attributes:
        count: how many there were. seconds: how long they took together.
        buckets: how many fell into each of `BOUNDS`, and beyond; not summed up.
    """

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BOUNDS) + 1)

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.count += 1
        self.seconds += seconds
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
