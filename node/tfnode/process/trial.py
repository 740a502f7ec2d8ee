"""Try, in a process that is thrown away, what can only be known by trying: `python -m tfnode.process.trial DIRECTORY`.

Writes one JSON object to stdout: for each trial an empty string, or the kernel's words. All it makes are namespaces and
mounts of its own, gone with it, and files below DIRECTORY, which is the caller's to remove.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tfcore.errors import HostLacks
from tfnode.kernel.confinement import confined
from tfnode.process import kernel, userns

FICLONE = 0x4004_9409
"""linux/fs.h: let a file share the blocks of another."""


def reflink(scratch: Path) -> None:
    """Copy a file without copying its blocks."""
    with (scratch / "blocks").open("wb+") as source, (scratch / "shared").open("wb") as target:
        source.write(b"x" * 65536)
        source.flush()
        fcntl.ioctl(target, FICLONE, source.fileno())


def user_namespace(_scratch: Path) -> None:
    """Make a user namespace, in a child so that this process stays what it is."""
    in_child(lambda: kernel.unshare(kernel.CLONE_NEWUSER))


def namespaces(scratch: Path) -> None:
    """Make the agent's namespaces, and what shows their processes: a machine's own container may have hidden parts of /proc,
    and then the kernel lets nobody in a user namespace have another."""
    kernel.unshare(kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWNET)
    kernel.receive_mounts_only()
    (place := scratch / "proc").mkdir()
    in_child(lambda: kernel.mount("proc", place, "proc"))


def in_child(step: Callable[[], None]) -> None:
    """Take a step in a process of its own, which is pid 1 of the pid namespace if there is a new one."""
    pid = os.fork()
    if pid == 0:
        try:
            step()
            os._exit(0)
        except OSError as refused:
            os._exit(refused.errno or 1)
    number = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if number:
        raise OSError(number, os.strerror(number))


def overlay(scratch: Path) -> None:
    """Mount an overlay whose upper is below `scratch`, and see a file come through it and go from it."""
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.receive_mounts_only()
    os.chdir(scratch)  # relative names cannot contain what overlayfs takes for a separator
    for name in ("lower", "upper", "work", "merged"):
        Path(name).mkdir()
    Path("lower/file").touch()
    marks = ",userxattr" if confined() else ""
    kernel.mount("overlay", Path("merged"), "overlay", 0, f"lowerdir=lower,upperdir=upper,workdir=work{marks}")
    Path("merged/file").unlink()
    Path("merged/other").touch()
    if os.listdir("merged") != ["other"]:
        raise OSError("an overlay shows other files than it should")


TRIALS: tuple[Callable[[Path], None], ...] = (reflink, user_namespace, namespaces, overlay)


def words_of(trial: Callable[[Path], None], scratch: Path) -> str:
    """What goes wrong in `trial`; empty if nothing does."""
    try:
        trial(scratch)
    except OSError as refused:
        return refused.strerror or str(refused)
    return ""


def main() -> None:
    """All trials, in an order in which none spoils the next; an ordinary user's as root of a user namespace."""
    scratch = Path(sys.argv[1])
    try:
        userns.become_root()
    except HostLacks as lacking:
        found = dict.fromkeys((trial.__name__ for trial in TRIALS), "no user namespace")
        found["user_namespace"] = lacking.message
    else:
        found = {trial.__name__: words_of(trial, scratch) for trial in TRIALS}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
