"""Where a machine has no control groups for us: what signals can do of a group's work.

The members of a group are the processes of the pid namespaces admitted to it. They can be stopped, continued, killed
and counted; nothing is limited. A container may notice that it was stopped (a shell with job control says so).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path

from tfnode.cgroups import files
from tfnode.cgroups.group import Usage

NOTE = (
    "no control groups can be used here: memory, cpu and processes of containers are not limited, "
    "and freezing is done by SIGSTOP"
)
ENDED = ("Z", "X", "")
STOPPED = ("T", "t", *ENDED)
"""States of a thread, in /proc/PID/task/TID/stat, that runs no more: stopped, traced, dead, gone."""


class Without:
    """Driver for machines without control groups. It has to remember what the kernel does not."""

    def __init__(self, why: str = "") -> None:
        self._why = why
        self._lock = threading.Lock()
        self._inits: dict[str, set[int]] = {}
        self._held: dict[str, frozenset[int]] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        return (f"{NOTE} ({self._why})" if self._why else NOTE,)

    def cgroups_path(self, path: str) -> str:  # noqa: ARG002 - there are none
        return ""

    def enforceable(self, path: str) -> frozenset[str]:  # noqa: ARG002 - nothing is
        return frozenset()

    def create(self, path: str) -> None:
        with self._lock:
            self._inits.setdefault(path, set())

    def admit(self, path: str, init: int) -> None:
        with self._lock:
            self._inits.setdefault(path, set()).add(init)

    def freeze(self, path: str, timeout: float) -> None:
        """In rounds: until a process stands still it may start another."""
        stopped: set[int] = set()

        def all_stopped() -> bool:
            running = {pid for pid in self.pids(path) if not _stands_still(pid)}
            for pid in running:
                _send(pid, signal.SIGSTOP)
            stopped.update(running)
            return not running

        try:
            files.until(all_stopped, timeout=timeout, failure=lambda: f"some of {sorted(self.pids(path))} run")
        except BaseException:
            _continue(frozenset(stopped))
            raise
        with self._lock:
            self._held[path] = self._held.get(path, frozenset()) | stopped

    def thaw(self, path: str, timeout: float) -> None:  # noqa: ARG002 - SIGCONT takes effect at once
        """Only those we stopped: what had stopped itself stays so."""
        with self._lock:
            held = [self._held.pop(below) for below in list(self._held) if _within(below, path)]
        _continue(frozenset().union(*held))

    def frozen(self, path: str) -> bool:
        with self._lock:
            return any(_within(path, above) for above in self._held)

    def kill(self, path: str, timeout: float) -> None:
        """The first process of a pid namespace takes all others with it, stopped ones too."""

        def nobody_left() -> bool:
            for init in self._live_inits(path):
                _send(init, signal.SIGKILL)
            return not self.pids(path)

        files.until(nobody_left, timeout=timeout, failure=lambda: f"processes {sorted(self.pids(path))} still alive")

    def pids(self, path: str) -> frozenset[int]:
        namespaces = {_pid_namespace(init) for init in self._live_inits(path)} - {None}
        if not namespaces:
            return frozenset()
        return frozenset(pid for pid in _all_pids() if _pid_namespace(pid) in namespaces and _lives(pid))

    def usage(self, path: str) -> Usage:
        pids = self.pids(path)
        return Usage(memory=sum(map(_resident, pids)), cpu_seconds=None, processes=len(pids), oom_kills=0)

    def cpu_seconds(self, path: str) -> float | None:  # noqa: ARG002 - nobody keeps account
        return None

    def remove(self, path: str, timeout: float) -> None:  # noqa: ARG002 - nothing to wait for
        with self._lock:
            for known in (self._inits, self._held):
                for below in [below for below in known if _within(below, path)]:
                    del known[below]

    def _live_inits(self, path: str) -> frozenset[int]:
        with self._lock:
            inits = [init for below, admitted in self._inits.items() if _within(below, path) for init in admitted]
        return frozenset(init for init in inits if _lives(init))


def _within(path: str, above: str) -> bool:
    return path == above or path.startswith(above + "/")


def _continue(pids: frozenset[int]) -> None:
    for pid in pids:
        _send(pid, signal.SIGCONT)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _pid_namespace(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return None


def _lives(pid: int) -> bool:
    """False if all its threads have ended: the first may have, and the others go on."""
    return any(_state(thread) not in ENDED for thread in _threads(pid))


def _stands_still(pid: int) -> bool:
    """True if none of its threads will run before it is told to go on.

    One that has made a child by vfork(2), as shells and `subprocess` do, waits in the kernel until that has executed a
    program, and is not told apart from a stopped one by anything else: if the child stands still first, so does it.
    """
    return all(_state(thread) in STOPPED or _waits_for_a_child(thread) for thread in _threads(pid))


def _waits_for_a_child(thread: Path) -> bool:
    if _state(thread) != "D":
        return False
    try:
        children = (thread / "children").read_text().split()
    except OSError:
        return False
    return any(_state(Path(f"/proc/{child}")) in STOPPED for child in children)


def _threads(pid: int) -> list[Path]:
    """Their directories; none if there is no such process."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        return [tasks / name for name in os.listdir(tasks)]
    except OSError:
        return []


def _state(task: Path) -> str:
    """One letter of proc_pid_stat(5); empty if there is no such task. The name before it may hold any character."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
