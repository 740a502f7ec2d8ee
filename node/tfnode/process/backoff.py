"""How long to wait before another life of something that died: pure arithmetic."""

from __future__ import annotations

STEADY_SECONDS = 10.0
"""A life this long was no failure to start: the next follows at once."""

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


class Backoff:
    """Nothing after a long life or a first short one, then 0.2 s, doubling up to 5 s."""

    def __init__(self) -> None:
        self._short_lives = 0

    def pause(self, lived: float) -> float:
        """Seconds to wait after a life of `lived` seconds."""
        self._short_lives = 0 if lived >= STEADY_SECONDS else self._short_lives + 1
        if self._short_lives <= 1:
            return 0.0
        return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._short_lives - 2, 16)))
