"""One file of a container, held open: read and written at any place, as sftp does. Knows nothing of the wire.

What is opened is a regular file, looked at before (see `files`), and stays the same file whatever is renamed meanwhile.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from tfcore.errors import BadRequest
from tfnode.containers.fileaccess import (
    Owner,
    check_kind,
    check_storage,
    checked_path,
    place_of,
    reopened,
    seen,
    told,
)
from tfnode.containers.filetree import Wanted, change_open
from tfnode.images.shift import IdShift


@dataclass(frozen=True)
class Manner:
    """How a file is to be opened; see open(2).

    Attributes:
        create: make it if it is not there, with this owner.
        exclusive: with `create`: it must not be there.
    """

    read: bool = True
    write: bool = False
    append: bool = False
    create: Owner | None = None
    exclusive: bool = False
    truncate: bool = False

    @property
    def flags(self) -> int:
        """For the kernel."""
        way = os.O_RDWR if self.read and self.write else os.O_WRONLY if self.write else os.O_RDONLY
        return way | (os.O_APPEND if self.append else 0) | (os.O_TRUNC if self.truncate else 0)


class HeldFile:
    """Open until `close`. Synchronous: for worker threads, one at a time."""

    def __init__(self, root: int, path: str, manner: Manner, ids: IdShift) -> None:
        """
        Args:
            root: descriptor of the container's root directory; stays the caller's.
            path: absolute, as seen in the container; links are followed within it.
            ids: the container's ids on disk.

        Raises:
            BadRequest: not a path, or no regular file; nothing to be done with it. NotFound: it is not there, nor its
                directory. WrongState: it is there (`exclusive`), or cannot be changed, or is the kernel's.
        """
        self._path = checked_path(path)
        self._ids = ids
        if (manner.append or manner.truncate or manner.create) and not manner.write:
            raise BadRequest(f"{path!r} is to be changed, but not opened for writing")
        with told(path):
            self._fd = self._open(root, manner)

    def _open(self, root: int, manner: Manner) -> int:
        made = self._make(root, manner) if manner.create else None
        if made is not None:
            return made
        with seen(root, self._path) as fd:
            check_kind(self._path, os.fstat(fd))
            check_storage(self._path, fd)
            return reopened(fd, manner.flags)

    def _make(self, root: int, manner: Manner) -> int | None:
        """The new file; None if it is there already and may be."""
        assert manner.create is not None
        flags = manner.flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with place_of(root, self._path) as (directory, name):
                fd = os.open(name, flags, 0o600, dir_fd=directory)
        except FileExistsError:
            if manner.exclusive:
                raise
            return None
        manner.create.give(fd)
        return fd

    def status(self) -> os.stat_result:
        """What the kernel says of it."""
        return os.fstat(self._fd)

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset`; less only at its end.

        Raises:
            WrongState: it was not opened for reading, or cannot be read.
        """
        found = bytearray()
        with told(self._path):
            while piece := os.pread(self._fd, size - len(found), offset + len(found)):
                found += piece
                if len(found) == size:
                    break
        return bytes(found)

    def write(self, offset: int, data: bytes) -> None:
        """Write all of it at `offset`, or at the end if it was opened to append.

        Raises:
            WrongState: it was not opened for writing. Exhausted: there is no space; a part may have been written.
        """
        left = memoryview(data)
        with told(self._path):
            while left:
                written = os.pwrite(self._fd, left, offset)
                left, offset = left[written:], offset + written

    def change(self, wanted: Wanted) -> None:
        """Its mode, owner, size or times; errors as `filetree.change`."""
        with told(self._path):
            change_open(self._path, self._fd, wanted, ids=self._ids)

    def sync(self) -> None:
        """Have it on the disk."""
        with told(self._path):
            os.fsync(self._fd)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)
