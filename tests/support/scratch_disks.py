"""File systems for tests, each in a file on a loop device and mounted where only the tests' own process sees it.

The kernel takes mount and loop device away even if the process is killed. The files are in memory where there is room for
that: a file system that flushes at every snapshot would otherwise wait for the machine's own disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.privacy import private_mounts

MEMORY = Path("/dev/shm")


def roomy_memory(size: int) -> Path | None:
    """A directory in memory with room for more than `size` bytes; None if there is none."""
    free = shutil.disk_usage(MEMORY).free if os.access(MEMORY, os.W_OK) else 0
    return MEMORY if free > size else None


@contextlib.contextmanager
def disk_file(size: int) -> Iterator[Path]:
    """A sparse file of `size` bytes, gone after the block."""
    with tempfile.TemporaryDirectory(prefix="tf-disk-", dir=roomy_memory(size)) as place:
        with (Path(place) / "disk").open("wb") as disk:
            disk.truncate(size)
        yield Path(place) / "disk"


@contextlib.contextmanager
def loop_mounted(point: Path, mkfs: Sequence[str], *, size: int) -> Iterator[Path]:
    """An empty file system, mounted for the length of the block; without loop devices the tests are skipped.

    Args:
        point: a directory to mount it on.
        mkfs: the program that makes it and its options; the file's name is added.
        size: of the disk in bytes.
    """
    if shutil.which(mkfs[0]) is None:
        pytest.skip(f"{mkfs[0]} is not installed (node/install-packages.sh tests)")
    with disk_file(size) as disk, private_mounts():
        subprocess.run([*mkfs, disk], check=True, capture_output=True)
        done = subprocess.run(["mount", "-o", "loop", disk, point], capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no loop device to be had: {done.stderr.decode().strip()}")
        yield point
        subprocess.run(["umount", point], check=True)
