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
from tfnode.containers.sandbox import Sandbox
from tfnode.containers.sandboxes import Sandboxes
from tfnode.containers.standing import Standing
from tfnode.containers.wakening import Wakening

log = logging.getLogger(__name__)

Fellows = frozenset[str]
"""The containers that roll back as one with a container."""

ALONE: Fellows = frozenset()

BOOT_LIMIT = 120.0
"""Seconds a service may take to boot ahead; one that takes longer is booted when it is asked for."""


class Ahead:
    """Boots ahead for one container.

    Args:
        execute: runs a command in a generation.
        reasons: tells why it would not be safe now, in view of who else is there, beside those it rolls back with; "" if
            it is.
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
        reasons: Callable[[Fellows], str],
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
        return "that has failed before" if moment.name in self._gave_up else self.refusal_among(moment, ALONE)

    def refusal_among(self, moment: Moment, fellows: Fellows) -> str:
        """As `refusal`, together with others that roll back as one with it: their ids, and its own may be among them."""
        if moment.asleep:
            return "its main process is asleep in the snapshot"
        foreign = {mount.volume for mount in self._birth.boot.wish.mounts} - moment.volumes.keys()
        if foreign:
            return f"it would write to what others see: {', '.join(sorted(foreign))}"
        return self._reasons(fellows)

    async def boot(self, number: int, moment: Moment) -> Generation:
        """A generation that is ready and stands still.

        Raises:
            TfError: it did not become ready; nothing is left of it, and it is not tried again from this moment.
        """
        standing = self.expect(number)
        try:
            async with self._room.turn(await self.memory(), self._hurry):
                generation = await self.wake(number, moment, await self.take_sandbox())
                await self._stand_still(generation)
                return generation
        except TfError as error:
            self.forget(number)
            if not isinstance(error, Exhausted) and not standing.unwanted.done():  # there may be room the next time
                self._gave_up.add(moment.name)
            raise

    async def _stand_still(self, generation: Generation) -> None:
        try:
            await self.hold(generation)
            await self.foresee(generation)
        except TfError:
            await self.give_up(generation)
            raise

    # the steps of a boot, for whoever boots several containers as one

    def expect(self, number: int) -> Standing:
        """A generation of this number is about to be booted; how it stands."""
        standing = self._standings[number] = Standing()
        return standing

    def forget(self, number: int) -> None:
        """It came to nothing."""
        self._standings.pop(number, None)
        self._output.detach(number)

    async def memory(self) -> int:
        """Bytes that the present generation uses."""
        return await self._labour.step(self._memory)

    async def take_sandbox(self) -> Sandbox:
        """One that nobody is in; it goes back with the generation that joins it, or by `give_back`. Errors as
        `Sandboxes.take`.
        """
        return await self._labour.step(self._sandboxes.take)

    async def give_back(self, sandbox: Sandbox) -> None:
        """No generation has joined it after all."""
        await self._labour.step(self._sandboxes.give_back, sandbox)

    async def wake(self, number: int, moment: Moment, sandbox: Sandbox) -> Generation:
        """A generation that was expected, in this sandbox, ready.

        Raises:
            TfError: it did not become ready; nothing is left of it, and the sandbox was given back.
        """
        self._output.put_aside(number)
        try:
            generation = await self._labour.step(self._generations.make, self._birth, number, moment, sandbox)
        except TfError:
            await self.give_back(sandbox)
            raise
        generation.ahead = True
        try:
            await self._labour.step(self._generations.start, generation)
            async with asyncio.timeout(BOOT_LIMIT):
                await self._wakening(generation, self._standings[number]).until_ready()
        except (TfError, TimeoutError) as error:
            await self.give_up(generation)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(f"not ready {BOOT_LIMIT:g} s after it was booted ahead") from error
            raise
        return generation

    async def hold(self, generation: Generation) -> None:
        """It stands still from now on. CommandFailed, HostLacks, DeadlineExceeded as the group says."""
        await self._labour.step(self._generations.hold, generation)

    async def foresee(self, generation: Generation) -> None:
        """It will look like this when it goes on."""
        await self._held(generation)

    async def give_up(self, generation: Generation) -> None:
        """It is not wanted after all; nothing is left of it. Errors as `Burials.bury`."""
        self.let_go(generation)
        await self._bury(generation)

    def _wakening(self, generation: Generation, standing: Standing) -> Wakening:
        patient = Patient(self._birth.boot.address, self._output, self._execute, lambda: generation, self._saw)

        def death() -> ContainerDied:
            return standing.death(f"a generation of {self._birth.id}", self._output.tail(generation.number))

        return Wakening(self._birth, standing, patient, death)

    def _saw(self, what: str) -> None:
        self.seen = what

    def hurry(self) -> None:
        """Somebody waits: what is being booted need not wait for a processor any more."""
        self._hurry.set()
        self._hurry = asyncio.Event()

    def abandon(self) -> None:
        """Nobody wants what is being booted."""
        self.give_up_waiting(*self._standings)
        self.hurry()

    def give_up_waiting(self, *numbers: int) -> None:
        """Nobody wants the generations of these numbers, if they are still being booted."""
        for number in numbers:
            if number in self._standings:
                self._standings[number].nobody_wants_it()

    def sound(self, generation: Generation) -> bool:
        """True if a generation that was booted still lives."""
        standing = self._standings.get(generation.number)
        return standing is not None and not standing.ended.done()

    def let_go(self, generation: Generation) -> None:
        """A generation has been swapped in, or is of no use: its end is no business of ours any more."""
        standing = self._standings.pop(generation.number, None)
        if standing is not None:
            standing.expect_end()

    def main_process_ended(self, number: int, exit_code: int | None, how: str) -> None:
        """The first process of a generation has ended; those of others are no news."""
        standing = self._standings.get(number)
        if standing is not None:
            standing.main_process_ended(exit_code, how)
