"""Connections that were accepted inside containers and wait until their client takes them.

Knows listeners by name only. Runs in the event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import socket

from tfcore.errors import NotFound
from tfnode.tunnels.pairs import reset

MOST = 128
"""That may wait at one listener; more are reset."""

PATIENCE = 30.0
"""Seconds one waits, then it is reset."""


Listener = tuple[str, str]
"""Whose it is, and its name there: nobody else can name it."""


class Callers:
    """Those that wait, by listener and number."""

    def __init__(self) -> None:
        self._waiting: dict[Listener, dict[int, tuple[socket.socket, asyncio.TimerHandle]]] = {}
        self._numbers = itertools.count(1)

    def open(self, listener: Listener) -> None:
        """From now on somebody may wait at it."""
        self._waiting[listener] = {}

    def add(self, listener: Listener, caller: socket.socket) -> int | None:
        """Let one wait; its number, or None if it was reset because too many do."""
        waiting = self._waiting[listener]
        if len(waiting) >= MOST:
            reset(caller)
            return None
        number = next(self._numbers)
        timer = asyncio.get_running_loop().call_later(PATIENCE, self._send_away, listener, number)
        waiting[number] = caller, timer
        return number

    def _send_away(self, listener: Listener, number: int) -> None:
        caller, _ = self._waiting[listener].pop(number)
        reset(caller)

    def take(self, listener: Listener, number: int) -> socket.socket:
        """The connection, the caller's from now on.

        Raises:
            NotFound: nobody of that number waits there (any more).
        """
        try:
            caller, timer = self._waiting[listener].pop(number)
        except KeyError as gone:
            raise NotFound(
                f"no connection {number} waits at {listener[1]}: it has been taken, or waited too long"
            ) from gone
        timer.cancel()
        return caller

    def close(self, listener: Listener) -> None:
        """Nobody waits there any more: those that do are reset."""
        for caller, timer in self._waiting.pop(listener, {}).values():
            timer.cancel()
            reset(caller)
