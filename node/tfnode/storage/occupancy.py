"""Counts what a directory tree occupies, and sees how full its disk is. Knows nothing of storage drivers."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from tfnode.storage.beneath import DIRECTORY, open_directory
from tfnode.storage.interface import Usage

BLOCK = 512
"""The unit of st_blocks (stat(2))."""

NEARLY = 0.05
"""The share of a disk that is free when it is nearly full."""

SCANTY = 256 * 1024 * 1024
"""Bytes that are enough on the largest disk."""


def is_nearly_full(path: Path) -> bool:
    """True if hardly a block, or hardly an inode, is free on the file system of `path`. OSError if it cannot be asked."""
    disk = os.statvfs(path)
    blocks = disk.f_bavail * disk.f_frsize < min(disk.f_blocks * disk.f_frsize * NEARLY, SCANTY)
    return blocks or disk.f_favail < disk.f_files * NEARLY / 10


def occupied(top: Path) -> Usage:
    """Bytes allocated and inodes used by `top` and everything in it; a file with several names counts once.

    What vanishes while it is counted is left out.

    Raises:
        OSError: `top` is not a directory, or cannot be read.
    """
    fd = os.open(top, DIRECTORY)
    try:
        counts = _Counts()
        pending = [""]
        while pending:
            pending += counts.add_directory(fd, pending.pop())
        return Usage(counts.blocks * BLOCK, counts.inodes)
    finally:
        os.close(fd)


class _Counts:
    def __init__(self) -> None:
        self.blocks = 0
        self.inodes = 0
        self._seen: set[tuple[int, int]] = set()

    def add_directory(self, top: int, path: str) -> list[str]:
        """Count one directory and what is in it, except directories: their paths are returned."""
        try:
            here = open_directory(top, path)
        except FileNotFoundError:
            return []
        try:
            self._add(os.fstat(here))
            with os.scandir(here) as entries:
                return [f"{path}/{entry.name}" if path else entry.name for entry in entries if self._is_next(entry)]
        finally:
            os.close(here)

    def _is_next(self, entry: os.DirEntry[str]) -> bool:
        if entry.is_dir(follow_symlinks=False):
            return True
        with suppress(FileNotFoundError):
            self._add(entry.stat(follow_symlinks=False))
        return False

    def _add(self, status: os.stat_result) -> None:
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) in self._seen:
                return
            self._seen.add((status.st_dev, status.st_ino))
        self.blocks += status.st_blocks
        self.inodes += 1
