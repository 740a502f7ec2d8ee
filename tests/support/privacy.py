"""Namespaces of their own for tests that mount, so that nothing of a test is ever seen by the machine.

A mount namespace belongs to a thread. `private_mounts` moves the calling thread, pytest's, into one and back; programs it
starts and threads it makes are in there with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from tfnode.cgroups import layout
from tfnode.kernel.mounts import mount

CLONE_FS = 0x200
CLONE_NEWNS = 0x0002_0000
MS_REC_PRIVATE = 0x4000 | 0x4_0000
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def private_mounts() -> Iterator[None]:
    """The calling thread's mounts are its own; at the end all that was mounted meanwhile is gone.

    Threads started meanwhile stay behind.
    """
    home, here = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY), os.getcwd()
    _checked(_libc.unshare(CLONE_NEWNS), "unshare")
    try:
        _checked(_libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None), "making mounts private")
        yield
    finally:
        _go_home(home, here)


def _go_home(home: int, here: str) -> None:
    try:
        # A thread that shares the root directory, if only because it has not quite ended, would keep us here.
        _checked(_libc.unshare(CLONE_FS), "unshare")
        _checked(_libc.setns(home, CLONE_NEWNS), "going back")
    finally:
        os.close(home)
    os.chdir(here)


@contextlib.contextmanager
def adopting_orphans() -> Iterator[None]:
    """This process becomes the parent of its descendants' orphans, as pid 1 is, and must be left with none of them."""
    before = children()
    _checked(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")
    try:
        yield
    finally:
        _checked(_libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0), "prctl")
    left = children() - before
    assert not left, f"processes {sorted(left)} were not waited for"


def children() -> set[int]:
    """The children of this process, zombies included."""
    lists = (Path(f"/proc/self/task/{task}/children") for task in os.listdir("/proc/self/task"))
    return {int(pid) for file in lists for pid in _read_if_there(file).split()}


def _read_if_there(file: Path) -> str:
    """A thread may end between being listed and being looked at."""
    with contextlib.suppress(FileNotFoundError):
        return file.read_text()
    return ""


def hide_cgroups() -> None:
    """Make this mount namespace one of a machine without control groups."""
    mount("tmpfs", Path("/sys/fs/cgroup"), "tmpfs", 0, "mode=755,size=4k")


def show_only_cgroup2() -> None:
    """Make this mount namespace one of a machine with nothing but version 2, if it is not."""
    if layout.see().unified is None:
        mount("cgroup2", Path("/sys/fs/cgroup"), "cgroup2", options=",".join(options_of_cgroup2()))


def options_of_cgroup2() -> set[str]:
    """How it is mounted: they are the whole machine's, and who mounts it without them takes them away."""
    table = Path("/proc/thread-self/mountinfo").read_text().splitlines()
    mounted = [line.rpartition(" ")[2] for line in table if " - cgroup2 " in line]
    return {option for options in mounted for option in options.split(",")} - {"rw", "ro"}
