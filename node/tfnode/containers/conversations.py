"""The processes of one container that somebody talks with, by the ids their spawners chose."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tfcore.errors import NotFound, TfError, WrongState
from tfnode.containers.processes import Running

GONE = WrongState("the process was given up before it ran")


@dataclass
class Conversation:
    """One of them: `started` is settled when it runs, or cannot."""

    started: asyncio.Future[None]
    running: Running | None = None

    def runs(self, running: Running) -> None:
        """It has been started."""
        self.running = running
        if not self.started.done():
            self.started.set_result(None)

    def fails(self, error: TfError) -> None:
        """It cannot be, if it does not run already."""
        if not self.started.done():
            self.started.set_exception(error)
            self.started.exception()  # nobody need have asked


class Conversations:
    """Who is there."""

    def __init__(self) -> None:
        self._present: dict[str, Conversation] = {}

    @contextmanager
    def entered(self, process: str) -> Iterator[Conversation]:
        """It is known during this block.

        Raises:
            WrongState: there is one of this id.
        """
        if process in self._present:
            raise WrongState(f"there is a process {process} already")
        conversation = Conversation(asyncio.get_running_loop().create_future())
        self._present[process] = conversation
        try:
            yield conversation
        except TfError as error:
            conversation.fails(error)
            raise
        finally:
            conversation.fails(GONE)
            del self._present[process]

    async def started(self, process: str) -> Running:
        """The process, once it runs.

        Raises:
            NotFound: there is none of this id, or it has ended. TfError: why it could not be started.
        """
        conversation = self._present.get(process)
        if conversation is None:
            raise NotFound(f"there is no process {process} in the container (any more)")
        await asyncio.shield(conversation.started)
        assert conversation.running is not None
        return conversation.running
