"""Paths inside somebody else's root directory, resolved so that nothing in there can lead out of it.

A container owns its file system and may put any symbolic link anywhere, change it while we look, and mount what it likes.
So no path of a container is ever joined to a directory of ours as text: the kernel resolves it with `openat2` and
`RESOLVE_IN_ROOT` (as if we had chrooted), magic links such as /proc/self/root refused. A root is an `O_PATH` descriptor,
of a directory (`open_root`) or of a running process's root as that process sees it, its mounts included
(`open_process_root`).

Knows nothing of images, containers or what the files are for. Errors are `OSError`s carrying the path as it was asked for.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterator

_OPENAT2 = 437
"""The same number on every architecture (asm-generic)."""

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10
"""linux/openat2.h"""

ATTEMPTS = 64
"""openat2 answers EAGAIN when somebody renamed a directory on the way meanwhile: it must be asked again."""


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def open_root(path: str | os.PathLike[str]) -> int:
    """A descriptor for the directory `path`, to be used as a root; close it with `os.close`.

    Raises:
        OSError: there is no such directory.
    """
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def open_process_root(pid: int) -> int:
    """A descriptor for the root directory of process `pid`, with all mounts that process sees.

    Raises:
        OSError: there is no such process.
    """
    return open_root(f"/proc/{pid}/root")


def open_in_root(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` as if `root` were `/`; links, absolute ones too, and `..` stay inside.

    Args:
        root: descriptor of the root.
        path: relative or absolute, both taken from the root.
        flags: as for `os.open`; O_CLOEXEC is added.
        mode: permission bits of a file that O_CREAT makes, the umask taken off; must be 0 otherwise.

    Raises:
        OSError: as open(2), with `path` as the file name; ELOOP also for magic links.
    """
    how = _How(flags | os.O_CLOEXEC, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    name = os.fsencode(path) or b"."
    for _ in range(ATTEMPTS):
        fd: int = _libc.syscall(ctypes.c_long(_OPENAT2), root, name, ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(number, os.strerror(number), path)


def read_in_root(root: int, path: str, limit: int) -> bytes:
    """The content of the regular file `path`.

    Raises:
        OSError: it cannot be opened; EINVAL if it is not a regular file (a fifo would make us wait for ever); EFBIG if
            there are more than `limit` bytes.
    """
    with os.fdopen(open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"more than {limit} bytes", path)
    return content


def resolve(root: int, path: str) -> str:
    """Where `path` leads, as an absolute path seen from the root with no link and no `..` in it.

    Raises:
        OSError: something on the way does not exist, or is no directory.
    """
    fd = open_in_root(root, path, os.O_PATH)
    try:
        return _seen_from(root, fd)
    finally:
        os.close(fd)


def _seen_from(root: int, fd: int) -> str:
    """The kernel names both by one mount namespace, ours; what lies in another has the name it had there."""
    whole, base = _name_of(fd), _name_of(root)
    if base == "/":
        return whole
    return whole.removeprefix(base) or "/"


def _name_of(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


@contextlib.contextmanager
def open_parent(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The directory `path` lies in and its last name there, for renaming, linking and unlinking relative to it.

    The last name itself is not resolved: if it is a link, it is the link that is meant.

    Raises:
        OSError: the directory does not exist; EINVAL if `path` has no last name ("/", "a/..").
    """
    directory, name = split(path)
    fd = open_in_root(root, directory, os.O_PATH | os.O_DIRECTORY)
    try:
        yield fd, name
    finally:
        os.close(fd)


def split(path: str) -> tuple[str, str]:
    """`path` as (directory, last name); a trailing slash does not count.

    Raises:
        OSError: EINVAL, there is no last name.
    """
    directory, name = os.path.split(path.rstrip("/"))
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, "names no file", path)
    return directory or "/", name


def make_directories(root: int, path: str, *, mode: int = 0o755, uid: int, gid: int) -> int:
    """Make `path` and every directory missing on the way; links on the way are followed inside the root.

    Args:
        root: descriptor of the root.
        path: a directory's path.
        mode: of each directory made.
        uid: owner, as seen by this process, of each directory made.
        gid: likewise its group.

    Returns:
        An `O_PATH` descriptor of the last directory; close it with `os.close`.

    Raises:
        OSError: ENOTDIR if something on the way is there and no directory; ENOENT for a link that dangles.
    """
    here = open_in_root(root, "/", os.O_PATH | os.O_DIRECTORY)
    walked = ""
    for name in (part for part in path.split("/") if part not in ("", ".")):
        walked = f"{walked}/{name}"
        try:
            below = _enter_or_make(root, here, walked, name, mode, uid, gid)
        finally:
            os.close(here)
        here = below
    return here


def _enter_or_make(root: int, here: int, walked: str, name: str, mode: int, uid: int, gid: int) -> int:
    """By the whole path walked, not from `here`: a link's target counts from the root, and `..` must not pass it."""
    flags = os.O_PATH | os.O_DIRECTORY
    with contextlib.suppress(FileNotFoundError):
        return open_in_root(root, walked, flags)
    with contextlib.suppress(FileExistsError):
        _make(here, name, mode, uid, gid)
    return open_in_root(root, walked, flags)


def _make(here: int, name: str, mode: int, uid: int, gid: int) -> None:
    """Owner and mode are set through a descriptor: by name, a link put there meanwhile would lead us to another file."""
    os.mkdir(name, mode, dir_fd=here)
    made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    try:
        os.fchown(made, uid, gid)
        os.fchmod(made, mode)
    finally:
        os.close(made)
