"""Control groups version 2: one tree, controllers handed down level by level.

Knows nothing of v1 and of where the tree is mounted.
"""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

from tfcore.errors import DeadlineExceeded
from tfnode.cgroups import files
from tfnode.cgroups.group import Usage
from tfnode.cgroups.killing import kill_all

MICROSECONDS = 1_000_000
WANTED = ("cpu", "memory", "pids", "io")
CAP_SYS_RESOURCE = 24
NO_DEVICE_RULES = (
    "without CAP_SYS_RESOURCE there are no cgroup device rules; the user namespace still keeps containers from devices"
)
BRIEFLY = 0.5
"""Seconds a freeze may take that only serves to kill."""


class V2:
    """Driver for the unified tree mounted at `top`.

    `locks_memory` says whether this process may lock any amount of memory (CAP_SYS_RESOURCE): crun needs it to load the
    program that v2 has for device rules.
    """

    def __init__(self, top: Path, *, locks_memory: bool | None = None) -> None:
        self._top = top
        self._device_rules = has_capability(CAP_SYS_RESOURCE) if locks_memory is None else locks_memory

    @property
    def notes(self) -> tuple[str, ...]:
        missing = {"cpu", "memory", "pids"} - controllers_below(self._top)
        notes = [f"cgroup v2 has no controller {name} here: it is not limited" for name in sorted(missing)]
        if not self._device_rules:
            notes.append(NO_DEVICE_RULES)
        return tuple(notes)

    def cgroups_path(self, path: str) -> str:
        return path

    def enforceable(self, path: str) -> frozenset[str]:
        limits = {"cpu", "memory", "pids"} & set(files.read(self._at(path) / "cgroup.controllers").split())
        if any(self._at(path).glob("memory.swap.max")):
            limits |= {"swap"}
        if self._device_rules:
            limits |= {"devices"}
        return frozenset(limits)

    def create(self, path: str) -> None:
        group = self._top
        for name in path.strip("/").split("/"):
            _hand_down(group)
            group = group / name
            group.mkdir(exist_ok=True)

    def admit(self, path: str, init: int) -> None:
        """Nothing to do: the OCI runtime has put it there."""

    def freeze(self, path: str, timeout: float) -> None:
        try:
            self._order(path, frozen=True, timeout=timeout)
        except DeadlineExceeded:
            files.write(self._at(path) / "cgroup.freeze", "0")
            raise

    def thaw(self, path: str, timeout: float) -> None:
        self._order(path, frozen=False, timeout=timeout)

    def frozen(self, path: str) -> bool:
        return self._event(path, "frozen") == 1 or files.read(self._at(path) / "cgroup.freeze") == "1"

    def kill(self, path: str, timeout: float) -> None:
        try:
            files.write(self._at(path) / "cgroup.kill", "1")
        except OSError as refused:
            if refused.errno not in (errno.ENOENT, errno.ENODEV):
                raise
            self._kill_one_by_one(path, timeout)  # a kernel before 5.14, or no such group
            return
        files.until(
            lambda: self._event(path, "populated") == 0,
            timeout=timeout,
            failure=lambda: f"processes {sorted(self.pids(path))} still alive",
        )

    def pids(self, path: str) -> frozenset[int]:
        return files.processes(self._at(path))

    def usage(self, path: str) -> Usage:
        group = self._at(path)
        used = files.number(group / "memory.current")
        return Usage(
            memory=None if used is None else used - files.entry(group / "memory.stat", "inactive_file"),
            cpu_seconds=self.cpu_seconds(path),
            processes=len(self.pids(path)),
            oom_kills=files.entry(group / "memory.events", "oom_kill"),
            # older kernels count for the group alone that refused, newer ones for those above it as well
            forks_refused=max((files.entry(one / "pids.events", "max") for one in files.tree(group)), default=0),
        )

    def cpu_seconds(self, path: str) -> float | None:
        account = self._at(path) / "cpu.stat"
        return files.entry(account, "usage_usec") / MICROSECONDS if account.exists() else None

    def remove(self, path: str, timeout: float) -> None:
        files.remove_trees([self._at(path)], timeout)

    def _order(self, path: str, *, frozen: bool, timeout: float) -> None:
        files.write(self._at(path) / "cgroup.freeze", "1" if frozen else "0")
        files.until(
            lambda: self._event(path, "frozen") == int(frozen),
            timeout=timeout,
            failure=lambda: f"{path} says frozen {self._event(path, 'frozen')}, not {int(frozen)},",
        )

    def _kill_one_by_one(self, path: str, timeout: float) -> None:
        def freeze() -> None:
            with contextlib.suppress(DeadlineExceeded, FileNotFoundError):
                self.freeze(path, BRIEFLY)

        def thaw() -> None:
            with contextlib.suppress(DeadlineExceeded, FileNotFoundError):
                self.thaw(path, BRIEFLY)

        kill_all(freeze=freeze, thaw=thaw, pids=lambda: self.pids(path), timeout=timeout)

    def _event(self, path: str, key: str) -> int:
        return files.entry(self._at(path) / "cgroup.events", key)

    def _at(self, path: str) -> Path:
        return self._top / path.lstrip("/")


def controllers_below(group: Path) -> frozenset[str]:
    """The controllers that groups below `group` have, or can be given.

    A group with processes of its own hands none down but what it has handed down already (cgroups(7), "no internal
    processes"). The root of the tree is free of that rule; the root of a container we run in is not, and shows it by having
    a `cgroup.type`.
    """
    given = files.read(group / "cgroup.subtree_control").split()
    if (group / "cgroup.type").exists() and files.read(group / "cgroup.procs"):
        return frozenset(given)
    return frozenset((*given, *files.read(group / "cgroup.controllers").split()))


REFUSALS = (errno.EBUSY, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL)
"""EBUSY: the group has processes of its own; EINVAL: some are real-time ones, which this kernel schedules by group."""


def _hand_down(group: Path) -> None:
    """Give the children of `group` the controllers it has. What is refused stays unlimited and shows in `enforceable`."""
    offered = set(files.read(group / "cgroup.controllers").split())
    given = set(files.read(group / "cgroup.subtree_control").split())
    for controller in WANTED:
        if controller in offered - given:
            try:
                files.write(group / "cgroup.subtree_control", f"+{controller}")
            except OSError as refused:
                if refused.errno not in REFUSALS:
                    raise


def has_capability(number: int) -> bool:
    """True if the calling thread holds capability `number` in its effective set."""
    status = Path("/proc/thread-self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> number & 1)
