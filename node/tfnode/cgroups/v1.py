"""Control groups version 1: the same path in the tree of every controller.

Knows nothing of v2 and of where the trees are mounted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from tfcore.errors import DeadlineExceeded, HostLacks, WrongState
from tfnode.cgroups import files
from tfnode.cgroups.group import Usage
from tfnode.cgroups.killing import kill_all

NANOSECONDS = 1_000_000_000
BRIEFLY = 0.5
"""Seconds a freeze may take that only serves to kill; without it killing goes on, a little less surely."""


class V1:
    """Driver for v1 hierarchies; `controllers` maps each controller to its mount point."""

    def __init__(self, controllers: Mapping[str, Path]) -> None:
        self._controllers = dict(controllers)

    @property
    def notes(self) -> tuple[str, ...]:
        wanted = {"memory", "cpu", "pids", "freezer"}
        return tuple(
            f"the kernel has no cgroup controller {name}: it is neither limited nor used"
            for name in sorted(wanted - self._controllers.keys())
        )

    def cgroups_path(self, path: str) -> str:
        return path

    def enforceable(self, path: str) -> frozenset[str]:  # noqa: ARG002 - the same for every group in v1
        limits = {"memory", "cpu", "pids", "devices"} & self._controllers.keys()
        memory = self._controllers.get("memory")
        if memory is not None and any(memory.glob("memory.memsw.limit_in_bytes")):
            limits |= {"swap"}
        return frozenset(limits)

    def create(self, path: str) -> None:
        for top in self._tops():
            self._at(top, path).mkdir(parents=True, exist_ok=True)
        if cpuset := self._controllers.get("cpuset"):
            _inherit_cpuset(cpuset, path)

    def admit(self, path: str, init: int) -> None:
        """Nothing to do: the OCI runtime has put it into every tree."""

    def freeze(self, path: str, timeout: float) -> None:
        state = self._freezer_state(path)
        files.write(state, "FROZEN")
        try:
            files.until(
                lambda: files.read(state) == "FROZEN",
                timeout=timeout,
                failure=lambda: f"{path} is {files.read(state)}, not FROZEN,",
            )
        except DeadlineExceeded:
            files.write(state, "THAWED")
            raise

    def thaw(self, path: str, timeout: float) -> None:
        state = self._freezer_state(path)
        files.write(state, "THAWED")
        files.until(
            lambda: files.read(state) == "THAWED",
            timeout=timeout,
            failure=lambda: f"{path} is {files.read(state)}, not THAWED (is a group above it frozen?),",
        )

    def frozen(self, path: str) -> bool:
        return "freezer" in self._controllers and files.read(self._freezer_state(path)) in ("FREEZING", "FROZEN")

    def kill(self, path: str, timeout: float) -> None:
        def freeze() -> None:
            with contextlib.suppress(DeadlineExceeded, HostLacks, FileNotFoundError):
                self.freeze(path, BRIEFLY)

        def thaw() -> None:
            with contextlib.suppress(DeadlineExceeded, HostLacks, FileNotFoundError):
                for group in files.tree(self._freezer_state(path).parent):
                    files.write(group / "freezer.state", "THAWED")

        self._check_not_held_from_above(path)
        kill_all(freeze=freeze, thaw=thaw, pids=lambda: self.pids(path), timeout=timeout)

    def pids(self, path: str) -> frozenset[int]:
        return files.processes(self._at(self._any_top(), path))

    def usage(self, path: str) -> Usage:
        return Usage(
            memory=self._memory(path),
            cpu_seconds=self.cpu_seconds(path),
            processes=len(self.pids(path)),
            oom_kills=self._oom_kills(path),
            forks_refused=self._forks_refused(path),
        )

    def cpu_seconds(self, path: str) -> float | None:
        spent = self._number("cpuacct", path, "cpuacct.usage")
        return None if spent is None else spent / NANOSECONDS

    def remove(self, path: str, timeout: float) -> None:
        files.remove_trees([self._at(top, path) for top in self._tops()], timeout)

    def _memory(self, path: str) -> int | None:
        if (used := self._number("memory", path, "memory.usage_in_bytes")) is None:
            return None
        return used - files.entry(self._at(self._controllers["memory"], path) / "memory.stat", "total_inactive_file")

    def _check_not_held_from_above(self, path: str) -> None:
        """No signal, not even SIGKILL, reaches a process that another group's freezer holds."""
        freezer = self._controllers.get("freezer")
        if freezer and files.read(self._at(freezer, path) / "freezer.parent_freezing") == "1" and self.pids(path):
            raise WrongState(f"{path} is frozen by a group above it", hint="thaw or kill that group")

    def _oom_kills(self, path: str) -> int:
        """Counted per group in v1, not for those below as well."""
        if (memory := self._controllers.get("memory")) is None:
            return 0
        return sum(
            files.entry(group / "memory.oom_control", "oom_kill") for group in files.tree(self._at(memory, path))
        )

    def _forks_refused(self, path: str) -> int:
        """Counted per group, as the above."""
        if (pids := self._controllers.get("pids")) is None:
            return 0
        return sum(files.entry(group / "pids.events", "max") for group in files.tree(self._at(pids, path)))

    def _number(self, controller: str, path: str, name: str) -> int | None:
        top = self._controllers.get(controller)
        return None if top is None else files.number(self._at(top, path) / name)

    def _freezer_state(self, path: str) -> Path:
        if (top := self._controllers.get("freezer")) is None:
            raise HostLacks(
                "the kernel has no cgroup freezer", hint="boot with the freezer controller or with cgroup v2"
            )
        return self._at(top, path) / "freezer.state"

    def _tops(self) -> list[Path]:
        """Controllers mounted together share a tree."""
        return sorted(set(self._controllers.values()))

    def _any_top(self) -> Path:
        return self._controllers.get("freezer") or self._tops()[0]

    @staticmethod
    def _at(top: Path, path: str) -> Path:
        return top / path.lstrip("/")


def _inherit_cpuset(top: Path, path: str) -> None:
    """A new cpuset has no processor and no memory node, and takes no process until it is given some."""
    group = top
    for name in path.strip("/").split("/"):
        above, group = group, group / name
        for what in ("cpuset.cpus", "cpuset.mems"):
            if not files.read(group / what):
                files.write(group / what, files.read(above / what))
