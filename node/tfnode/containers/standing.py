"""How a container stands: what it is doing, whether its main process lives, why it does not. Does nothing itself."""

from __future__ import annotations

import asyncio
from enum import StrEnum

from tfcore.errors import ContainerDied, TfError


class State(StrEnum):
    """What a container is doing."""

    BOOTING = "booting"
    ASLEEP = "asleep"
    STARTED = "started"
    READY = "ready"
    ROLLING_BACK = "rolling back"
    ENDED = "ended"
    FAILED = "failed"
    GONE = "gone"


MOVING = {State.BOOTING, State.ROLLING_BACK}
"""States that lead to another one by themselves."""

DOWN = {State.ENDED, State.FAILED}
"""States in which nothing runs, but which a rollback, a reboot or a rebuild leads out of."""


class Standing:
    """The state of one container and of the main process of its present generation.

    Attributes:
        watchers: set whenever it changes.
    """

    def __init__(self) -> None:
        self.state = State.BOOTING
        self.failure: TfError | None = None
        self.exit_code: int | None = None
        self.unwanted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.watchers: set[asyncio.Event] = set()
        self._still = asyncio.Event()
        self.new_life()

    def new_life(self) -> None:
        """Another generation is the container now; its main process has not ended."""
        self.exit_code = None
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def enter(self, state: State) -> None:
        """Change state; whoever waits for it to stand or fall goes on."""
        self.state = state
        if state in MOVING:
            self._still.clear()
        else:
            self._still.set()
        for watcher in self.watchers:
            watcher.set()

    async def until_still(self) -> None:
        """Wait until it stands or has fallen."""
        await self._still.wait()

    def fail(self, error: TfError) -> None:
        """A transition failed and nothing runs now."""
        if self.state is not State.ENDED:
            self.failure = error
            self.enter(State.FAILED)

    def expect_end(self) -> None:
        """The main process is about to be ended on purpose: its end is no news."""
        if not self.ended.done():
            self.ended.set_result("it was ended")

    def main_process_ended(self, exit_code: int | None, how: str) -> bool:
        """The main process has ended; False if that was expected or is known already."""
        if self.ended.done():
            return False
        self.exit_code = exit_code
        self.ended.set_result(how)
        self.enter(State.ENDED)
        return True

    def nobody_wants_it(self) -> None:
        """It is going to be removed: nobody need wait for its service any more."""
        if not self.unwanted.done():
            self.unwanted.set_result(None)

    def death(self, name: str, tail: str) -> ContainerDied:
        """Why nothing runs.

        Args:
            name: what to call the container.
            tail: its last words.
        """
        if self.state is State.FAILED and self.failure is not None:
            known = self.failure
            return known if isinstance(known, ContainerDied) else ContainerDied(f"{name} failed: {known}")
        how = self.ended.result() if self.ended.done() else f"it is {self.state}"
        words = f"; its last output:\n{tail}" if tail else "; it has written nothing"
        return ContainerDied(f"{name} ended: {how}{words}")
