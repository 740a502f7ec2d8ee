"""The sandboxes of one container that nobody reaches, kept for generations that boot ahead.

To make one takes a process, two namespaces and a link, and to be rid of one keeps the kernel busy for longer: with a
rollback after every test, two of them used in turn spare most of that. Nothing in a sandbox can be changed by who is in
it but its connections, and those are reset.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tfcore.errors import TfError
from tfnode.containers.sandbox import OWNER, Sandbox

log = logging.getLogger(__name__)


class Sandboxes:
    """Those of one container. Safe to use from any thread.

    Args:
        make: makes one beside the container's present one.
    """

    def __init__(self, make: Callable[[], Sandbox]) -> None:
        self._make = make
        self._idle: list[Sandbox] = []
        self._closed = False
        self._lock = threading.Lock()

    def take(self) -> Sandbox:
        """One that nobody is in and nobody reaches.

        Raises:
            TfError: none can be made.
        """
        with self._lock:
            sandbox = self._idle.pop() if self._idle else None
        if sandbox is None:
            return self._make()
        try:
            sandbox.step_back()
        except TfError as error:
            log.warning("a sandbox cannot be used again: %s", error)
            sandbox.leave(OWNER)
            return self._make()
        return sandbox

    def give_back(self, sandbox: Sandbox) -> None:
        """It is not the container's, and a generation has left it."""
        with self._lock:
            if sandbox in self._idle or not sandbox.is_free:
                return
            if sandbox.can_step_back and not self._closed:
                self._idle.append(sandbox)
                return
        sandbox.leave(OWNER)

    def close(self) -> None:
        """The container ends: those that are idle go, and those that are given back later."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for sandbox in idle:
            sandbox.leave(OWNER)
