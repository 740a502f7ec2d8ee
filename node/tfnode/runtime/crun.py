"""The runtime that drives crun, or runc where there is no crun.

What of it is crun's own habit: an asleep container's first process waits at the fifo `exec.fifo` in crun's state
directory for one byte, which is all that `crun start` writes (`_start_by_fifo`; tried with crun 1.8). And a user
namespace's root, whom crun becomes early, must be able to walk to the root file system.

Needs a private mount namespace, and to be pid 1 of its pid namespace or a subreaper: otherwise nobody learns how a
process ended. Knows nothing of sandboxes, storage and generations.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import resource
import shutil
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tfcore.clock import monotonic
from tfcore.errors import BadRequest, CommandFailed, DeadlineExceeded, NotFound, WrongState
from tfcore.undo import Undo
from tfnode.runtime.accounts import Account, find_account, read_account_files
from tfnode.runtime.bundle import CAPABILITIES, container_config, not_as_wished, process_section, unenforced
from tfnode.runtime.exits import ExitWatcher, WatchedProcess
from tfnode.runtime.interface import Command, ContainerSpec, Ended, Exit, Phase, Process, State, Stdio, Target
from tfnode.runtime.oci import OciRuntime, find_program
from tfnode.runtime.seccomp import seccomp_section, with_one_id
from tfnode.runtime.staging import staged
from tfnode.runtime.strays import LaunchGate, collect_strays

ID = re.compile(r"\A[0-9A-Za-z][0-9A-Za-z_.+-]{0,199}\Z")

OPEN_FILES = 1_048_576
"""Docker's limit, where our own is not lower: without CAP_SYS_RESOURCE nobody gets more than we have."""

DEATH_SECONDS = 10.0
"""How long processes may take to be gone after SIGKILL."""

STRAY_SECONDS = 0.1
"""If they take longer than this, look for what keeps them; and again after twice the time."""


@dataclass(frozen=True, eq=False)
class CrunProcess:
    """A command in a container."""

    container: str
    watched: WatchedProcess

    @property
    def pid(self) -> int:
        """As the node numbers it."""
        return self.watched.pid


@dataclass(eq=False)
class _Container:
    """A container from `create` to `delete`; its lock is held by whoever changes it."""

    spec: ContainerSpec
    bundle: Path
    notes: tuple[str, ...]
    lock: threading.RLock = field(default_factory=threading.RLock)
    main: WatchedProcess | None = None
    started: bool = False
    deleted: bool = False
    oom_kills: int = 0
    execs: Iterator[int] = field(default_factory=itertools.count)
    commands: list[WatchedProcess] = field(default_factory=list)

    @property
    def phase(self) -> Phase:
        assert self.main is not None
        if self.main.exit is not None:
            return Phase.ENDED
        return Phase.RUNNING if self.started else Phase.CREATED

    @property
    def cgroups(self) -> bool:
        return bool(self.spec.group.cgroups_path)


class Crun:
    """The runtime of a node; see `tfnode.runtime.interface.Runtime` for what each verb promises.

    Args:
        directory: for bundles and the program's state; ours alone, on a file system that dies with us (a tmpfs).
        exits: watches the processes; the caller closes it.
        program: the OCI runtime; found by itself if None.

    Raises:
        HostLacks: no OCI runtime, or no seccomp rules for this kind of machine.
    """

    def __init__(self, directory: Path, exits: ExitWatcher, *, program: Path | None = None) -> None:
        self._bundles = directory / "bundles"
        self._bundles.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._oci = OciRuntime(program or find_program(), directory)
        self._exits = exits
        self._seccomp = seccomp_section(CAPABILITIES)
        self._nofile = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], OPEN_FILES)
        self._gate = LaunchGate()
        self._lock = threading.Lock()
        self._containers: dict[str, _Container] = {}

    def create(self, spec: ContainerSpec, stdio: Stdio, *, ended: Ended | None = None) -> State:
        with self._no_strays(), Undo() as undo:
            container = self._enter(spec)
            undo.push(self._forget, container)
            with container.lock, self._gate.launching():
                self._make(container, stdio, ended, undo)
                undo.done()
                return _state_of(container)

    def start(self, container: str) -> None:
        with self._held(container) as held:
            if held.phase is not Phase.CREATED:
                raise WrongState(f"container {container} is {held.phase.value}, and can only be started asleep")
            _check_thawed(held)
            if not (self._oci.is_crun and _start_by_fifo(self._oci.state_directory(container) / "exec.fifo")):
                self._oci.start(container, cgroups=held.cgroups)
            held.started = True

    def exec(self, container: str, command: Command, stdio: Stdio, *, ended: Ended | None = None) -> Process:
        with self._held(container) as held:
            if held.phase is Phase.ENDED:
                raise WrongState(f"container {container} has ended: nothing can run in it")
            _check_thawed(held)
            with self._no_strays(), self._gate.launching():
                pid = self._exec(held, command, stdio)
                watched = self._exits.watch(pid, judge=_oom_judge(held), ended=ended)
            held.commands = [*(known for known in held.commands if known.exit is None), watched]
            return CrunProcess(container, watched)

    def signal(self, target: Target, number: int) -> None:
        self._watched(target).signal(number)

    def wait(self, target: Target, timeout: float) -> Exit:
        try:
            return self._await(self._watched(target), timeout)
        except DeadlineExceeded as late:
            what = f"container {target}" if isinstance(target, str) else f"a process in container {target.container}"
            raise DeadlineExceeded(f"{what}: {late.message}") from late

    def state(self, container: str) -> State:
        return _state_of(self._find(container))

    def delete(self, container: str) -> None:
        with contextlib.suppress(NotFound), self._held(container) as held:
            self._end(held)
            self._oci.delete(container, cgroups=held.cgroups)
            held.spec.group.remove()
            shutil.rmtree(held.bundle)
            self._forget(held)

    # making

    def _make(self, container: _Container, stdio: Stdio, ended: Ended | None, undo: Undo) -> None:
        spec = container.spec
        check_reachable(spec.rootfs)
        account = find_account(spec.launch.user, read_account_files(spec.rootfs))
        spec.group.create()
        undo.push(spec.group.remove)
        container.bundle.mkdir(mode=0o700)
        undo.push(shutil.rmtree, container.bundle)
        enforceable = spec.group.enforceable()
        container.notes = (*unenforced(spec.limits, enforceable), *not_as_wished(spec.sandbox.ids, account))
        with staged(spec.binds, container.bundle / "binds") as binds:
            config = container_config(
                replace(spec, binds=binds),
                account,
                seccomp=with_one_id(self._seccomp) if spec.sandbox.ids.is_single else self._seccomp,
                enforceable=enforceable,
                nofile=self._nofile,
                console=stdio.console,
            )
            pid = self._create(container, config, account, stdio, undo)
        spec.group.admit(pid)
        undo.push(spec.group.kill)
        container.main = self._exits.watch(pid, judge=_oom_judge(container), ended=ended)

    def _create(self, container: _Container, config: dict[str, Any], account: Account, stdio: Stdio, undo: Undo) -> int:
        spec, bundle = container.spec, container.bundle
        (bundle / "config.json").write_text(json.dumps(config))
        _give_pipes(stdio, spec, account)
        undo.push(lambda: self._oci.delete(spec.id, cgroups=container.cgroups))
        return self._oci.create(spec.id, bundle, bundle / "pid", stdio, cgroups=container.cgroups)

    # running commands

    def _exec(self, held: _Container, command: Command, stdio: Stdio) -> int:
        account = find_account(command.user or held.spec.launch.user, read_account_files(held.spec.rootfs))
        section = process_section(held.spec, command, account, nofile=self._nofile, console=stdio.console)
        name = f"exec-{next(held.execs)}"
        process, pid_file = held.bundle / f"{name}.json", held.bundle / f"{name}.pid"
        process.write_text(json.dumps(section))
        _give_pipes(stdio, held.spec, account)
        try:
            return self._oci.exec(held.spec.id, process, pid_file, stdio, cgroups=held.cgroups)
        finally:
            process.unlink()
            pid_file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _no_strays(self) -> Iterator[None]:
        """A failed attempt leaves no dead process behind, which would keep its container from dying."""
        try:
            yield
        except (CommandFailed, DeadlineExceeded):
            collect_strays(self._gate, self._exits.pids)
            raise

    # ending

    def _end(self, held: _Container) -> None:
        """The first process's end is that of all others; a frozen one is reached by way of its group only."""
        assert held.main is not None
        if held.spec.group.frozen():
            held.spec.group.kill(timeout=DEATH_SECONDS)
        elif held.main.exit is None:
            with contextlib.suppress(WrongState):
                held.main.signal(signal.SIGKILL)
        for watched in (held.main, *held.commands):
            self._await(watched, DEATH_SECONDS)

    def _await(self, watched: WatchedProcess, timeout: float) -> Exit:
        """A process started by an attempt that failed afterwards is a stray only when it is dead, and its container's first
        process does not end before it has been collected."""
        end, pause = monotonic() + timeout, STRAY_SECONDS
        while True:
            left = end - monotonic()
            try:
                return watched.wait(min(pause, max(left, 0.0)))
            except DeadlineExceeded:
                if left <= pause:
                    raise DeadlineExceeded(f"process {watched.pid} was still alive after {timeout:g} s") from None
                collect_strays(self._gate, self._exits.pids)
                pause *= 2

    # the table

    def _enter(self, spec: ContainerSpec) -> _Container:
        if not ID.match(spec.id):
            raise BadRequest(f"{spec.id!r} cannot be a container's id")
        container = _Container(spec, self._bundles / spec.id, ())
        with self._lock:
            if spec.id in self._containers:
                raise WrongState(f"there is a container {spec.id} already")
            self._containers[spec.id] = container
        return container

    def _forget(self, container: _Container) -> None:
        container.deleted = True
        with self._lock:
            self._containers.pop(container.spec.id, None)

    def _find(self, container: str) -> _Container:
        with self._lock:
            found = self._containers.get(container)
        if found is None or found.main is None:
            raise NotFound(f"there is no container {container}")
        return found

    @contextlib.contextmanager
    def _held(self, container: str) -> Iterator[_Container]:
        """The container while nobody else changes it."""
        found = self._find(container)
        with found.lock:
            if found.deleted:
                raise NotFound(f"there is no container {container}")
            yield found

    def _watched(self, target: Target) -> WatchedProcess:
        if isinstance(target, CrunProcess):
            return target.watched
        if not isinstance(target, str):
            raise BadRequest(f"{target!r} is not a process of this runtime")
        main = self._find(target).main
        assert main is not None
        return main


def _check_thawed(container: _Container) -> None:
    if container.spec.group.frozen():
        raise WrongState(f"container {container.spec.id} is frozen: nothing can be started in it", hint="thaw it first")


def _state_of(container: _Container) -> State:
    assert container.main is not None
    return State(container.phase, container.main.pid, container.main.exit, container.notes)


def _oom_judge(container: _Container) -> Callable[[Exit], Exit]:
    """The kernel's out-of-memory killer uses SIGKILL like everybody; only the group's counter tells."""

    def judge(how: Exit) -> Exit:
        if how.signal not in (signal.SIGKILL, None):
            return how
        kills = container.spec.group.usage().oom_kills
        known, container.oom_kills = container.oom_kills, max(kills, container.oom_kills)
        return replace(how, oom=kills > known and how.signal == signal.SIGKILL)

    return judge


def _give_pipes(stdio: Stdio, spec: ContainerSpec, account: Account) -> None:
    """A process may open its output anew (/dev/stdout) only if it owns the pipe; crun cannot see to it, as the pipe's
    owner is nobody inside. Nor does it see to a terminal's."""
    ids = spec.sandbox.ids
    if stdio.console is not None:
        stdio.console.owner = ids.uid(account.uid)
    for fd in (stdio.stdin, stdio.stdout, stdio.stderr):
        if fd is not None and stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, ids.uid(account.uid), ids.gid(account.gid))


def _start_by_fifo(fifo: Path) -> bool:
    """Do what `crun start` does, without a program (0.1 ms instead of 3); False if anything is not as expected."""
    try:
        if not stat.S_ISFIFO(fifo.lstat().st_mode):
            return False
        fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fifo.unlink()  # first: a second start must not find it
        os.write(fd, b"\0")
    except BrokenPipeError:
        pass  # it has ended meanwhile, which is noticed elsewhere
    finally:
        os.close(fd)
    return True


def check_reachable(rootfs: Path) -> None:
    """Raises BadRequest if another user than root cannot walk to `rootfs`."""
    if not rootfs.is_dir():
        raise BadRequest(f"the root file system {rootfs} does not exist")
    for directory in rootfs.parents:
        if not directory.stat().st_mode & stat.S_IXOTH:
            raise BadRequest(
                f"the root user of a container cannot walk through {directory} to its root file system",
                hint=f"chmod o+x {directory}",
            )
