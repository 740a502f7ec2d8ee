"""Not more often than so: for log lines and notices that a stranger can cause as fast as they like."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from tfcore.clock import Clock

REMEMBERED = 1000
"""Keys kept apart; beyond them the oldest is forgotten, which at worst lets one thing through early."""


class Throttle:
    """Lets one thing of a kind through, then none until `seconds` have passed."""

    def __init__(self, clock: Clock, *, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._next: OrderedDict[Hashable, float] = OrderedDict()

    def lets(self, key: Hashable) -> bool:
        """True if a thing of this kind may pass now; it then counts as passed."""
        now = self._clock()
        if self._next.get(key, now) > now:
            return False
        self._next[key] = now + self._seconds
        self._next.move_to_end(key)
        while len(self._next) > REMEMBERED:
            self._next.popitem(last=False)
        return True
