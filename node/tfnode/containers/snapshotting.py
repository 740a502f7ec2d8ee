"""Snapshots of containers at one instant: of one, or of several that go back as one (DESIGN D9.4).

What is frozen and what is stopped for it, and what there is if that fails. Whoever calls holds the containers' locks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfcore.errors import TfError, WrongState
from tfnode.containers.life import Generation, Moment, moment_of
from tfnode.containers.standing import State
from tfnode.containers.traces import Sight

if TYPE_CHECKING:
    from tfnode.containers.container import Container

STOP_TIMEOUT = 10.0
"""Seconds a service has to end when asked to, as `docker stop` gives it."""


class Snapshotting:
    """One snapshot of one container."""

    def __init__(self, container: Container, name: str) -> None:
        """WrongState if the container does not run, or has a snapshot of that name."""
        self.container = container
        self.generation: Generation = container.living()
        if name in container.moments:
            raise WrongState(f"container {container.id} has a snapshot {name!r} already")
        self.moment: Moment = moment_of(container.birth, name, asleep=container.state is State.ASLEEP)
        self.stops = container.wish.clean_stop and container.state is State.READY
        self._seen: Sight | None = None

    async def prepare(self) -> None:
        """Have the service write down what it keeps in memory, if it was said how. Errors as `Wakening.before_snapshot`."""
        await self.container.wakening.before_snapshot()
        await self.container.forget_spares()

    async def stop(self) -> None:
        """Nothing of it runs any more."""
        container = self.container
        container.standing.enter(State.BOOTING)
        container.succession.bid_farewell()
        await container.labour.step(container.sandbox.reset_connections)
        await container.labour.step(container.around.generations.stop, self.generation, STOP_TIMEOUT)

    async def look(self) -> None:
        """How it looks just before."""
        self._seen = await self.container.traces.look(self.generation, patient=True)

    def kept(self) -> None:
        """The snapshot is there, and the container goes on from it."""
        self.container.moments[self.moment.name] = self.moment
        self.container.traces.kept(self._seen, self.moment)

    async def seal(self) -> None:
        """What was stopped becomes the snapshot as it is."""
        container = self.container
        await container.labour.step(container.around.generations.seal, container.birth, self.generation, self.moment)
        container.moments[self.moment.name] = self.moment

    async def boot_again(self) -> None:
        """Boot what was stopped from its snapshot. Its volumes go on as they are: they have just been kept, and others may
        be writing to them."""
        container, moment = self.container, self.moment
        await container.succession.take_over(await container.succession.make(Moment(moment.name, moment.root)))
        await container.begin(time.monotonic())
        if not moment.volumes:
            await container.traces.ready(container.living(), moment)


async def snapshot(several: Sequence[Snapshotting]) -> None:
    """Take all these snapshots, or none. Those who stop for it have stopped, and the others are frozen, at that instant;
    those who stop boot again, in this order.

    Raises:
        TfError: what went wrong; those that had been stopped do not run then.
    """
    for one in several:
        await one.prepare()
    stopped = [one for one in several if one.stops]
    living = [one for one in several if not one.stops]
    try:
        for one in reversed(stopped):
            await one.stop()
        await _keep_living(living)
        try:
            for one in stopped:
                await one.seal()
        except TfError:
            await _take_back(living)
            raise
        for one in living:
            one.kept()
        for one in stopped:
            await one.boot_again()
    except TfError as error:
        for one in stopped:
            if one.container.state is State.BOOTING:
                one.container.standing.fail(error)
        raise


async def _keep_living(living: Sequence[Snapshotting]) -> None:
    if living:
        for one in living:
            await one.look()
        some = living[0].container
        pairs = [(one.generation, one.moment) for one in living]
        await some.labour.step(some.around.generations.keep, *pairs)


async def _take_back(living: Sequence[Snapshotting]) -> None:
    for one in living:
        await one.container.labour.step(one.container.around.generations.forget, one.moment)
