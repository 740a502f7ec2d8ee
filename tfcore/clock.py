"""Time's one door: whoever waits or compares times is handed a `Clock`, so that tests can jump.

Knows nothing of what is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Returns seconds since an arbitrary start; never goes backwards."""

monotonic: Clock = time.monotonic


class JumpingClock:
    """A clock for tests: stands still until told to jump."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def jump(self, seconds: float) -> None:
        """Move forward by `seconds` (negative is refused: a monotonic clock never goes back)."""
        if seconds < 0:
            raise ValueError("a monotonic clock cannot jump backwards")
        self.now += seconds
