"""Lines for whoever waits: one at each step, and one a second during a long one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

EVERY = 1.0
"""Seconds between two lines during a step."""


def to_stderr(line: str) -> None:
    """Where progress goes by default: results have stdout to themselves."""
    print(line, file=sys.stderr, flush=True)


class Progress:
    """Tells how far it is.

    Args:
        write: takes a line.
        clock: seconds.
    """

    def __init__(
        self, write: Callable[[str], object] = to_stderr, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._begun = self._told = clock()

    def step(self, text: str) -> None:
        """Something begins."""
        self._tell(text)

    def during(self, text: str) -> None:
        """It goes on; told only if nothing has been for a second."""
        if self._clock() - self._told >= EVERY:
            self._tell(text)

    def _tell(self, text: str) -> None:
        self._told = self._clock()
        self._write(f"{self._told - self._begun:6.1f}s  {text}")
