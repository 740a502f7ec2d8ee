"""From a started main process to a ready service: the probe, then the user's `after_boot`; and the user's other commands.

Knows the container only as a patient of its probes and by how it stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tfcore.errors import ContainerDied, DeadlineExceeded, WrongState
from tfcore.wire.containers import Probe
from tfnode.containers.life import Birth
from tfnode.containers.readiness import Patient, until_ready, wish_of
from tfnode.containers.standing import Standing

HOOK_TIMEOUT = 300.0
"""Seconds `before_snapshot` and `after_boot` may take."""


class Wakening:
    """How one container wakes, at each of its boots.

    Args:
        death: says why its main process does not live.
    """

    def __init__(self, birth: Birth, standing: Standing, patient: Patient, death: Callable[[], ContainerDied]) -> None:
        self._id = birth.id
        self._wish = birth.boot.wish
        self._probe = self._wish.ready if self._wish.ready.kind != "image" else wish_of(birth.image)
        self._standing = standing
        self._patient = patient
        self._death = death

    async def until_ready(self) -> None:
        """Wait for the probe, then run `after_boot`. Has no deadline of its own: whoever waits has.

        Raises:
            ContainerDied: the main process ended. WrongState: `after_boot` failed, or nobody wants the container any more.
            DeadlineExceeded: `after_boot` takes too long. BadRequest: the probe makes no sense.
        """
        await self._while_alive(self._probe_and_load(self._probe))

    async def _probe_and_load(self, probe: Probe) -> None:
        await until_ready(probe, self._patient)
        if self._wish.after_boot:
            await self._hook("after_boot", self._wish.after_boot)

    async def before_snapshot(self) -> None:
        """Run the user's `before_snapshot`, if there is one.

        Raises:
            ContainerDied: the main process ended. WrongState: it failed, or nobody wants the container any more.
            DeadlineExceeded: it takes too long.
        """
        if self._wish.before_snapshot:
            await self._while_alive(self._hook("before_snapshot", self._wish.before_snapshot))

    async def _while_alive(self, doing: Coroutine[Any, Any, None]) -> None:
        """Whoever removes the container must not wait for its probes and its user's commands."""
        work = asyncio.ensure_future(doing)
        try:
            waiting: set[asyncio.Future[Any]] = {work, self._standing.ended, self._standing.unwanted}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._standing.unwanted.done():
                raise WrongState(f"container {self._id} is being removed")
            if not work.done():
                raise self._death()
            await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _hook(self, name: str, command: str) -> None:
        """A command of the user's, at a moment of the container's life; its failure is the moment's failure."""
        self._patient.saw(f"{name} running: {command}")
        try:
            async with asyncio.timeout(HOOK_TIMEOUT):
                code, said = await self._patient.run_quietly(command)
        except TimeoutError as late:
            raise DeadlineExceeded(f"{name} of container {self._id} has not ended in {HOOK_TIMEOUT:g} s") from late
        if code != 0:
            raise WrongState(f"{name} of container {self._id} ended with status {code}: {said.strip()[-500:]}")
