"""The dead generations of one container, until nothing is left of them: what fails is tried again with the next burial.

Knows nothing of the living one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tfcore.errors import TfError
from tfnode.containers.labour import Labour
from tfnode.containers.life import Birth, Generation, Generations

log = logging.getLogger(__name__)

BREATH = 0.02
"""Seconds in which whoever waited for the living has the processor to himself: his first connection comes now."""


class Burials:
    """Those of one container.

    Args:
        vacated: told, in a worker thread, of each generation of which nothing is left.
    """

    def __init__(
        self, birth: Birth, generations: Generations, labour: Labour, vacated: Callable[[Generation], None]
    ) -> None:
        self._birth = birth
        self._generations = generations
        self._labour = labour
        self._vacated = vacated
        self._failed: list[Generation] = []

    async def bury(self, *dead: Generation) -> None:
        """End generations and remove what they leave, and what earlier ones have left.

        Raises:
            TfError: something is left, of these or of earlier ones; the next call tries again.
        """
        waiting, self._failed = [*self._failed, *dead], []
        errors = [error for generation in waiting if (error := await self._attempt(generation)) is not None]
        if errors:
            raise errors[0]

    async def _attempt(self, generation: Generation) -> TfError | None:
        try:
            await self._labour.step(self._generations.kill, generation)
            await self._labour.step(self._generations.bury, self._birth, generation)
            await self._labour.step(self._vacated, generation)
        except TfError as error:
            self._failed.append(generation)
            return error
        return None

    async def clear_away(self, old: Generation | None, trees: list[str]) -> None:
        """In the background, where nobody waits for the dead: bury, and let go of volumes' former trees."""
        await asyncio.sleep(BREATH)
        try:
            if old is not None:
                await self.bury(old)
        except TfError as error:
            log.warning("generations of %s could not be cleared away yet: %s", self._birth.id, error)
        try:
            await self._labour.step(self._generations.discard, trees)
        except TfError as error:
            log.warning("former trees of volumes of %s stay until those go: %s", self._birth.id, error)
