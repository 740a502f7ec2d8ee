"""What a failed attempt to start something leaves behind: dead processes nobody knows, and why they must be collected.

When the OCI runtime fails half way, the process it had made dies and becomes ours, without anybody having learnt its
pid. The kernel does not let a pid namespace end before every process in it has been collected, so one such stray keeps a
container from dying. It is a dead child of ours in a deeper pid namespace that nobody watches; but so is, for a moment,
a command that was started well and ended at once. The gate tells the two apart: collecting waits until nothing is being
started.

Knows nothing of containers.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from tfnode.process.init import dead_children

log = logging.getLogger(__name__)


class LaunchGate:
    """Any number may start something at once, or one may have quiet, who comes first to those who come later."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._launching = 0
        self._quiet = 0

    @contextlib.contextmanager
    def launching(self) -> Iterator[None]:
        """From before a process is made until it is watched."""
        with self._changed:
            self._changed.wait_for(lambda: not self._quiet)
            self._launching += 1
        try:
            yield
        finally:
            with self._changed:
                self._launching -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """While nothing is being started."""
        with self._changed:
            self._quiet += 1
            self._changed.wait_for(lambda: not self._launching)
        try:
            yield
        finally:
            with self._changed:
                self._quiet -= 1
                self._changed.notify_all()


def collect_strays(gate: LaunchGate, watched: Callable[[], Collection[int]]) -> list[int]:
    """Collect dead children of deeper pid namespaces that are not among the `watched`; their pids."""
    with gate.quiet():
        known = watched()  # first: whoever is collected by the watcher meanwhile is then not found any more
        strays = [child.pid for child in dead_children() if child.pid not in known and _is_deeper(child.pid)]
        collected = [pid for pid in strays if _collected(pid)]
    if collected:
        log.debug("collected the strays %s", collected)
    return collected


def _is_deeper(pid: int) -> bool:
    """True if it lives in a pid namespace below ours: then it has more numbers than we have."""
    return _levels(str(pid)) > _levels("self")


def _levels(process: str) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text("utf-8", "replace")
    except FileNotFoundError:
        return 0
    return next((len(line.split()) - 1 for line in status.splitlines() if line.startswith("NSpid:")), 0)


def _collected(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False
