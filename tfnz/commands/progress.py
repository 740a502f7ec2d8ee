"""Progress on a terminal: one line on standard error that is written over; nothing anywhere else."""

from __future__ import annotations

import sys
import time

from tfnz.commands.tables import size_of

EVERY = 0.1
"""Seconds between two drawings."""

CLEAR = "\r\x1b[K"


class Progress:
    """What `progress=` of the SDK takes; to be closed, so that the line goes away.

    Args:
        quiet: draw nothing, terminal or not.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._drawn = False
        self._next = 0.0
        self._silent = quiet or not sys.stderr.isatty()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Something has come further, in bytes; with none at all, it goes on."""
        now = time.monotonic()
        if self._silent or (now < self._next and done < total):
            return
        self._next, self._drawn = now + EVERY, True
        share = f"{100 * done // total:3d} % of {size_of(total)}" if total else size_of(done) if done else "…"
        print(f"{CLEAR}{what}: {share}", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Take the line away; the next call draws it again."""
        if self._drawn:
            print(CLEAR, end="", file=sys.stderr, flush=True)
            self._drawn = False
