"""What a dead agent leaves and who must not trip over it: the same two steps for launcher and keeper.

Carries out the plan's `end_stragglers` and `sweep`; a failure of theirs is logged and never stops a restart.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Callable

from tfcore.clock import Clock, monotonic

log = logging.getLogger(__name__)

DEATH_SECONDS = 30.0
"""How long the processes below a dead agent may take to end."""

LOOK_EVERY = 0.5
"""Seconds between two attempts to end them."""


class Remains:
    """Ends and sweeps, as often as needed."""

    def __init__(self, end_stragglers: Callable[[], None], sweep: Callable[[], None]) -> None:
        self._end_stragglers = end_stragglers
        self._sweep = sweep

    def end_stragglers(self) -> None:
        """Kill what the kernel alone cannot."""
        attempt(self._end_stragglers, "ending what a dead agent left")

    def sweep(self) -> None:
        """Remove what is left on disk; nothing of the agent runs any more."""
        attempt(self._sweep, "sweeping after an agent")

    def settle(self, agent: int, *, clock: Clock = monotonic) -> None:
        """End, wait for the process behind the pidfd `agent` and all in its pid namespace to be gone, sweep."""
        poll = select.poll()
        poll.register(agent, select.POLLIN)
        end = clock() + DEATH_SECONDS
        while clock() < end:
            self.end_stragglers()
            if poll.poll(LOOK_EVERY * 1000):
                self.sweep()
                return
        log.error("processes below the dead agent have not ended in %g s: not swept", DEATH_SECONDS)


def attempt(step: Callable[[], None], what: str) -> None:
    """Take `step`; an error is logged as that of `what`."""
    try:
        step()
    except Exception:  # the next life must not depend on how tidily the last one ended
        log.exception("%s failed", what)
