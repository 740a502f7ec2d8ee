"""Finds out, by trying, whether a directory's file system can carry the overlay driver.

The kernel mounts an overlay read-only, or fails at the first rename, on a file system that lacks something; so everything a
container would do is done once, through a mount that is nowhere attached.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from tfcore.errors import HostLacks, MountFailed
from tfnode.kernel.confinement import opaque_mark
from tfnode.kernel.mounts import open_overlay
from tfnode.storage.interface import OverlayMount, Probe
from tfnode.storage.removal import remove_tree


def probe(root: Path) -> Probe:
    """Whether the overlay driver works below `root`, an existing directory; it is left as it was."""
    try:
        trial = Path(tempfile.mkdtemp(prefix="probe-", dir=root))
        try:
            _try_out(trial)
        finally:
            remove_tree(trial)
    except MountFailed as refused:
        return Probe(False, f"overlay: the kernel refuses to mount one on {root}: {refused}{_need_for_root()}")
    except HostLacks as lacking:
        return Probe(False, f"overlay: {lacking}")
    except OSError as error:
        return Probe(False, f"overlay: {root} cannot carry one: {error.strerror or error}{_need_for_root()}")
    return Probe(True, f"overlay works on {root}")


def _need_for_root() -> str:
    return "" if os.geteuid() == 0 else " (it takes root)"


def _try_out(trial: Path) -> None:
    lower, upper, work = (trial / name for name in ("lower", "upper", "work"))
    for directory in (lower, upper, work, lower / "replaced"):
        directory.mkdir()
    for name in ("changed", "deleted", "renamed", "replaced/old"):
        (lower / name).write_text("lower")
    mount = open_overlay(OverlayMount((lower,), upper, work, volatile=True))
    try:
        _do_what_containers_do(mount)
    finally:
        os.close(mount)
    _check_marks(upper)


def _do_what_containers_do(mount: int) -> None:
    fd = os.open("changed", os.O_WRONLY | os.O_APPEND, dir_fd=mount)
    os.close(fd)
    os.unlink("deleted", dir_fd=mount)
    os.rename("renamed", "renamed-to", src_dir_fd=mount, dst_dir_fd=mount)
    os.unlink("replaced/old", dir_fd=mount)
    os.rmdir("replaced", dir_fd=mount)
    os.mkdir("replaced", dir_fd=mount)


def _check_marks(upper: Path) -> None:
    hidden = (upper / "deleted").lstat()
    if not (stat.S_ISCHR(hidden.st_mode) and hidden.st_rdev == 0):
        raise HostLacks(f"this file system cannot keep the mark of a deleted file ({upper.parent.parent})")
    if os.getxattr(upper / "replaced", opaque_mark()) != b"y":
        raise HostLacks(f"this file system cannot keep the mark of a replaced directory ({upper.parent.parent})")
