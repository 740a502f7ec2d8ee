"""Copies what is in a regular file: by sharing blocks where the file system can, without filling holes where it cannot.

Knows nothing of names, owners and times.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

FICLONE = 0x4004_9409
"""linux/fs.h; the number is the same on x86 and arm."""

_CANNOT_SHARE = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EXDEV})
_CANNOT_COPY_RANGE = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EINVAL})
_BUFFER = 1 << 20


class FileData:
    """Copies contents from one file system to one other; remembers what these two cannot do."""

    def __init__(self) -> None:
        self._shares = True
        self._copies_ranges = True

    def copy(self, source: int, target: int, size: int) -> None:
        """Give the empty file `target` the `size` bytes of `source`, holes included.

        Raises:
            OSError: of the disk; or the file shrank meanwhile.
        """
        if size and self._shares and self._share(source, target):
            return
        end = 0
        for start, end in data_segments(source, size):
            self._copy_range(source, target, start, end)
        if end < size:
            os.ftruncate(target, size)

    def _share(self, source: int, target: int) -> bool:
        try:
            fcntl.ioctl(target, FICLONE, source)
        except OSError as error:
            if error.errno in _CANNOT_SHARE:
                self._shares = False
            elif (
                error.errno != errno.EINVAL
            ):  # EINVAL is about this one file: a swap file, or without checksums on btrfs
                raise
            return False
        return True

    def _copy_range(self, source: int, target: int, start: int, end: int) -> None:
        while start < end:
            copied = self._in_kernel(source, target, start, end - start) if self._copies_ranges else None
            if copied is None:
                copied = _through_memory(source, target, start, end - start)
            if copied == 0:
                raise OSError(errno.ESTALE, "the file shrank while it was copied")
            start += copied

    def _in_kernel(self, source: int, target: int, start: int, count: int) -> int | None:
        try:
            return os.copy_file_range(source, target, count, start, start)
        except OSError as error:
            if error.errno not in _CANNOT_COPY_RANGE:
                raise
        self._copies_ranges = False
        return None


def data_segments(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file of `size` bytes has data: (start, end) of each piece between holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole remains
                return
            raise
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, end


def shares_blocks(directory: Path) -> bool:
    """True if files in `directory` can share blocks (xfs with reflink, btrfs, bcachefs, zfs from 2.2)."""
    with TemporaryFile(dir=directory) as source, TemporaryFile(dir=directory) as target:
        source.write(b"\0" * 4096)
        source.flush()
        try:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        except OSError:
            return False
    return True


def _through_memory(source: int, target: int, start: int, count: int) -> int:
    data = os.pread(source, min(count, _BUFFER), start)
    written = 0
    while written < len(data):
        written += os.pwrite(target, data[written:], start + written)
    return len(data)
