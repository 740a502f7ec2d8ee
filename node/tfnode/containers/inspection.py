"""Looking into one container for what has become of it: since a snapshot, or before a rollback does away with it.

Runs in the agent's event loop; the looking is `comparison.py`'s, in worker threads.
"""

from __future__ import annotations

import logging

from tfcore.wire.differences import CompareContainer, Compared, Left, LookFor
from tfnode.containers.labour import Labour
from tfnode.containers.life import Birth, Generation, Generations, Moment
from tfnode.containers.traces import UNREADABLE, Traces

log = logging.getLogger(__name__)


class Inspection:
    """What can be told of one container by looking. Whoever asks holds the container still: nothing replaces the generation
    meanwhile."""

    def __init__(self, birth: Birth, generations: Generations, labour: Labour, traces: Traces) -> None:
        self._birth = birth
        self._generations = generations
        self._labour = labour
        self._traces = traces

    async def compare(self, generation: Generation, moment: Moment, wanted: CompareContainer) -> Compared:
        """What differs from a snapshot. What cannot be told of it is among the notes."""
        seen = self._traces.reference(generation, moment)
        return await self._labour.step(self._generations.compare, self._birth, generation, moment, seen, wanted)

    async def compare_moments(self, before: Moment, after: Moment, wanted: CompareContainer) -> Compared:
        """What differs between two snapshots."""
        return await self._labour.step(self._generations.compare_moments, self._birth, before, after, wanted)

    async def left(self, generation: Generation | None, moment: Moment, look_for: LookFor) -> Left:
        """What was left in it since a snapshot; nothing if that cannot be told: no rollback fails for it."""
        if look_for == "nothing" or generation is None:
            return Left()
        seen = self._traces.reference(generation, moment)
        try:
            return await self._labour.step(self._generations.left, self._birth, generation, moment, seen, look_for)
        except UNREADABLE as error:
            log.info("container %s: what was left in it cannot be told: %s", self._birth.id, error)
            return Left()
