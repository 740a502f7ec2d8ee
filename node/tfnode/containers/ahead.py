"""Generations booted before anybody asks: each in a sandbox of its own, probed from inside, then held still (DESIGN D10 a).

Whether that is safe is decided here: what boots ahead must neither write to what others see nor speak to those who roll
back themselves, since it does so in the middle of a test. Knows nothing of when its generations are wanted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tfcore.errors import ContainerDied, DeadlineExceeded, Exhausted, TfError
from tfnode.containers.labour import Labour
from tfnode.containers.life import Birth, Generation, Generations, Moment
from tfnode.containers.output import Output
from tfnode.containers.patient import Execute, Patient
from tfnode.containers.room import Room
from tfnode.containers.sandboxes import Sandboxes
from tfnode.containers.standing import Standing
from tfnode.containers.wakening import Wakening

log = logging.getLogger(__name__)

BOOT_LIMIT = 120.0
"""Seconds a service may take to boot ahead; one that takes longer is booted when it is asked for."""


class Ahead:
    """Boots ahead for one container.

    Args:
        execute: runs a command in a generation.
        reasons: tells why it would not be safe now, in view of who else is there; "" if it is.
        memory: bytes that the present generation uses, for a guess at what another one will.
        held: told of a generation that is ready and stands still.
        sandboxes: gives each a sandbox that nobody reaches yet.
        bury: ends and removes a generation.

    Attributes:
        seen: what the probes of the last boot have seen last.
    """

    def __init__(
        self,
        birth: Birth,
        generations: Generations,
        labour: Labour,
        output: Output,
        room: Room,
        execute: Execute,
        reasons: Callable[[], str],
        memory: Callable[[], int],
        held: Callable[[Generation], Awaitable[None]],
        sandboxes: Sandboxes,
        bury: Callable[[Generation], Awaitable[None]],
    ) -> None:
        self._birth = birth
        self._generations = generations
        self._labour = labour
        self._output = output
        self._room = room
        self._execute = execute
        self._reasons = reasons
        self._memory = memory
        self._held = held
        self._sandboxes = sandboxes
        self._bury = bury
        self.seen = ""
        self._standings: dict[int, Standing] = {}
        self._hurry = asyncio.Event()
        self._gave_up: set[str] = set()

    def refusal(self, moment: Moment) -> str:
        """Why nothing is booted ahead from this moment; "" if it is."""
        if moment.asleep:
            return "its main process is asleep in the snapshot"
        if moment.name in self._gave_up:
            return "that has failed before"
        foreign = {mount.volume for mount in self._birth.boot.wish.mounts} - moment.volumes.keys()
        if foreign:
            return f"it would write to what others see: {', '.join(sorted(foreign))}"
        return self._reasons()

    async def boot(self, number: int, moment: Moment) -> Generation:
        """A generation that is ready and stands still.

        Raises:
            TfError: it did not become ready; nothing is left of it, and it is not tried again from this moment.
        """
        standing = self._standings[number] = Standing()
        try:
            async with self._room.turn(await self._labour.step(self._memory), self._hurry):
                return await self._boot(number, moment, standing)
        except TfError as error:
            del self._standings[number]
            self._output.detach(number)
            if not isinstance(error, Exhausted) and not standing.unwanted.done():  # there may be room the next time
                self._gave_up.add(moment.name)
            raise

    async def _boot(self, number: int, moment: Moment, standing: Standing) -> Generation:
        self._output.put_aside(number)
        sandbox = await self._labour.step(self._sandboxes.take)
        try:
            generation = await self._labour.step(self._generations.make, self._birth, number, moment, sandbox)
        except TfError:
            await self._labour.step(self._sandboxes.give_back, sandbox)
            raise
        generation.ahead = True
        try:
            await self._labour.step(self._generations.start, generation)
            async with asyncio.timeout(BOOT_LIMIT):
                await self._wakening(generation, standing).until_ready()
            await self._labour.step(self._generations.hold, generation)
            await self._held(generation)
        except (TfError, TimeoutError) as error:
            await self._give_up(generation)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(f"not ready {BOOT_LIMIT:g} s after it was booted ahead") from error
            raise
        return generation

    def _wakening(self, generation: Generation, standing: Standing) -> Wakening:
        patient = Patient(self._birth.boot.address, self._output, self._execute, lambda: generation, self._saw)

        def death() -> ContainerDied:
            return standing.death(f"a generation of {self._birth.id}", self._output.tail(generation.number))

        return Wakening(self._birth, standing, patient, death)

    def _saw(self, what: str) -> None:
        self.seen = what

    async def _give_up(self, generation: Generation) -> None:
        self._standings[generation.number].expect_end()
        await self._bury(generation)

    def hurry(self) -> None:
        """Somebody waits: what is being booted need not wait for a processor any more."""
        self._hurry.set()
        self._hurry = asyncio.Event()

    def abandon(self) -> None:
        """Nobody wants what is being booted."""
        for standing in self._standings.values():
            standing.nobody_wants_it()
        self.hurry()

    def sound(self, generation: Generation) -> bool:
        """True if a generation that was booted still lives."""
        standing = self._standings.get(generation.number)
        return standing is not None and not standing.ended.done()

    def let_go(self, generation: Generation) -> None:
        """A generation has been swapped in, or is of no use: its end is no business of ours any more."""
        self._standings.pop(generation.number, None)

    def main_process_ended(self, number: int, exit_code: int | None, how: str) -> None:
        """The first process of a generation has ended; those of others are no news."""
        standing = self._standings.get(number)
        if standing is not None:
            standing.main_process_ended(exit_code, how)
