"""The threads that do what would keep the loop waiting: the image cache's work. Knows none of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

DISK_THREADS = 4
UPLOAD_THREADS = 32
"""An upload keeps a thread for as long as its client takes to send: those must not hold up the others."""


@dataclass(frozen=True)
class Disk:
    """Two pools. Threads are started when first needed."""

    short: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(DISK_THREADS, "disk"))
    uploads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(UPLOAD_THREADS, "upload"))

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
