"""The next generation, made while the present one is used, so that a rollback only has to start it (DESIGN D10, tier b).

One spare, of one moment. Another moment's spare is of no use and is discarded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from tfcore.errors import TfError
from tfnode.containers.labour import Labour
from tfnode.containers.life import Generation, Moment

log = logging.getLogger(__name__)

Make = Callable[[Moment], Coroutine[Any, Any, Generation]]
Bury = Callable[[Generation], Coroutine[Any, Any, None]]


class Spares:
    """The spare of one container.

    Args:
        make: makes a generation that only needs to be started.
        bury: ends and removes one.
    """

    def __init__(self, labour: Labour, make: Make, bury: Bury) -> None:
        self._labour = labour
        self._make = make
        self._bury = bury
        self._moment = ""
        self._task: asyncio.Task[Generation] | None = None

    def prepare(self, moment: Moment) -> None:
        """Begin to make the next generation from `moment`."""
        self.drop()
        self._moment = moment.name
        self._task = self._labour.begin(self._make(moment))

    async def take(self, moment: Moment) -> tuple[Generation, Literal["created", "cold"]]:
        """The spare if it grew from this moment, else a new generation; the present one runs on meanwhile.

        Raises:
            TfError: none can be made.
        """
        if self._task is None or self._moment != moment.name:
            self.drop()
            return await self._make(moment), "cold"
        task, self._task = self._task, None
        try:
            return await task, "created"
        except TfError as error:
            log.warning("a spare could not be made: %s", error)
            return await self._make(moment), "cold"

    def grew_from(self, name: str) -> bool:
        """True if there is a spare of this moment."""
        return self._task is not None and self._moment == name

    def drop(self) -> None:
        """Discard the spare, in the background."""
        task, self._task = self._task, None
        if task is not None:
            self._labour.begin(self._discard(task))

    async def _discard(self, task: asyncio.Task[Generation]) -> None:
        try:
            unwanted = await task
        except TfError as error:
            log.info("a spare could not be made: %s", error)
            return
        await self._bury(unwanted)
