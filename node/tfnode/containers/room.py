"""Room for generations that are booted ahead: memory that nobody misses, and a processor at a time.

A spare is a luxury: it must not take memory from containers that are used, nor time from the test that runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tfcore.errors import Exhausted
from tfnode.containers.burials import BREATH

RESERVE = 0.15
"""The share of the machine's memory that spares leave alone."""

LEAST = 32 * 1024 * 1024
"""Bytes that a generation is thought to need at least."""

MARGIN = 1.25
"""By how much the next generation may need more than the present one."""

MIB = 1024 * 1024


def read_memory(path: Path = Path("/proc/meminfo")) -> tuple[int, int]:
    """The machine's memory, and how much of it could be had without swapping, in bytes (proc_meminfo(5))."""
    found = dict(line.split(":", 1) for line in path.read_text().splitlines())
    total, available = (int(found[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total, available


class Room:
    """The node's.

    Args:
        at_once: how many may boot ahead at the same time; default: one for each processor but one.
        memory: tells total and available bytes.
    """

    def __init__(self, at_once: int = 0, memory: Callable[[], tuple[int, int]] = read_memory) -> None:
        self._turns = asyncio.Semaphore(at_once or max(1, len(os.sched_getaffinity(0)) - 1))
        self._memory = memory
        self._promised = 0

    @contextlib.asynccontextmanager
    async def turn(self, used: int, hurry: asyncio.Event) -> AsyncIterator[None]:
        """Wait for a processor, or until somebody needs the generation at once, and hold its memory.

        Args:
            used: bytes that the present generation uses.

        Raises:
            Exhausted: there is not enough memory.
        """
        async with self._processor(hurry):
            wanted = int(max(used * MARGIN, LEAST))
            self._promise(wanted)
            try:
                yield
            finally:
                self._promised -= wanted

    @contextlib.asynccontextmanager
    async def _processor(self, hurry: asyncio.Event) -> AsyncIterator[None]:
        hurried = asyncio.ensure_future(hurry.wait())
        await asyncio.wait({hurried}, timeout=BREATH)
        acquiring = asyncio.ensure_future(self._turns.acquire())
        try:
            await asyncio.wait({acquiring, hurried}, return_when=asyncio.FIRST_COMPLETED)
            yield
        finally:
            hurried.cancel()
            if acquiring.done() and not acquiring.cancelled():
                self._turns.release()
            acquiring.cancel()

    def _promise(self, wanted: int) -> None:
        total, available = self._memory()
        free = available - self._promised - int(total * RESERVE)
        if wanted > free:
            spare = max(0, free) // MIB
            raise Exhausted(f"no memory for another generation: it may need {wanted // MIB} MiB, {spare} can be spared")
        self._promised += wanted
