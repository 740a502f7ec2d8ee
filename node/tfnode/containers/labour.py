"""One container's work: synchronous steps in worker threads, transitions as tasks of their own.

A transition must not be left half done because whoever asked for it has gone, so it is a task and askers wait for it
behind a shield.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

from tfcore.errors import CommandFailed, Exhausted
from tfcore.failpoints import failpoint
from tfnode.storage.failures import FULL

log = logging.getLogger(__name__)
T = TypeVar("T")


class Labour:
    """The threads and tasks of one container, called `name` in messages."""

    def __init__(self, name: str, executor: Executor) -> None:
        self._name = name
        self._executor = executor
        self._tasks: set[asyncio.Task[Any]] = set()

    async def step(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run something synchronous in a worker thread.

        Raises:
            Exhausted: the disk is full. CommandFailed: anything else the machine refuses.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, _take, function, *arguments)
        except OSError as error:
            what = getattr(function, "__name__", "a step")
            kind = Exhausted if error.errno in FULL else CommandFailed
            raise kind(f"{self._name}: {what}: {error}") from error

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a transition, or something in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Start a transition and wait for it; it goes on if the one who waits is cancelled."""
        return await asyncio.shield(self.begin(work))

    async def settle(self, *, but: asyncio.Task[Any] | None = None) -> None:
        """Wait for everything that is under way, except the caller's own task and `but`."""
        while others := [task for task in self._tasks if task not in (asyncio.current_task(), but)]:
            await asyncio.gather(*others, return_exceptions=True)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.info("%s: %s", self._name, task.exception())


def _take(function: Callable[..., T], *arguments: Any) -> T:
    failpoint(f"step.{getattr(function, '__name__', 'unnamed').strip('_').replace('_', '-')}")
    return function(*arguments)
