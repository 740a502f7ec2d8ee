"""What the agent asks of whatever runs containers.

*The life of a container.* Its root file system is mounted, its sandbox (user and network namespace) exists, its control
group has been named. `create` makes everything but the main process: all namespaces, all mounts, the control group with its
limits, and a first process that waits. Such a container is **asleep**: `exec` works in it as in a running one. `start`
lets the first process become the main process, just as the image says; it happens once. When the main process ends, the
kernel ends every other process of the container, and it has **ended** for good: a reboot is a new container in the same
sandbox. `delete` ends what still runs and leaves nothing behind.

    created (asleep) ──start──▶ running ──main process ends──▶ ended
            └──────────────────────┴── delete, at any time ──────┴──▶ nothing

*Processes in it.* `exec` starts a command beside the main process, in all its namespaces, its control group and under its
seccomp rules, and returns a `Process`. It is in a session (setsid(2)) that only what it starts belongs to, too. Its end is
its own: neither the main process nor the container notices.

*Targets.* `signal` and `wait` take a container's id, which stands for its main (or, asleep, first) process, or a
`Process`. A signal reaches exactly that process; SIGKILL to the main process ends the container.

*Ends are told twice*: to everybody who waits, and once to the callback given with `create` or `exec`, on a thread of the
runtime's own, which must not be kept.

*An asleep container's first process waits and does nothing else.* It does not collect orphans: what a command leaves
behind when it has ended stays a zombie until `start`, as with `sleep` as a container's command elsewhere.

A driver is plain synchronous functions, safe to call from any thread; calls about one container wait for one another.
Errors come before anything was changed, or after everything was undone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from tfnode.cgroups import Group
from tfnode.images.shift import IdShift
from tfnode.runtime.console import Console

DEFAULT_PIDS = 4096
DEFAULT_SHM = 256 * 1024 * 1024
"""Docker has 64 MiB in /dev/shm, in which PostgreSQL's parallel queries fail."""


class Phase(Enum):
    """Where in its life a container is."""

    CREATED = "created"
    RUNNING = "running"
    ENDED = "ended"


class Access(Enum):
    """What a container may do with a directory it is given."""

    READ_WRITE = "rw"
    READ_ONLY = "ro"


@dataclass(frozen=True)
class Launch:
    """What a container's main process shall be: the image's wish and the caller's, already put together.

    Attributes:
        argv: program and arguments, at least one; a program without slash is looked up in PATH inside.
        env: the whole environment but HOME and HOSTNAME, which are added if they are not in it.
        workdir: absolute; made if missing.
        user: "", name, id, name:group, …; looked up in the container's own /etc/passwd and /etc/group.
        stop_signal: what the image wants to be stopped with.
    """

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    workdir: str = "/"
    user: str = ""
    stop_signal: int = 15


@dataclass(frozen=True)
class Command:
    """What `exec` shall run.

    Attributes:
        argv: as in `Launch`.
        env: over the main process's environment.
        workdir: empty: the main process's.
        user: empty: the main process's.
    """

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    workdir: str = ""
    user: str = ""


@dataclass(frozen=True)
class Limits:
    """What a container may use; 0 means no limit of its own.

    Attributes:
        memory: bytes, swap included.
        cpus: processors, e.g. 0.5.
        pids: processes and threads.
        shm: bytes of /dev/shm, which count as memory.
    """

    memory: int = 0
    cpus: float = 0.0
    pids: int = DEFAULT_PIDS
    shm: int = DEFAULT_SHM


@dataclass(frozen=True)
class Sandbox:
    """The namespaces a container joins instead of making its own.

    Attributes:
        user: path of the user namespace, e.g. /proc/PID/fd/N of a descriptor the agent holds.
        network: path of a network namespace that belongs to it.
        ids: which ids outside stand for those inside.
    """

    user: str
    network: str
    ids: IdShift


@dataclass(frozen=True)
class Bind:
    """A directory or file of the node that appears in the container: never with devices or setuid programs.

    Attributes:
        source: where it is on the node.
        target: absolute path inside; made if missing.
        access: what the container may do with it.
    """

    source: Path
    target: str
    access: Access = Access.READ_WRITE


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """Everything a container is made of.

    Attributes:
        id: unique on the node, also over its past.
        rootfs: its mounted root. Every directory on the way must be open to others (x), as crun walks it as the
            container's root user.
        launch: the main process.
        sandbox: what it joins.
        group: its own control group; the runtime makes and removes it, the groups above are the caller's.
        limits: what it may use.
        binds: what it sees of the node.
        hostname: its name for itself; empty: its id, cut to what a hostname may be.
    """

    id: str
    rootfs: Path
    launch: Launch
    sandbox: Sandbox
    group: Group
    limits: Limits = field(default_factory=Limits)
    binds: tuple[Bind, ...] = ()
    hostname: str = ""


@dataclass(frozen=True)
class Stdio:
    """Descriptors that become a process's 0, 1 and 2; the caller keeps (and closes) his own. None is /dev/null.

    With a `console` all three are a terminal that is made for it, in a session of its own that this terminal controls;
    the others do not count then. Size and owner are right when `create` or `exec` returns; a command that looks in its first
    moments may have been quicker (crun sets them while it starts), and is told of its size by SIGWINCH.

    Pipes are given to the user the process runs as, so that it may open /dev/stdout. The three may be one descriptor,
    also that of a terminal's far end.
    """

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None
    console: Console | None = None


@dataclass(frozen=True)
class Exit:
    """How a process ended: by itself with a `code`, or killed by a `signal`; both None if nobody can know.

    `oom`: it was killed because its container was at its memory limit.
    """

    code: int | None = None
    signal: int | None = None
    oom: bool = False

    @property
    def status(self) -> int | None:
        """One number as shells have it: the code, or 128 + signal."""
        return self.code if self.signal is None else 128 + self.signal

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by signal {self.signal}" + (" (out of memory)" if self.oom else "")
        return "ended, nobody knows how" if self.code is None else f"ended with status {self.code}"


@dataclass(frozen=True)
class State:
    """What is known of a container now.

    Attributes:
        phase: where in its life it is.
        pid: its first process, as the node numbers it; for namespaces and /proc, never for signals.
        exit: how the main process ended, once it has.
        notes: a sentence for each limit asked for that this machine cannot enforce.
    """

    phase: Phase
    pid: int
    exit: Exit | None = None
    notes: tuple[str, ...] = ()


class Process(Protocol):
    """A command that `exec` started."""

    @property
    def container(self) -> str:
        """The id of the container it runs in."""

    @property
    def pid(self) -> int:
        """As the node numbers it."""


Ended = Callable[[Exit], None]
"""Told once how something ended."""

Target = str | Process
"""A container's id, or one of its processes."""


class Runtime(Protocol):
    """Whatever runs containers. Every verb may also raise CommandFailed (the tool's own last words) and DeadlineExceeded."""

    def create(self, spec: ContainerSpec, stdio: Stdio, *, ended: Ended | None = None) -> State:
        """Make the container, asleep.

        Args:
            spec: what it is made of.
            stdio: the main process's; also what `start` will use.
            ended: told when the main process has ended, `delete` included.

        Raises:
            BadRequest: something in `spec` cannot be: no such user, a limit too small, a relative path, a root that the
                container's own root user cannot reach.
            WrongState: there is a container of that id.
            CommandFailed: also if the main process's program does not exist.
        """

    def start(self, container: str) -> None:
        """Let an asleep container's main process run.

        Raises:
            NotFound: no such container.
            WrongState: it has been started, has ended, or is frozen.
        """

    def exec(self, container: str, command: Command, stdio: Stdio, *, ended: Ended | None = None) -> Process:
        """Start a command in the container and return when it runs.

        Raises:
            NotFound: no such container.
            WrongState: it has ended, or is frozen.
            BadRequest: no such user, no program named.
            CommandFailed: also if there is no such program.
        """

    def signal(self, target: Target, number: int) -> None:
        """Send signal `number`. The main process gets only those it has a handler for, but always SIGKILL and SIGSTOP.

        Raises:
            NotFound: no such container.
            WrongState: it has ended.
        """

    def wait(self, target: Target, timeout: float) -> Exit:
        """Wait until it has ended; at once if it has. As often as wanted, as long as its container is not deleted.

        Raises:
            NotFound: no such container.
            DeadlineExceeded: it was still there after `timeout` seconds.
        """

    def state(self, container: str) -> State:
        """What is known of it now.

        Raises:
            NotFound: no such container.
        """

    def delete(self, container: str) -> None:
        """End what runs and remove all of it but its root file system; nothing happens if there is no such container.

        A frozen one too.

        Raises:
            WrongState: a group above its own is frozen (and the machine has cgroup v1): thaw or kill that one first.
        """
