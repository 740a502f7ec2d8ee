"""The threads that do what would keep the loop waiting: the image cache's work. Knows none of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

DISK_THREADS = 4
UPLOAD_THREADS = 128
"""An upload keeps a thread for as long as its client takes to send: those must not hold up the others."""

UPLOADS_EACH = 8
"""Uploads of one account at a time; more wait for their turn, so that one account does not keep all threads."""


@dataclass(frozen=True)
class Disk:
    """Two pools. Threads are started when first needed."""

    short: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(DISK_THREADS, "disk"))
    uploads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(UPLOAD_THREADS, "upload"))

    _turns: dict[str, asyncio.Semaphore] = field(default_factory=dict)

    @asynccontextmanager
    async def turn(self, account: str) -> AsyncIterator[None]:
        """Wait until the account may use one more thread of `uploads`, and have it do so during the block."""
        async with self._turns.setdefault(account, asyncio.Semaphore(UPLOADS_EACH)):
            yield

    async def read_through(self, account: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something for an account that takes as long as the account has made it."""
        async with self.turn(account):
            return await asyncio.get_running_loop().run_in_executor(self.uploads, partial(work, *args, **kwargs))

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something that takes a moment."""
        return await asyncio.get_running_loop().run_in_executor(self.short, partial(work, *args, **kwargs))

    def later(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Do something nobody waits for."""
        self.short.submit(partial(work, *args, **kwargs))

    def close(self) -> None:
        """Wait for what is being done."""
        self.short.shutdown()
        self.uploads.shutdown()
