"""The next generations, made while the present one is used, so that a rollback finds one (DESIGN D10).

Spares of one moment: booted ahead where that is safe and there is room, else one that only needs to be started.
Another moment's spares are of no use and are discarded. How many there are follows from how often a rollback had to wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Literal

from tfcore.errors import TfError
from tfnode.containers.ahead import Ahead
from tfnode.containers.labour import Labour
from tfnode.containers.life import Generation, Moment
from tfnode.containers.succession import Succession

log = logging.getLogger(__name__)

Tier = Literal["spare", "booting", "created", "cold"]

MOST = 3
"""Spares of one container. More would only move work from the rollback to the test before it."""


class Spares:
    """The spares of one container."""

    def __init__(self, labour: Labour, ahead: Ahead, succession: Succession) -> None:
        self._labour = labour
        self._ahead = ahead
        self._number = succession.number
        self._make = succession.make
        self._bury = succession.bury
        self._reaches = succession.reaches
        self._moment = ""
        self._wanted = 1
        self._tasks: deque[asyncio.Task[Generation]] = deque()

    def prepare(self, moment: Moment) -> None:
        """Begin to make what is missing of the spares of `moment`."""
        if self._moment != moment.name:
            self.drop()
            self._wanted = 1
        self._moment = moment.name
        self._top_up(moment)

    def _top_up(self, moment: Moment) -> None:
        """One after the other: a second boot would only make the first one slower, which somebody may be waiting for."""
        under_way = any(not task.done() for task in self._tasks)
        wanted = 1 if self._ahead.refusal(moment) else self._wanted
        if self._moment == moment.name and not under_way and len(self._tasks) < wanted:
            task = self._labour.begin(self._make_one(moment))
            self._tasks.append(task)
            task.add_done_callback(lambda done: self._made(done, moment))

    def _made(self, done: asyncio.Task[Generation], moment: Moment) -> None:
        if done in self._tasks:  # otherwise it was taken or dropped meanwhile
            self._top_up(moment)

    async def _make_one(self, moment: Moment) -> Generation:
        refusal = self._ahead.refusal(moment)
        if not refusal:
            try:
                return await self._ahead.boot(self._number(), moment)
            except TfError as error:
                refusal = str(error)
        log.info("nothing is booted ahead from %s: %s", moment.root, refusal)
        return await self._make(moment)

    async def take(self, moment: Moment) -> tuple[Generation, Tier]:
        """A spare if there is one of this moment, else a new generation; the present one runs on meanwhile.

        Raises:
            TfError: none can be made.
        """
        if self._moment != moment.name:
            self.drop()
        while self._tasks:
            task = self._tasks.popleft()
            found = await self._outcome(task, moment)
            if found is not None:
                return found
        return await self._make(moment), "cold"

    async def _outcome(self, task: asyncio.Task[Generation], moment: Moment) -> tuple[Generation, Tier] | None:
        """None if it came to nothing, or what it came to must not be used any more."""
        waited = not task.done()
        if waited:
            self._wanted = min(self._wanted + 1, MOST)
            self._ahead.hurry()
        try:
            generation = await task
        except TfError as error:
            log.warning("a spare could not be made: %s", error)
            return None
        if not generation.ahead and self._reaches(generation):
            return generation, "created"
        if not generation.ahead or self._ahead.refusal(moment) or not self._ahead.sound(generation):
            self._labour.begin(self._discard(task))
            return None
        return generation, "booting" if waited else "spare"

    @property
    def ready(self) -> int:
        """How many there are."""
        return sum(task.done() and not task.cancelled() and task.exception() is None for task in self._tasks)

    def grew_from(self, name: str) -> bool:
        """True if there is a spare of this moment."""
        return bool(self._tasks) and self._moment == name

    def drop(self) -> None:
        """Discard all spares, in the background."""
        self._ahead.abandon()
        while self._tasks:
            self._labour.begin(self._discard(self._tasks.popleft()))

    async def _discard(self, task: asyncio.Task[Generation]) -> None:
        try:
            unwanted = await task
        except TfError as error:
            log.info("a spare could not be made: %s", error)
            return
        self._ahead.let_go(unwanted)
        await self._bury(unwanted)
