"""Pid 1's duty: collect the orphans that end below it, and never the exit status of a child somebody waits for.

`waitpid(-1)` would collect both, and `subprocess` then takes a failed command for a good one. The kernel does not say who
forked a child, but whoever waits for one collects it within milliseconds. So an orphan is a dead child that nobody
has collected for a while and nobody claims. Knows nothing of containers.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from tfcore.clock import Clock, monotonic

log = logging.getLogger(__name__)

GRACE_SECONDS = 10.0
"""How long a dead child is left to whoever may wait for it; a zombie costs a pid and nothing else."""

LOOK_EVERY = 5.0


class DeadChild(NamedTuple):
    """A zombie child of this process; the start time tells it from a later process of the same pid."""

    pid: int
    started: int


def dead_children() -> Iterable[DeadChild]:
    """All zombie children of this process; costs one system call if there are none."""
    try:
        any_dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return ()
    return _zombies_in_proc(os.getpid()) if any_dead else ()


def _zombies_in_proc(parent: int) -> Iterator[DeadChild]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found = zombie_of(parent, (entry / "stat").read_text("ascii", "replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue
            if found:
                yield found


def zombie_of(parent: int, stat: str) -> DeadChild | None:
    """What a line of /proc/PID/stat says, if the process is a zombie child of `parent` (fields: proc(5))."""
    pid, _, rest = stat.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    state, ppid, started = fields[0], int(fields[1]), int(fields[19])
    return DeadChild(int(pid), started) if state == "Z" and ppid == parent else None


class Orphans:
    """Collects dead children nobody waits for.

    Args:
        claimed: pids whose exit status somebody will collect however late, e.g. containers' first processes.
        find: the dead children there are now.
        collect: takes a pid's exit status from the kernel.
        grace: seconds a dead child must have been seen dead.
    """

    def __init__(
        self,
        claimed: Callable[[], Collection[int]],
        *,
        find: Callable[[], Iterable[DeadChild]] = dead_children,
        collect: Callable[[int], object] = lambda pid: os.waitpid(pid, os.WNOHANG),
        grace: float = GRACE_SECONDS,
        clock: Clock = monotonic,
    ) -> None:
        self._claimed = claimed
        self._find = find
        self._collect = collect
        self._grace = grace
        self._clock = clock
        self._seen: dict[DeadChild, float] = {}

    def reap(self) -> list[int]:
        """Collect those seen dead for long enough that nobody claims; their pids."""
        now = self._clock()
        self._seen = {child: self._seen.get(child, now) for child in self._find()}
        claimed = self._claimed()
        due = [child.pid for child, since in self._seen.items() if now - since >= self._grace]
        return [pid for pid in due if pid not in claimed and self._collected(pid)]

    def _collected(self, pid: int) -> bool:
        try:
            self._collect(pid)
        except ChildProcessError:  # its owner came after all
            return False
        return True


async def reap_orphans(orphans: Orphans, *, every: float = LOOK_EVERY) -> NoReturn:
    """Reap for as long as the agent lives: a task of its event loop."""
    while True:
        for pid in orphans.reap():
            log.debug("collected the orphan %d", pid)
        await asyncio.sleep(every)
