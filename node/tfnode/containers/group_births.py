"""Where the spares of a group come from: all members' generations, booted among themselves or made to be started (see
`spares.Source`).

The members boot in their order, each when those before it are ready, and reach each other under their usual addresses.
When the last one is ready, all are held still.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Literal

from tfcore.errors import ContainerDied, Exhausted, TfError
from tfnode.containers.container import Container
from tfnode.containers.labour import Labour
from tfnode.containers.life import Generation, Moment
from tfnode.containers.room import LEAST
from tfnode.containers.sandbox import Sandbox
from tfnode.containers.surroundings import Surroundings

Moments = tuple[Moment, ...]
"""One of each member, in the members' order."""

Born = tuple[Generation, ...]
"""One of each member, in the members' order."""

CALM = 0.25
"""Seconds after which the kernel has acknowledged what the members have sent each other last (tcp(7), delayed
acknowledgements). What comes later would count as a trace of somebody else."""


class GroupBirths:
    """The generations to come of some containers that roll back as one."""

    def __init__(self, members: Sequence[Container], labour: Labour, around: Surroundings) -> None:
        self._members = members
        self._fellows = frozenset(member.id for member in members)
        self._labour = labour
        self._around = around
        self._hurry = asyncio.Event()
        self._gave_up: list[Moments] = []
        self._under_way: set[tuple[int, ...]] = set()

    def name(self, moment: Moments) -> str:
        """See `spares.Source`."""
        return " with ".join(one.root for one in moment)

    def refusal(self, moment: Moments) -> str:
        """See `spares.Source`."""
        if moment in self._gave_up:
            return "that has failed before"
        reasons = (m.ahead.refusal_among(one, self._fellows) for m, one in zip(self._members, moment, strict=True))
        named = (f"{member.id}: {why}" for member, why in zip(self._members, reasons, strict=True) if why)
        return next(named, "")

    async def boot(self, moment: Moments) -> Born:
        """See `spares.Source`."""
        numbers = tuple(member.succession.number() for member in self._members)
        standings = [member.ahead.expect(n) for member, n in zip(self._members, numbers, strict=True)]
        self._under_way.add(numbers)
        hurry = self._hurry
        try:
            memory = sum([max(LEAST, await member.ahead.memory()) for member in self._members])
            async with self._around.room.turn(memory, hurry):
                return await self._boot(numbers, moment, hurry)
        except TfError as error:
            for member, number in zip(self._members, numbers, strict=True):
                member.ahead.forget(number)
            if not isinstance(error, Exhausted) and not any(standing.unwanted.done() for standing in standings):
                self._gave_up.append(moment)
            raise
        finally:
            self._under_way.discard(numbers)

    async def _boot(self, numbers: tuple[int, ...], moment: Moments, hurry: asyncio.Event) -> Born:
        sandboxes = await self._united_sandboxes()
        born: list[Generation] = []
        try:
            for member, number, one, sandbox in zip(self._members, numbers, moment, sandboxes, strict=True):
                born.append(await member.ahead.wake(number, one, sandbox))
            await self._stand_still(born, hurry)
        except TfError:
            await self._give_back(sandboxes, but=len(born) + 1)  # the last of these has gone with its generation
            await self._give_up(born)
            raise
        return tuple(born)

    async def _united_sandboxes(self) -> list[Sandbox]:
        sandboxes: list[Sandbox] = []
        try:
            for member in self._members:
                sandboxes.append(await member.ahead.take_sandbox())
            await self._labour.step(self._around.unite, sandboxes)
        except TfError:
            await self._give_back(sandboxes)
            raise
        return sandboxes

    async def _give_back(self, sandboxes: Sequence[Sandbox], but: int = 0) -> None:
        """All but the first ones."""
        for member, sandbox in list(zip(self._members, sandboxes, strict=False))[but:]:
            await member.ahead.give_back(sandbox)

    async def _stand_still(self, born: Sequence[Generation], hurry: asyncio.Event) -> None:
        """The last ones first: nobody waits for an answer of one that stands still already."""
        mine = list(zip(self._members, born, strict=True))
        for member, generation in reversed(mine):
            await member.ahead.hold(generation)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), CALM)
        for member, generation in mine:
            await member.ahead.foresee(generation)
            if not member.ahead.sound(generation):
                raise ContainerDied(f"a generation of {member.id} has ended while the others were booted")

    async def make(self, moment: Moments) -> Born:
        """See `spares.Source`."""
        making = (member.succession.make(one) for member, one in zip(self._members, moment, strict=True))
        outcomes = await asyncio.gather(*making, return_exceptions=True)
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if errors:
            for member, outcome in zip(self._members, outcomes, strict=True):
                if isinstance(outcome, Generation):
                    await member.succession.bury(outcome)
            raise errors[0]
        return tuple(outcome for outcome in outcomes if isinstance(outcome, Generation))

    def tier(self, born: Born, moment: Moments) -> Literal["spare", "created", ""]:
        """See `spares.Source`."""
        mine = list(zip(self._members, born, strict=True))
        if not born[0].ahead:
            return "created" if all(member.succession.reaches(one) for member, one in mine) else ""
        sound = all(member.ahead.sound(one) for member, one in mine)
        return "spare" if sound and not self.refusal(moment) else ""

    async def discard(self, born: Born) -> None:
        """See `spares.Source`."""
        await self._give_up(born)

    async def _give_up(self, born: Sequence[Generation]) -> None:
        """Each gets its turn; the first error is raised."""
        giving = (member.ahead.give_up(one) for member, one in zip(self._members, born, strict=False))
        for outcome in await asyncio.gather(*giving, return_exceptions=True):
            if outcome is not None:
                raise outcome

    def hurry(self) -> None:
        """See `spares.Source`."""
        self._hurry.set()
        self._hurry = asyncio.Event()

    def abandon(self) -> None:
        """See `spares.Source`."""
        for numbers in self._under_way:
            for member, number in zip(self._members, numbers, strict=True):
                member.ahead.give_up_waiting(number)
        self.hurry()
