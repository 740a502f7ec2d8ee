"""One container on its way back to a moment: the steps, each with what is there if it fails (DESIGN D9.3).

Whoever takes them holds the container's lock: the container itself, or those who take several back as one.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Literal

from tfcore.errors import Exhausted, TfError
from tfcore.wire.containers import RolledBack
from tfcore.wire.differences import Left, LookFor
from tfnode.containers.life import Generation, Moment
from tfnode.containers.spares import Tier
from tfnode.containers.standing import State
from tfnode.containers.succession import swap

if TYPE_CHECKING:
    from tfnode.containers.container import Container

log = logging.getLogger(__name__)


class WayBack:
    """One rollback of one container.

    Attributes:
        moment: where it goes back to.
        new: the generation it is going to be, once that has been made.
        tier: how that was had.
        clean: nothing had happened to it.
    """

    def __init__(self, container: Container, moment: Moment) -> None:
        self.container = container
        self.moment = moment
        self.new: Generation | None = None
        self.tier: Tier = "cold"
        self.clean = False
        self._left = Left()
        self._begun = time.monotonic()
        self._mark = container.output.next

    @property
    def born(self) -> Generation:
        """The generation it is going to be, which has been made."""
        assert self.new is not None
        return self.new

    async def is_clean(self) -> bool:
        """True if nothing has happened since it stood at that moment."""
        self.clean = await self._is_clean()
        return self.clean

    async def _is_clean(self) -> bool:
        container = self.container
        if container.state is not State.READY or container.generation is None:
            return False
        if change := await container.traces.since(container.generation, self.moment):
            log.info("container %s goes back to %r: %s", container.id, self.moment.name, change)
            return False
        return True

    def stay(self) -> RolledBack:
        """It stays as it is, since it is clean; what to answer."""
        self.new = self.container.generation
        return self.arrived(tier="clean")

    async def look(self, look_for: LookFor) -> None:
        """See what is left in it, before it goes."""
        self._left = await self.container.inspection.left(self.container.generation, self.moment, look_for)

    async def go(self, look_for: LookFor) -> RolledBack:
        """To the moment, by a spare or without; what to answer.

        Raises:
            TfError: it could not; the message says what there is now.
        """
        container = self.container
        await self.look(look_for)
        prepared = await self._prepare()
        self.set_out()
        try:
            self.new, self.tier = prepared or (await container.succession.make_instead(self.moment), "cold")
            if self.new.ahead and not await self._swapped_in():
                self.new, self.tier = await container.succession.make(self.moment), "cold"
            if not self.new.ahead:
                await container.succession.replace(self.new)
                await self.wake()
        except TfError as error:
            self.fail(error)
            error.message += f"; container {container.id} {self.what_is_left()}"
            raise
        return self.arrived()

    async def _prepare(self) -> tuple[Generation, Tier] | None:
        """None if the disk has no room for two: what fills it may well be what the present generation has written."""
        container = self.container
        container.waits_for_spare = True
        try:
            return await container.reserve.take(self.moment)
        except TfError as error:
            if isinstance(error, Exhausted) and container.generation is not None:
                log.warning("container %s: %s; its present files go first", container.id, error)
                return None
            error.message += f"; container {container.id} goes on as it was ({container.state})"
            raise
        finally:
            container.waits_for_spare = False

    async def _swapped_in(self) -> bool:
        """A generation that was booted ahead is ready, and so is the container then. False if it cannot take over."""
        swapped = await swap([(self.container.succession, self.born)])
        if swapped:
            self.swapped_in()
        self.container.ahead.let_go(self.born)
        return swapped

    # the steps, for whoever takes several back

    def set_out(self) -> None:
        """What comes out of it from now on belongs to the time after the rollback."""
        self._mark = self.container.output.next
        self.container.standing.enter(State.ROLLING_BACK)

    def swapped_in(self) -> None:
        """The new generation was booted ahead and is the container now."""
        self.container.output.bring_in(self.born.number)
        self.container.traces.swapped_in(self.born, self.moment)
        self.container.standing.enter(State.READY)

    async def wake(self) -> None:
        """Start the new generation, which is the container now, and wait until it is ready. Errors as `Wakening`."""
        await self.container.wake(self.moment, self._begun)

    def fail(self, error: TfError) -> None:
        """It did not arrive, and nothing runs."""
        self.container.standing.fail(error)

    def what_is_left(self) -> str:
        """What there is, if nothing runs."""
        there = self.container.generation
        if there is None:
            return f"is gone for lack of room, but its snapshot {self.moment.name!r} is not"
        whose = f"the files of snapshot {self.moment.name!r}" if there is self.new else "the files it had before"
        return f"has {whose} but does not run"

    def arrived(self, tier: Literal["clean"] | Tier | None = None) -> RolledBack:
        """It is there; what to answer. `tier` only if it went nowhere."""
        self.container.newest = self.moment.name
        seconds = time.monotonic() - self._begun
        return RolledBack(
            generation=self.born.number,
            seconds=seconds,
            tier=tier or self.tier,
            log_mark=self._mark,
            left=self._left,
            went_along=self.clean and tier is None,
        )
