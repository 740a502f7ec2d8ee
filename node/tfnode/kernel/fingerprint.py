"""What a directory tree looks like to somebody who only wants to know whether anything in it was touched.

Reads no content: the kernel stamps every change of a file, its name, mode, owner or xattrs with a change time that nobody
can set. Two things escape it. A page that is mapped for writing is stamped when it is written to first, and not again until
it has been written back, which on a tmpfs is never; `contents` is for those. And the stamp moves in ticks, so what was
changed in the very tick in which a fingerprint was taken may be changed again unseen: `is_fresh` tells.

The tree may be somebody else's who changes it while we look: directories are entered by descriptor, links never followed,
other file systems left alone. Knows nothing of containers.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator

from tfcore.errors import Exhausted

MOST = 2_000
"""Entries of a tree that are looked at; with more, looking takes longer than what it saves."""

DEEPEST = 200
"""Directories below each other that are entered; each takes a descriptor."""

COARSE = 5
"""CLOCK_REALTIME_COARSE of linux/time.h: the clock that stamps are taken from."""

SECOND = 1_000_000_000
"""Nanoseconds."""

_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


Stamp = tuple[int, ...]
"""One entry as the kernel describes it: change time (in nanoseconds), modification time, inode, mode, links, owner, group,
size, device. A plain tuple, since there are many and each rollback makes them anew."""

MODE = 3
"""Where a stamp has the mode."""

SIZE = 7
"""Where it has the size."""

Fingerprint = dict[str, Stamp]
"""Paths below the top ("" is the top itself) and their stamps."""


def fingerprint(top: int, *, most: int = MOST) -> Fingerprint:
    """The stamps of everything below a directory.

    Args:
        top: its descriptor; stays the caller's.
        most: entries at most.

    Raises:
        Exhausted: there are more, or too many below each other.
        OSError: something could not be looked at, for instance because it vanished meanwhile.
    """
    own = os.fstat(top)
    found = {"": _stamp(own)}
    for path, status, _, _ in _walk(top, "", own.st_dev, DEEPEST):
        found[path] = _stamp(status)
        if len(found) > most:
            raise Exhausted(f"a tree of more than {most} entries")
    return found


def contents(top: int, *, most: int) -> bytes | None:
    """A digest of all content of the regular files below a directory; None if that is more than `most` bytes.

    Args:
        top: its descriptor; stays the caller's.

    Raises:
        OSError: something could not be read.
        Exhausted: there are too many directories below each other.
    """
    digest = hashlib.blake2b()
    for path, status, directory, name in _walk(top, "", os.fstat(top).st_dev, DEEPEST):
        if stat.S_ISREG(status.st_mode):
            most -= status.st_size
            if most < 0:
                return None
            content = _content(directory, name, status)
            digest.update(f"{path}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
    return digest.digest()


def first_difference(before: Fingerprint, now: Fingerprint) -> str:
    """The path of something that differs, a thing rather than the directory it is in; empty if nothing does."""
    changed = [path for path in before.keys() | now.keys() if before.get(path) != now.get(path)]
    return f"/{max(changed)}" if changed else ""


def doors(taken: Fingerprint) -> list[str]:
    """The paths of sockets and pipes: whoever sees them can talk to whoever has opened them, and no stamp tells."""
    modes = ((path, stamp[MODE]) for path, stamp in taken.items())
    return [f"/{path}" for path, mode in modes if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)]


def is_fresh(taken: Fingerprint, began: int) -> bool:
    """True if something may have been changed again, unseen, in the tick in which it had been changed already.

    Args:
        began: `now` before the fingerprint was taken.
    """
    return any(changed >= began for changed, *_ in taken.values())


def counts_seconds(taken: Fingerprint) -> bool:
    """True if the file system seems to keep no more of a time than whole seconds (ext4 with small inodes): a second is too
    long for anybody to tell what happened in it."""
    return any(changed % SECOND == 0 for changed, *_ in taken.values())


def now() -> int:
    """The time as stamps have it: it moves in ticks."""
    return time.clock_gettime_ns(COARSE)


def _walk(top: int, prefix: str, device: int, deepest: int) -> Iterator[tuple[str, os.stat_result, int, str]]:
    """Everything below `top`: path, status, and by which directory and name it can be opened until the next step."""
    if deepest == 0:
        raise Exhausted(f"more than {DEEPEST} directories below each other")
    with os.scandir(top) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            path = prefix + entry.name
            if status.st_dev != device:  # mounted there: its stamps are another matter
                continue
            yield path, status, top, entry.name
            if stat.S_ISDIR(status.st_mode):
                below = os.open(entry.name, _ENTER, dir_fd=top)
                try:
                    yield from _walk(below, f"{path}/", device, deepest - 1)
                finally:
                    os.close(below)


def _stamp(status: os.stat_result) -> Stamp:
    return (
        status.st_ctime_ns,
        status.st_mtime_ns,
        status.st_ino,
        status.st_mode,
        status.st_nlink,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_rdev,
    )


def _content(directory: int, name: str, expected: os.stat_result) -> bytes:
    with os.fdopen(os.open(name, _READ, dir_fd=directory), "rb") as file:
        opened = os.fstat(file.fileno())
        if (opened.st_dev, opened.st_ino) != (expected.st_dev, expected.st_ino):
            raise OSError(errno.ESTALE, "another file has taken its place", name)
        return file.read(expected.st_size)
