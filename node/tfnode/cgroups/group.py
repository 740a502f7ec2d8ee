"""A control group as the agent holds it, and what a driver of control groups has to do.

The life of a generation's group: `open_node_group(name)` has made the node's own; `generation = node.child("g7")` and
`generation.create()` make one below it; the OCI runtime puts each container into `generation.child(id)`. `freeze` stops
all of them at one instant and `thaw` lets them go on; `usage` says what they use; `kill` ends every process in there,
whether frozen, forking or stopped; `remove` takes the group away when it is empty.

A group is named by its path below the root of every hierarchy ("/pytest-tf-n/g7/c1"); nothing is kept here but that
path, so two `Group`s of one path are the same group. Groups nest: what is done to one is done to all below it.

Where a machine has no control groups we may use, the driver `without` does with signals what signals can do, and
nothing is enforceable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tfcore.failpoints import failpoint

FREEZE_SECONDS = 5.0
KILL_SECONDS = 10.0
REMOVE_SECONDS = 5.0


@dataclass(frozen=True)
class Usage:
    """What the processes of a group use; None where the machine does not account for it.

    Attributes:
        memory: bytes, without the file cache that the kernel could drop (as `docker stats` counts).
        cpu_seconds: user and system time since the group was made.
        processes: how many there are (threads not counted).
        oom_kills: processes killed because the group, or one below it, was at its memory limit.
        forks_refused: processes and threads that could not be started because it, or one below it, had as many as it may.
    """

    memory: int | None
    cpu_seconds: float | None
    processes: int
    oom_kills: int
    forks_refused: int = 0


class Driver(Protocol):
    """One way of having control groups. Every method takes a path as `Group` describes it; all are thread-safe."""

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each thing this machine cannot do."""

    def cgroups_path(self, path: str) -> str:
        """What the OCI runtime is told as `linux.cgroupsPath`; empty: it shall leave control groups alone."""

    def enforceable(self, path: str) -> frozenset[str]:
        """Which of memory, swap, cpu, pids and devices can be limited in this group."""

    def create(self, path: str) -> None: ...

    def admit(self, path: str, init: int) -> None: ...

    def freeze(self, path: str, timeout: float) -> None: ...

    def thaw(self, path: str, timeout: float) -> None: ...

    def frozen(self, path: str) -> bool: ...

    def kill(self, path: str, timeout: float) -> None: ...

    def pids(self, path: str) -> frozenset[int]: ...

    def usage(self, path: str) -> Usage: ...

    def cpu_seconds(self, path: str) -> float | None: ...

    def remove(self, path: str, timeout: float) -> None: ...


@dataclass(frozen=True)
class Group:
    """One control group (or what stands for it): a path and the driver that knows what to do with it."""

    driver: Driver
    path: str

    @property
    def cgroups_path(self) -> str:
        """What to tell the OCI runtime; empty if it shall leave control groups alone."""
        return self.driver.cgroups_path(self.path)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each thing this machine's control groups cannot do."""
        return self.driver.notes

    def enforceable(self) -> frozenset[str]:
        """Which of "memory", "swap", "cpu", "pids" and "devices" can be limited in this group."""
        return self.driver.enforceable(self.path)

    def child(self, name: str) -> Group:
        """The group `name` directly below this one; made by `create`."""
        return Group(self.driver, f"{self.path}/{name}")

    def create(self) -> None:
        """Make the group and those above it; nothing happens if it is there.

        Raises:
            OSError: the kernel refuses.
        """
        failpoint("cgroup.create")
        self.driver.create(self.path)

    def admit(self, init: int) -> None:
        """Tell that process `init` is the first of a pid namespace whose processes belong here.

        The OCI runtime has already put it into a real control group; only `without` needs to be told.
        """
        self.driver.admit(self.path, init)

    def freeze(self, *, timeout: float = FREEZE_SECONDS) -> None:
        """Stop every process of the group and those below, and return when all of them stand still.

        Raises:
            OSError: there is no such group.
            DeadlineExceeded: they did not all stop within `timeout` seconds (one may be in the middle of a disk
                operation); they run again.
            HostLacks: this machine has no freezer.
        """
        failpoint("cgroup.freeze")
        self.driver.freeze(self.path, timeout)

    def thaw(self, *, timeout: float = FREEZE_SECONDS) -> None:
        """Let the processes of a frozen group go on; nothing happens if it is not frozen.

        Raises:
            OSError: there is no such group.
            DeadlineExceeded: the kernel did not say so within `timeout` seconds.
        """
        failpoint("cgroup.thaw")
        self.driver.thaw(self.path, timeout)

    def frozen(self) -> bool:
        """True if the group, or one above it, is frozen or about to be."""
        return self.driver.frozen(self.path)

    def kill(self, *, timeout: float = KILL_SECONDS) -> None:
        """SIGKILL every process of the group and those below, and return when all are dead.

        Frozen ones, and those that appear meanwhile, included.

        Raises:
            WrongState: a group above this one is frozen, and this machine has cgroup v1: thaw or kill that one.
            DeadlineExceeded: some were left after `timeout` seconds; the message names them.
        """
        failpoint("cgroup.kill")
        self.driver.kill(self.path, timeout)

    def pids(self) -> frozenset[int]:
        """The processes of the group and those below, as this pid namespace numbers them."""
        return self.driver.pids(self.path)

    def usage(self) -> Usage:
        """What they use now; all zero or None for a group that does not exist."""
        return self.driver.usage(self.path)

    def cpu_seconds(self) -> float | None:
        """As in `usage`, by one look. What a thread is using just now may not have been charged yet."""
        return self.driver.cpu_seconds(self.path)

    def remove(self, *, timeout: float = REMOVE_SECONDS) -> None:
        """Take the empty group and those below it away; nothing happens if it is gone.

        Raises:
            DeadlineExceeded: the kernel still said busy after `timeout` seconds: a process is in there.
        """
        failpoint("cgroup.remove")
        self.driver.remove(self.path, timeout)
