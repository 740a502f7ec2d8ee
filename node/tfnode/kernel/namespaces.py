"""User and network namespaces as descriptors: how they are made, entered and named.

A network namespace is a property of each *thread*, and a socket belongs for ever to the namespace it was opened in.
So nothing here ever moves the calling thread: work is done in a helper thread that enters the namespace and ends, and
what it opened there can be used from anywhere. Knows nothing of addresses, links or containers.
"""

from __future__ import annotations

import ctypes
import os
import select
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from tfcore.errors import BadRequest, CommandFailed, DeadlineExceeded, HostLacks
from tfnode.kernel.confinement import confined

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
"""linux/sched.h"""
DEADLINE = 10.0
"""Seconds the waiting process has to enter its namespaces; it takes two milliseconds."""
NO_NAMESPACES = "see /proc/sys/user/max_user_namespaces and, on Debian, kernel.unprivileged_userns_clone"

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class SandboxNamespaces:
    """The two namespaces that outlive a container's processes. They live as long as these descriptors, or anybody
    inside.
    """

    user: int
    net: int

    def close(self) -> None:
        """Let go of both; the kernel destroys them when nobody else holds them."""
        os.close(self.net)
        os.close(self.user)


def make_sandbox_namespaces(uid_base: int, gid_base: int, size: int) -> SandboxNamespaces:
    """A user namespace and a network namespace that belongs to it.

    A process with more than one thread can neither fork safely nor enter a new user namespace, so a tiny process enters
    them, waits until it has been given its ids, and ends once descriptors of both are held here.

    Args:
        uid_base: the user id outside that is 0 inside.
        gid_base: likewise for groups.
        size: how many ids of each kind there are inside.

    Raises:
        BadRequest: a base of 0, which would be the machine's root, or a size below 1.
        HostLacks: no `unshare`, or the kernel grants no more namespaces.
        CommandFailed: the kernel refused the ids.
        DeadlineExceeded: the waiting process did not answer.
    """
    least = 0 if confined() else 1
    if uid_base < least or gid_base < least or size < 1:
        raise BadRequest(f"cannot map {size} ids from user {uid_base} and group {gid_base}: all must be at least 1")
    with _start_waiting_process() as process:
        try:
            _await_echo(process)
            _map_ids(process.pid, "uid_map", uid_base, size)
            _map_ids(process.pid, "gid_map", gid_base, size)
            return _open_namespaces(process.pid)
        finally:
            process.kill()


def _start_waiting_process() -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            ["unshare", "--user", "--net", "cat"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError as missing:
        raise HostLacks("unshare is not installed", hint="install the package util-linux") from missing


def _await_echo(process: subprocess.Popen[bytes]) -> None:
    """`cat` answers only after unshare has entered the namespaces and become it."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with suppress(BrokenPipeError):  # it has ended already: its own words are read below
        process.stdin.write(b".")
    answer = select.poll()  # select(2) knows descriptors below 1024 only
    answer.register(process.stdout, select.POLLIN)
    if not answer.poll(DEADLINE * 1000):
        raise DeadlineExceeded(f"no namespaces for a sandbox after {DEADLINE:g} s: unshare has not answered")
    if process.stdout.read(1) != b".":
        words = process.stderr.read().decode("utf-8", "replace").strip()
        raise HostLacks(f"the kernel gives no namespaces for a sandbox: {words}", hint=NO_NAMESPACES)


def _map_ids(pid: int, name: str, base: int, size: int) -> None:
    """Written by a process with the privilege in the parent namespace, so setgroups stays allowed: services drop
    groups by it.
    """
    path = Path(f"/proc/{pid}/{name}")
    try:
        path.write_text(f"0 {base} {size}\n")
    except OSError as refused:
        raise CommandFailed(
            f"the kernel refused to map {size} ids from {base} ({name}): {refused.strerror}",
            hint="the node must run as root, and the range must lie inside its own",
        ) from refused


def _open_namespaces(pid: int) -> SandboxNamespaces:
    user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return SandboxNamespaces(user, os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        os.close(user)
        raise


def current_netns() -> int:
    """A descriptor of the calling thread's network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def process_netns(pid: int) -> int:
    """A descriptor of the network namespace of process `pid`; OSError if there is no such process."""
    return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def make_netns() -> int:
    """A descriptor of a fresh network namespace that belongs to the caller's user namespace; OSError if the kernel
    refuses.
    """
    return _in_helper_thread(_leave_for_new_netns)


def in_netns(netns: int, function: Callable[[], T]) -> T:
    """Run `function` in a thread that has entered `netns`; its result or its exception is the caller's.

    Sockets and descriptors it opens stay usable afterwards and stay in that namespace; /proc/sys/net is that
    namespace's too.
    """

    def entered() -> T:
        _check(_libc.setns(netns, CLONE_NEWNET))
        return function()

    return _in_helper_thread(entered)


def _leave_for_new_netns() -> int:
    _check(_libc.unshare(CLONE_NEWNET))
    return current_netns()


class _Helper(threading.Thread, Generic[T]):
    """A thread that keeps what its function returned or raised."""

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__(name="in-netns")
        self._function = function
        self._result: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result.append(self._function())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._error = error

    def result(self) -> T:
        self.join()
        if self._error is not None:
            raise self._error
        return self._result[0]


def _in_helper_thread(function: Callable[[], T]) -> T:
    helper = _Helper(function)
    helper.start()
    return helper.result()


def _check(status: int) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
