"""A disk for one run: everybody's data lie on the same kind of file system, a fresh one, whatever the machine's own is like.

A file of its own, ext4 in it, mounted through a loop device. (A file system that has seen many files come and go, or one
without a journal, makes whoever creates many files look bad, and differently in every round.) The mount is to be made in a
mount namespace of the run's own, where it ends with the last process.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tfcore.commands import run
from tfcore.errors import CommandFailed, HostLacks

SIZE = 16 * 1024**3
"""Bytes the disk can hold; the file is sparse."""

AT_ONCE = "lazy_itable_init=0,lazy_journal_init=0"
"""ext4 would otherwise go on initialising itself in the background while the clock runs."""


@dataclass(frozen=True)
class Ground:
    """A directory, and a word on the file system it is on."""

    directory: Path
    file_system: str


@contextmanager
def fresh_disk() -> Iterator[Ground]:
    """A new ext4 on a loop device; an ordinary temporary directory where there cannot be one. Removed afterwards."""
    home = Path(tempfile.mkdtemp(prefix="tf-bench-"))
    mounted = _could_mount(home)
    try:
        if mounted:
            yield Ground(home / "disk", "fresh ext4 on a loop device")
        else:
            yield Ground(home, "a temporary directory: a disk of its own could not be made")
    finally:
        if mounted:
            run(["umount", "--lazy", str(home / "disk")], timeout=120)
        shutil.rmtree(home, ignore_errors=True)


def _could_mount(home: Path) -> bool:
    try:
        _mount_fresh(home)
    except (CommandFailed, HostLacks):
        return False
    return True


def _mount_fresh(home: Path) -> None:
    image = home / "image"
    with image.open("wb") as file:
        os.truncate(file.fileno(), SIZE)
    run(["mkfs.ext4", "-q", "-F", "-E", AT_ONCE, str(image)], timeout=120)
    (home / "disk").mkdir()
    run(["mount", "-o", "loop", str(image), str(home / "disk")])
    image.unlink()
