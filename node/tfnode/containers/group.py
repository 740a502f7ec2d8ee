"""Containers that roll back as one: their snapshots are of one instant, and they go back to it in one go (DESIGN D10).

Everything is done under the locks of all members, taken in the same order by everybody. Knows what each container does on
its way back only as `WayBack`, and what it takes to keep it only as `Snapshotting`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tfcore.errors import BadRequest, Exhausted, NotFound, TfError, WrongState
from tfcore.wire.containers import RolledBack
from tfcore.wire.differences import LookFor
from tfnode.containers.container import Container
from tfnode.containers.group_births import Born, GroupBirths, Moments
from tfnode.containers.labour import Labour
from tfnode.containers.life import Generation
from tfnode.containers.snapshotting import Snapshotting, snapshot
from tfnode.containers.spares import Spares, Tier
from tfnode.containers.standing import State
from tfnode.containers.succession import swap, take_over
from tfnode.containers.surroundings import Surroundings
from tfnode.containers.way_back import WayBack

log = logging.getLogger(__name__)


class RollbackGroup:
    """Some containers, in the order in which they boot.

    Raises:
        BadRequest: two of them share a volume, which cannot be put back twice at once.
    """

    def __init__(self, members: Sequence[Container], around: Surroundings) -> None:
        _check_volumes(members)
        self.members = tuple(members)
        name = "group " + ", ".join(member.id for member in members)
        self._labour = Labour(name, around.executor)
        self._background = Labour(name, around.executor)
        self._births = GroupBirths(self.members, self._background, around)
        self._reserve: Spares[Moments, Born] = Spares(self._background, self._births)

    @property
    def spares(self) -> int:
        """How many generations of all of them wait to take over."""
        return self._reserve.ready

    async def part(self) -> None:
        """Nothing is left of the spares when this returns. The caller may hold a member's lock."""
        self._reserve.drop()
        await self._background.settle()

    def drop(self) -> None:
        """The spares are of no use any more; they go in the background."""
        self._reserve.drop()

    def prepare(self) -> None:
        """Begin to get ready for a rollback of each to its newest snapshot, if all have one and none is being removed."""
        if all(member.newest and not member.standing.unwanted.done() for member in self.members):
            self._reserve.prepare(tuple(member.moment("") for member in self.members))

    # snapshots

    async def snapshot(self, name: str) -> None:
        """Keep the present state of all, at one instant, under `name`; of all or of none.

        Raises:
            WrongState: one does not run, has a snapshot of that name, or its `before_snapshot` failed.
        """
        await self._labour.whole(self._snapshot(name))

    async def _snapshot(self, name: str) -> None:
        async with self._together():
            several = [Snapshotting(member, name) for member in self.members]
            await snapshot(several)
            for member in self.members:
                member.newest = name
            self.prepare()

    # rollbacks

    async def roll_back(self, names: Sequence[str], look_for: LookFor = "nothing") -> tuple[RolledBack, ...]:
        """Put each member back to its snapshot of the name given for it (default: the newest), all at once, and wait until
        all are ready.

        Raises:
            NotFound: one has no such snapshot; nothing was changed. Anything else: the message says what state each is in.
        """
        rolling = self._labour.begin(self._roll_back(names, look_for))
        for number, member in enumerate(self.members):
            member.comes_back(_of(rolling, number))
        return await asyncio.shield(rolling)

    async def _roll_back(self, names: Sequence[str], look_for: LookFor) -> tuple[RolledBack, ...]:
        async with self._together():
            backs = [WayBack(member, member.moment(name)) for member, name in zip(self.members, names, strict=True)]
            if all(await asyncio.gather(*(back.is_clean() for back in backs))):
                return tuple(back.stay() for back in backs)
            for back in backs:
                await back.look(look_for)
            moments = tuple(back.moment for back in backs)
            prepared = await self._prepare(moments)
            for back in backs:
                back.set_out()
            try:
                await self._go(backs, moments, prepared)
            except TfError as error:
                for back in backs:
                    if back.container.state is State.ROLLING_BACK:
                        back.fail(error)
                error.message += "; " + "; ".join(map(_what_there_is, backs))
                raise
            self._reserve.prepare(moments)
            return tuple(back.arrived() for back in backs)

    async def _prepare(self, moments: Moments) -> tuple[Born, Tier] | None:
        """None if the disk has no room for two of each."""
        for member in self.members:
            member.reserve.drop()
            member.waits_for_spare = True
        try:
            return await self._reserve.take(moments)
        except TfError as error:
            if isinstance(error, Exhausted):
                log.warning("%s; the present files of all go first", error)
                return None
            error.message += "; all of them go on as they were"
            raise
        finally:
            for member in self.members:
                member.waits_for_spare = False

    async def _go(self, backs: Sequence[WayBack], moments: Moments, prepared: tuple[Born, Tier] | None) -> None:
        if prepared is not None:
            _assign(backs, *prepared)
            if prepared[0][0].ahead:
                if await self._swapped_in(backs, prepared[0]):
                    return
                _assign(backs, await self._births.make(moments), "cold")
        await self._end_former(backs)
        former: list[Generation | None] = [back.container.generation for back in backs]
        if prepared is None:
            former = [None for _ in backs]
            await _make_instead(backs)
        heirs = zip(backs, former, strict=True)
        await take_over([(back.container.succession, back.born, old) for back, old in heirs])
        await self._wake(backs)

    async def _swapped_in(self, backs: Sequence[WayBack], born: Born) -> bool:
        successions = [back.container.succession for back in backs]
        swapped = await swap(list(zip(successions, born, strict=True)))
        for back in backs:
            if swapped:
                back.swapped_in()
            back.container.ahead.let_go(back.born)
        return swapped

    async def _end_former(self, backs: Sequence[WayBack]) -> None:
        """All have ended before the first one has its new state: an old one would write into it."""
        living = [(back.container, back.container.generation) for back in backs]
        ending = (one.succession.end_processes(generation) for one, generation in living if generation is not None)
        for outcome in await asyncio.gather(*ending, return_exceptions=True):
            if outcome is not None:
                for back in backs:
                    if back.new is not None:
                        back.container.labour.begin(back.container.succession.bury(back.new))
                raise outcome

    async def _wake(self, backs: Sequence[WayBack]) -> None:
        """One after the other, in the members' order; when one does not become ready, those after it are not started."""
        for number, back in enumerate(backs):
            try:
                await self._unless_unwanted(back.wake())
            except TfError as error:
                back.fail(error)
                for later in backs[number + 1 :]:
                    later.fail(WrongState(f"not started, since {back.container.id} did not become ready"))
                raise

    async def _unless_unwanted(self, waking: Awaitable[object]) -> None:
        """Whoever removes one member must not wait for the others' probes."""
        work = asyncio.ensure_future(waking)
        waiting: set[asyncio.Future[Any]] = {work, *(member.standing.unwanted for member in self.members)}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            raise WrongState(f"{', '.join(m.id for m in self.members if m.standing.unwanted.done())} is being removed")
        await work

    @asynccontextmanager
    async def _together(self) -> AsyncIterator[None]:
        """Nothing else happens to any member during this block."""
        async with AsyncExitStack() as held:
            for member in sorted(self.members, key=lambda member: member.id):
                await held.enter_async_context(member.lock)
            gone = [member.id for member in self.members if member.state is State.GONE]
            if gone:
                raise NotFound(f"there is no container {', '.join(gone)} on this node")
            yield


def _assign(backs: Sequence[WayBack], born: Born, tier: Tier) -> None:
    for back, generation in zip(backs, born, strict=True):
        back.new, back.tier = generation, tier


async def _make_instead(backs: Sequence[WayBack]) -> None:
    """There is only room for the new ones when all former ones are gone."""
    try:
        for back in backs:
            back.new = await back.container.succession.make_instead(back.moment)
    except TfError:
        for back in backs:
            if back.new is not None:
                back.container.labour.begin(back.container.succession.bury(back.new))
        raise


async def _of(rolling: asyncio.Task[tuple[RolledBack, ...]], number: int) -> RolledBack:
    return (await asyncio.shield(rolling))[number]


def _what_there_is(back: WayBack) -> str:
    container = back.container
    if container.state is State.READY and container.generation is back.new:
        return f"container {container.id} is back at {back.moment.name!r} and runs"
    return f"container {container.id} {back.what_is_left()}"


def _check_volumes(members: Sequence[Container]) -> None:
    users: dict[str, str] = {}
    for member in members:
        for volume in sorted({mount.volume for mount in member.wish.mounts}):
            other = users.setdefault(volume, member.id)
            if other != member.id:
                raise BadRequest(
                    f"containers {other} and {member.id} share volume {volume}, and cannot be put back at once",
                    hint="roll them back one after the other",
                )
