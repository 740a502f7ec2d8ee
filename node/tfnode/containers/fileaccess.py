"""What may be reached of a container's files, and how that is said: for all that works through a container's root.

Paths are text with surrogates for bytes that are no UTF-8 (`os.fsdecode`), so that every name can be said. Knows nothing
of what the files are for.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tfcore.errors import BadRequest, Exhausted, NotFound, TfError, WrongState
from tfnode.kernel.paths import open_in_root, open_parent

LONGEST = 4095

# linux/magic.h: file systems whose files are doors to the kernel. What the agent, root on the host, would read and write
# there is not what the container's own processes could.
_KERNEL_FILES = {
    0x9FA0: "proc",
    0x62656572: "sysfs",
    0x27E0EB: "cgroup",
    0x63677270: "cgroup2",
    0x64626720: "debugfs",
    0x74726163: "tracefs",
    0x73636673: "securityfs",
    0xCAFE4A11: "bpf",
    0x1CD1: "devpts",
    0x19800202: "mqueue",
}
KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a file",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_libc = ctypes.CDLL(None, use_errno=True)
_SAID: dict[int, tuple[type[TfError], str]] = {
    errno.ENOENT: (NotFound, "is not in the container"),
    errno.ENOTDIR: (BadRequest, "leads through something that is no directory"),
    errno.EINVAL: (BadRequest, "names no file"),
    errno.EISDIR: (BadRequest, "is a directory"),
    errno.EEXIST: (WrongState, "is there already"),
    errno.ENOTEMPTY: (WrongState, "is a directory that is not empty"),
    errno.EBUSY: (WrongState, "is in use: something is mounted there"),
    errno.EXDEV: (WrongState, "is on another file system: copy it, then remove it"),
    errno.ELOOP: (BadRequest, "leads in a circle of links"),
    errno.ENAMETOOLONG: (BadRequest, "is too long a path"),
    errno.EROFS: (WrongState, "is on a read-only file system"),
    errno.EPERM: (WrongState, "is protected from changes"),
    errno.EACCES: (WrongState, "is protected from changes"),
    errno.EBADF: (WrongState, "was not opened for that"),
    errno.EFBIG: (BadRequest, "would become larger than a file can be"),
    errno.ENOSPC: (Exhausted, "does not fit: no space left"),
    errno.EDQUOT: (Exhausted, "does not fit: quota exceeded"),
}


@dataclass(frozen=True)
class Owner:
    """What a file is given: mode, and owner and group as they are on disk."""

    mode: int
    uid: int
    gid: int

    def give(self, fd: int) -> None:
        """Give it to an open file."""
        os.fchown(fd, self.uid, self.gid)
        os.fchmod(fd, self.mode)  # after the owner, whose change takes setuid away


def checked_place(path: str) -> str:
    """`path` if it can name anything of a container.

    Raises:
        BadRequest: it is not absolute, has `..` or NUL in it, or is too long.
    """
    if not path.startswith("/"):
        raise BadRequest(f"{path!r} is not an absolute path", hint="begin it with /")
    if ".." in path.split("/"):
        raise BadRequest(f"{path!r} has '..' in it", hint="name the file by its path from the container's root")
    if "\0" in path:
        raise BadRequest(f"{path!r} has a NUL in it")
    if len(os.fsencode(path)) > LONGEST:
        raise BadRequest(f"{path[:80]!r}… is longer than {LONGEST} bytes")
    return path


def checked_path(path: str) -> str:
    """`path` if it can name a file of a container.

    Raises:
        BadRequest: as `checked_place`, or it names a directory.
    """
    checked_place(path)
    if path.endswith(("/", "/.")):
        raise BadRequest(f"{path!r} names a directory", hint="files are put and fetched one by one")
    return path


@contextmanager
def told(path: str) -> Iterator[None]:
    """Say what the kernel says in the words of this product's errors."""
    try:
        yield
    except OSError as error:
        if isinstance(error, TfError):
            raise
        kind, words = _SAID.get(error.errno or 0, (WrongState, f"cannot be used: {error.strerror}"))
        raise kind(f"{path!r} {words}") from error


@contextmanager
def seen(root: int, path: str, *, follow: bool = True) -> Iterator[int]:
    """What is at `path`, as a descriptor that allows nothing but to look at it.

    Raises:
        OSError: there is nothing, or it cannot be reached.
    """
    if follow or not path.strip("/."):
        fd = open_in_root(root, path, os.O_PATH)
    else:
        with open_parent(root, path) as (directory, name):
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def place_of(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The directory, opened, and the name in it that `path` means, for changing what is there; its last name is not
    followed.

    Raises:
        OSError: there is no such directory. WrongState: it is the kernel's.
    """
    with open_parent(root, path) as (directory, name):
        check_storage(path, directory)
        yield directory, name


def reopened(seen: int, flags: int) -> int:
    """Open what the `O_PATH` descriptor `seen` stands for, whatever its name means by now."""
    return os.open(f"/proc/self/fd/{seen}", flags | os.O_NONBLOCK | os.O_CLOEXEC)


def check_kind(path: str, status: os.stat_result) -> None:
    """Refuse what is neither a file nor a link.

    Raises:
        BadRequest: it is something else, and the message says what.
    """
    if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):  # a link put there since we looked is replaced
        return
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    raise BadRequest(f"{path!r} is {kind}, not a file", hint="only regular files are put and fetched")


def check_storage(path: str, fd: int) -> None:
    """Refuse what is not stored anywhere but is a door to the kernel.

    Raises:
        WrongState: it is one.
    """
    if (kind := kernels_own(fd)) is not None:
        raise WrongState(f"{path!r} is one of the kernel's own files ({kind})", hint="run a process in the container")


def kernels_own(fd: int) -> str | None:
    """The kind of the kernel's own file systems that a descriptor is in, or None for a place where files are kept."""
    return _KERNEL_FILES.get(_file_system(fd))


def _file_system(fd: int) -> int:
    status = ctypes.create_string_buffer(256)  # struct statfs; its first word is the type
    if _libc.fstatfs(fd, status) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return ctypes.c_long.from_buffer(status).value & 0xFFFFFFFF


def mount_of(fd: int) -> bytes:
    """What tells the mount a descriptor is on from others."""
    with open(f"/proc/self/fdinfo/{fd}", "rb") as info:
        return next(line for line in info if line.startswith(b"mnt_id:"))
