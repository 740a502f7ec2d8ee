"""The next generations, made while the present one is used, so that a rollback finds one (DESIGN D10).

Spares of one moment: booted ahead where that is safe and there is room, else one that only needs to be started.
Another moment's spares are of no use and are discarded. How many there are follows from how often a rollback had to wait.
Whether they are generations of one container or of several that roll back as one, their `Source` knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Generic, Literal, Protocol, TypeVar

from tfcore.errors import TfError
from tfnode.containers.labour import Labour

log = logging.getLogger(__name__)

Tier = Literal["spare", "booting", "created", "cold"]

MOST = 3
"""Spares of one source. More would only move work from the rollback to the test before it."""

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
B = TypeVar("B")


class Source(Protocol[M_contra, B]):
    """Where the generations of a moment come from."""

    def name(self, moment: M_contra) -> str:
        """What to call it in the log."""

    def refusal(self, moment: M_contra) -> str:
        """Why nothing is booted ahead from this moment; "" if it is."""

    async def boot(self, moment: M_contra) -> B:
        """One that is ready and stands still. TfError if that cannot be; nothing is left then."""

    async def make(self, moment: M_contra) -> B:
        """One that only needs to be started. TfError if that cannot be; nothing is left then."""

    def tier(self, born: B, moment: M_contra) -> Literal["spare", "created", ""]:
        """What it can be used as now; "" if not at all."""

    async def discard(self, born: B) -> None:
        """Nobody wants it: nothing is left of it. TfError if something is."""

    def hurry(self) -> None:
        """Somebody waits for what is being booted."""

    def abandon(self) -> None:
        """Nobody wants what is being booted."""


class Spares(Generic[M, B]):
    """The spares of one container, or of several that roll back as one."""

    def __init__(self, labour: Labour, source: Source[M, B]) -> None:
        self._labour = labour
        self._source = source
        self._wanted = 1
        self._tasks: deque[asyncio.Task[B]] = deque()
        self.moment: M | None = None

    def prepare(self, moment: M) -> None:
        """Begin to make what is missing of the spares of `moment`."""
        if self.moment != moment:
            self.drop()
            self._wanted = 1
        self.moment = moment
        self._top_up(moment)

    def _top_up(self, moment: M) -> None:
        """One after the other: a second boot would only make the first one slower, which somebody may be waiting for."""
        under_way = any(not task.done() for task in self._tasks)
        wanted = 1 if self._source.refusal(moment) else self._wanted
        if self.moment == moment and not under_way and len(self._tasks) < wanted:
            task = self._labour.begin(self._make_one(moment))
            self._tasks.append(task)
            task.add_done_callback(lambda done: self._made(done, moment))

    def _made(self, done: asyncio.Task[B], moment: M) -> None:
        if done in self._tasks:  # otherwise it was taken or dropped meanwhile
            self._top_up(moment)

    async def _make_one(self, moment: M) -> B:
        refusal = self._source.refusal(moment)
        if not refusal:
            try:
                return await self._source.boot(moment)
            except TfError as error:
                refusal = str(error)
        log.info("nothing is booted ahead from %s: %s", self._source.name(moment), refusal)
        return await self._source.make(moment)

    async def take(self, moment: M) -> tuple[B, Tier]:
        """A spare if there is one of this moment, else a new generation; the present one runs on meanwhile.

        Raises:
            TfError: none can be made.
        """
        if self.moment != moment:
            self.drop()
        while self._tasks:
            task = self._tasks.popleft()
            found = await self._outcome(task, moment)
            if found is not None:
                return found
        return await self._source.make(moment), "cold"

    async def _outcome(self, task: asyncio.Task[B], moment: M) -> tuple[B, Tier] | None:
        """None if it came to nothing, or what it came to must not be used any more."""
        waited = not task.done()
        if waited:
            self._wanted = min(self._wanted + 1, MOST)
            self._source.hurry()
        try:
            born = await task
        except TfError as error:
            log.warning("a spare could not be made: %s", error)
            return None
        tier = self._source.tier(born, moment)
        if tier == "":
            self._labour.begin(self._discard(task))
            return None
        return born, "booting" if waited and tier == "spare" else tier

    @property
    def ready(self) -> int:
        """How many there are."""
        return sum(task.done() and not task.cancelled() and task.exception() is None for task in self._tasks)

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def drop(self) -> None:
        """Discard all spares, in the background."""
        self._source.abandon()
        while self._tasks:
            self._labour.begin(self._discard(self._tasks.popleft()))

    async def _discard(self, task: asyncio.Task[B]) -> None:
        try:
            unwanted = await task
        except TfError as error:
            log.info("a spare could not be made: %s", error)
            return
        await self._source.discard(unwanted)
