"""Carries out what the lease machine decides, feeds it the results and the signs of life, and keeps the time.

Knows no sessions' insides: it is handed what frees a session and what loses a node.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from tfcore.clock import Clock
from tflocation.background import Background
from tflocation.leases import events as e
from tflocation.leases.machine import LeaseMachine, Terms

log = logging.getLogger(__name__)

TICK = 0.5
"""Seconds between two looks at the clock."""

Free = Callable[[str, str], Awaitable[bool]]
"""(session, reason): free everything of it; True if nothing is left."""

Lose = Callable[[str, str], None]
"""(node, reason)"""

Seen = Callable[[], Iterable[e.SessionSeen | e.NodeSeen]]
"""When everybody connected was last heard of."""


class LeaseRunner:
    """The leases of a running location."""

    def __init__(
        self, terms: Terms, *, clock: Clock, background: Background, free: Free, lose: Lose, seen: Seen
    ) -> None:
        self.machine = LeaseMachine(terms)
        self._clock = clock
        self._background = background
        self._free = free
        self._lose = lose
        self._seen = seen
        self._freeing: dict[str, asyncio.Task[None]] = {}

    def now(self) -> float:
        """The time leases are measured in."""
        return self._clock()

    def handle(self, event: e.Event) -> None:
        """Something happened."""
        for instruction in self.machine.handle(event):
            self._carry_out(instruction)

    def _carry_out(self, instruction: e.Instruction) -> None:
        match instruction:
            case e.FreeSession(session, reason):
                log.info("freeing session %s: %s", session, reason)
                work = self._free_and_tell(session, reason)
                self._freeing[session] = self._background.start(work, name=f"freeing {session}")
            case e.LoseNode(node, reason):
                log.warning("node %s is lost: %s", node, reason)
                self._lose(node, reason)

    async def _free_and_tell(self, session: str, reason: str) -> None:
        clear = False
        try:
            clear = await self._free(session, reason)
        finally:
            self._freeing.pop(session, None)
            self.handle(e.SessionFreed(session, self._clock(), rest=not clear))

    async def end(self, session: str, reason: str) -> None:
        """End a session, and wait as `freed`."""
        self.handle(e.SessionEnded(session, reason))
        await self.freed(session)

    async def freed(self, session: str) -> None:
        """Wait while a session is being freed; at once if it is not."""
        freeing = self._freeing.get(session)
        if freeing is not None:
            await asyncio.wait([freeing])

    def tick(self) -> None:
        """Look at the clock."""
        for sign in self._seen():
            self.handle(sign)
        self.handle(e.TimePassed(self._clock()))
