"""Put a file into a container and fetch one out of it, through the container's root and without a process inside.

The root is a descriptor: of the mounted tree before the first process, of /proc/PID/root afterwards. The container may swap
files for links while we look, so the kernel resolves every path within that root (`tfnode.kernel.paths`), a file is looked
at before it is opened (opening a fifo would wait, opening a device would do something), and what is then opened is the very
thing that was looked at. Knows nothing of the wire.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from tfcore.errors import BadRequest, Exhausted, NotFound, TfError, WrongState
from tfcore.undo import Undo
from tfnode.images.shift import IdShift
from tfnode.kernel.paths import make_directories, open_in_root, split

NEW_MODE = 0o644
PIECE = 256 << 10
"""Most bytes read at once."""

MOST_LINKS = 40
"""As in Linux's own path walk."""

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
_KINDS = {
    stat.S_IFDIR: "a directory",
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
    errno.ELOOP: (BadRequest, "leads in a circle of links"),
    errno.ENAMETOOLONG: (BadRequest, "is too long a path"),
    errno.EROFS: (WrongState, "is on a read-only file system"),
    errno.EPERM: (WrongState, "is protected from changes"),
    errno.EACCES: (WrongState, "is protected from changes"),
    errno.ENOSPC: (Exhausted, "does not fit: no space left"),
    errno.EDQUOT: (Exhausted, "does not fit: quota exceeded"),
}


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

    If `path` is a link, the file it means is written. Directories missing on the way are made, on a link's way too:
    images have an /etc/resolv.conf that points into an empty /run. An existing file keeps its mode and owner unless
    told otherwise, and is replaced, not overwritten: who has it open goes on seeing the old one. Only a file mounted on
    its own, which cannot be replaced, is overwritten in place.

    Args:
        root: descriptor of the container's root directory; stays the caller's.
        path: absolute, as seen in the container.
        content: pieces of any size.
        ids: the container's ids on disk.
        mode: permission bits; those of the existing file, or 0644, by default.
        uid: owner inside the container; the existing file's, or root, by default.
        gid: likewise its group.

    Returns:
        The size in bytes.

    Raises:
        BadRequest: the path is not absolute, has `..` in it, or means something that is no regular file.
        NotFound: a directory on the way is a link that leads nowhere.
        WrongState: it cannot be changed, being read-only or the kernel's.
        Exhausted: there is no space.
        Exception: whatever `content` raises. After any error a file that is replaced is as it was; new directories may
            remain.
    """
    checked_path(path)
    with _opened_target(root, path, ids) as target:
        owner = _Owner(
            mode=_first(mode, target.status and stat.S_IMODE(target.status.st_mode), NEW_MODE),
            uid=_first(None if uid is None else ids.uid(uid), target.status and target.status.st_uid, ids.uid(0)),
            gid=_first(None if gid is None else ids.gid(gid), target.status and target.status.st_gid, ids.gid(0)),
        )
        write = _overwrite if target.mounted else _replace
        return write(target, content, owner)


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
    with _told(path):
        seen = open_in_root(root, path, os.O_PATH)
        try:
            status = os.fstat(seen)
            _check_kind(path, status)
            _check_storage(path, seen)
            reading = _reopened(seen, os.O_RDONLY)
        finally:
            os.close(seen)
    return status.st_size, _pieces(reading, path, status.st_size)


def checked_path(path: str) -> str:
    """`path` if it can name a file of a container.

    Raises:
        BadRequest: it is not absolute, has `..` or NUL in it, names a directory, or is too long.
    """
    if not path.startswith("/"):
        raise BadRequest(f"{path!r} is not an absolute path", hint="begin it with /")
    if ".." in path.split("/"):
        raise BadRequest(f"{path!r} has '..' in it", hint="name the file by its path from the container's root")
    if "\0" in path:
        raise BadRequest(f"{path!r} has a NUL in it")
    if path.endswith(("/", "/.")):
        raise BadRequest(f"{path!r} names a directory", hint="files are put and fetched one by one")
    if len(os.fsencode(path)) > LONGEST:
        raise BadRequest(f"{path[:80]!r}… is longer than {LONGEST} bytes")
    return path


@dataclass(frozen=True)
class _Target:
    """Where a file goes: an open directory and a name in it, and what is there."""

    path: str
    directory: int
    name: str
    file: int | None
    status: os.stat_result | None
    mounted: bool


@dataclass(frozen=True)
class _Owner:
    mode: int
    uid: int
    gid: int

    def give(self, fd: int) -> None:
        os.fchown(fd, self.uid, self.gid)
        os.fchmod(fd, self.mode)  # after the owner, whose change takes setuid away


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


@contextmanager
def _opened_target(root: int, path: str, ids: IdShift) -> Iterator[_Target]:
    with ExitStack() as stack:
        with _told(path):
            directory, name = _destination(root, path, ids)
            stack.callback(os.close, directory)
            _check_storage(path, directory)
            file = _existing(directory, name)
            if file is None:
                target = _Target(path, directory, name, None, None, mounted=False)
            else:
                stack.callback(os.close, file)
                target = _Target(path, directory, name, file, os.fstat(file), _mount_of(file) != _mount_of(directory))
        if target.status:
            _check_kind(path, target.status)
        yield target


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


def _existing(directory: int, name: str) -> int | None:
    try:
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None


def _replace(target: _Target, content: Iterable[bytes], owner: _Owner) -> int:
    """Write a new file beside the old one, then let it take its name."""
    new = f".{secrets.token_hex(8)}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with Undo() as undo:
        with _told(target.path):
            fd = os.open(new, flags, 0o600, dir_fd=target.directory)
        undo.push(partial(os.unlink, new, dir_fd=target.directory))
        try:
            size = _fill(fd, content, target.path)
            with _told(target.path):
                owner.give(fd)
                os.rename(new, target.name, src_dir_fd=target.directory, dst_dir_fd=target.directory)
        finally:
            os.close(fd)
        undo.done()
    return size


def _overwrite(target: _Target, content: Iterable[bytes], owner: _Owner) -> int:
    with _told(target.path):
        fd = _reopened(_first(target.file), os.O_WRONLY | os.O_TRUNC)
    try:
        size = _fill(fd, content, target.path)
        with _told(target.path):
            owner.give(fd)
    finally:
        os.close(fd)
    return size


def _fill(fd: int, content: Iterable[bytes], path: str) -> int:
    size = 0
    for piece in content:
        size += len(piece)
        left = memoryview(piece)
        with _told(path):
            while left:
                left = left[os.write(fd, left) :]
    return size


def _pieces(fd: int, path: str, size: int) -> Iterator[bytes]:
    try:
        while size > 0:
            with _told(path):
                piece = os.read(fd, min(size, PIECE))
            if not piece:
                raise WrongState(f"{path!r} was cut short while it was being read", retryable=True)
            size -= len(piece)
            yield piece
    finally:
        os.close(fd)


def _reopened(seen: int, flags: int) -> int:
    """Open what the `O_PATH` descriptor `seen` stands for, whatever its name means by now."""
    return os.open(f"/proc/self/fd/{seen}", flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _check_kind(path: str, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):  # a link put there since we looked is replaced
        return
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    raise BadRequest(f"{path!r} is {kind}, not a file", hint="only regular files are put and fetched")


def _check_storage(path: str, fd: int) -> None:
    if (kind := _KERNEL_FILES.get(_file_system(fd))) is not None:
        raise WrongState(f"{path!r} is one of the kernel's own files ({kind})", hint="run a process in the container")


def _file_system(fd: int) -> int:
    status = ctypes.create_string_buffer(256)  # struct statfs; its first word is the type
    if _libc.fstatfs(fd, status) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return ctypes.c_long.from_buffer(status).value & 0xFFFFFFFF


def _mount_of(fd: int) -> bytes:
    with open(f"/proc/self/fdinfo/{fd}", "rb") as info:
        return next(line for line in info if line.startswith(b"mnt_id:"))


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Say what the kernel says in the words of this module's errors."""
    try:
        yield
    except OSError as error:
        if isinstance(error, TfError):
            raise
        kind, words = _SAID.get(error.errno or 0, (WrongState, f"cannot be used: {error.strerror}"))
        raise kind(f"{path!r} {words}") from error
