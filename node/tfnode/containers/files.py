"""Put a file into a container and fetch one out of it, through the container's root and without a process inside.

The root is a descriptor: of the mounted tree before the first process, of /proc/PID/root afterwards. The container may swap
files for links while we look, so the kernel resolves every path within that root (`tfnode.kernel.paths`), a file is looked
at before it is opened (opening a fifo would wait, opening a device would do something), and what is then opened is the very
thing that was looked at. Knows nothing of the wire.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Self

from tfcore.errors import WrongState
from tfnode.containers.fileaccess import (
    Owner,
    check_kind,
    check_storage,
    checked_path,
    mount_of,
    reopened,
    seen,
    told,
)
from tfnode.images.shift import IdShift
from tfnode.kernel.paths import make_directories, split

NEW_MODE = 0o644
PIECE = 256 << 10
"""Most bytes read at once."""

MOST_LINKS = 40
"""As in Linux's own path walk."""


def put(
    root: int,
    path: str,
    content: Iterable[bytes],
    *,
    ids: IdShift,
    mode: int | None = None,
    uid: int | None = None,
    gid: int | None = None,
) -> int:
    """Write a file; all of it appears at once, or nothing changes (seed 001: a new path is created).

    As `Arriving`, in one go; its size in bytes.

    Raises:
        As `Arriving`. Exception: whatever `content` raises.
    """
    arriving = Arriving(root, path, ids=ids, mode=mode, uid=uid, gid=gid)
    try:
        for piece in content:
            arriving.write(piece)
        return arriving.finish()
    finally:
        arriving.discard()


def fetch(root: int, path: str) -> tuple[int, Iterator[bytes]]:
    """Open a file for reading; links are followed within the container.

    Args:
        root: descriptor of the container's root directory; stays the caller's and may be closed before the file is read.
        path: absolute, as seen in the container.

    Returns:
        Its size in bytes, and its content in pieces, which must be read to the end or closed. What is appended meanwhile is
        left out. The pieces raise WrongState if the file is cut short meanwhile.

    Raises:
        BadRequest: the path is not absolute, has `..` in it, or means something that is no regular file.
        NotFound: there is no such file.
        WrongState: it cannot be read.
    """
    checked_path(path)
    with told(path), seen(root, path) as looked_at:
        status = os.fstat(looked_at)
        check_kind(path, status)
        check_storage(path, looked_at)
        reading = reopened(looked_at, os.O_RDONLY)
    return status.st_size, _pieces(reading, path, status.st_size)


class Arriving:
    """A file on its way in: `write` as often as there is something, then `finish`, and `discard` in any case.

    If its path is a link, the file it means is written. Directories missing on the way are made, on a link's way too:
    images have an /etc/resolv.conf that points into an empty /run. An existing file keeps its mode and owner unless told
    otherwise, and is replaced, not overwritten: who has it open goes on seeing the old one. Only a file mounted on its own,
    which cannot be replaced, is overwritten in place.
    """

    def __init__(
        self,
        root: int,
        path: str,
        *,
        ids: IdShift,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
    ) -> None:
        """
        Args:
            root: descriptor of the container's root directory; stays the caller's, and may be closed then.
            path: absolute, as seen in the container.
            ids: the container's ids on disk.
            mode: permission bits; those of the existing file, or 0644, by default.
            uid: owner inside the container; the existing file's, or root, by default.
            gid: likewise its group.

        Raises:
            BadRequest: the path is not absolute, has `..` in it, or means something that is no regular file.
            NotFound: a directory on the way is a link that leads nowhere.
            WrongState: it cannot be changed, being read-only or the kernel's.
            Exhausted: there is no space; so do the methods. After any error a file that is replaced is as it was; new
                directories may remain.
        """
        self.path = checked_path(path)
        self.size = 0
        self._unfinished: str | None = None
        with ExitStack() as opened, told(path):
            self._directory, self._name = _destination(root, path, ids)
            opened.callback(os.close, self._directory)
            check_storage(path, self._directory)
            there = self._existing()
            if there is not None:
                opened.callback(os.close, there)
            status = None if there is None else os.fstat(there)
            if status is not None:
                check_kind(path, status)
            self._owner = Owner(
                mode=_first(mode, status and status.st_mode & 0o7777, NEW_MODE),
                uid=_first(None if uid is None else ids.uid(uid), status and status.st_uid, ids.uid(0)),
                gid=_first(None if gid is None else ids.gid(gid), status and status.st_gid, ids.gid(0)),
            )
            mounted = there is not None and mount_of(there) != mount_of(self._directory)
            self._fd = reopened(_first(there), os.O_WRONLY | os.O_TRUNC) if mounted else self._begin_anew()
            opened.callback(os.close, self._fd)
            self._opened = opened.pop_all()

    def _existing(self) -> int | None:
        try:
            return os.open(self._name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._directory)
        except FileNotFoundError:
            return None

    def _begin_anew(self) -> int:
        """A new file beside the old one, whose name it will take."""
        name = f".{secrets.token_hex(8)}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=self._directory)
        self._unfinished = name
        return fd

    def write(self, piece: bytes | memoryview) -> None:
        """Add to it. Exhausted if there is no space."""
        left = memoryview(piece)
        self.size += len(left)
        with told(self.path):
            while left:
                left = left[os.write(self._fd, left) :]

    @property
    def fd(self) -> int:
        """To be written to by somebody else, who knows of holes; stays this one's."""
        return self._fd

    def finish(self, *, modified: int | None = None) -> int:
        """Let it be the file; its size in bytes.

        Args:
            modified: its time, in nanoseconds since 1970; now, by default.
        """
        with told(self.path):
            self._owner.give(self._fd)
            if modified is not None:
                os.utime(self._fd, ns=(modified, modified))
            if self._unfinished is not None:
                os.rename(self._unfinished, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
                self._unfinished = None
        return self.size

    def discard(self) -> None:
        """Let go of it; what is not finished has never been there. Twice is harmless."""
        if self._unfinished is not None:
            unfinished, self._unfinished = self._unfinished, None
            self._opened.callback(partial(os.unlink, unfinished, dir_fd=self._directory))
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def _destination(root: int, path: str, ids: IdShift) -> tuple[int, str]:
    """The directory, opened, and the name in it that `path` means once links at its end are followed."""
    for _ in range(MOST_LINKS):
        where, name = split(path)
        directory = make_directories(root, where, uid=ids.uid(0), gid=ids.gid(0))
        link = _link(directory, name)
        if link is None:
            return directory, name
        os.close(directory)
        path = link if link.startswith("/") else f"{where}/{link}"
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _link(directory: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:  # no link, or not there
        return None


def _pieces(fd: int, path: str, size: int) -> Iterator[bytes]:
    try:
        while size > 0:
            with told(path):
                piece = os.read(fd, min(size, PIECE))
            if not piece:
                raise WrongState(f"{path!r} was cut short while it was being read", retryable=True)
            size -= len(piece)
            yield piece
    finally:
        os.close(fd)
