"""Look at, list, rename, remove and make files of a container, through its root and without a process inside.

As in `files`, the root is a descriptor and the kernel resolves every path within it. What is changed is named by its
directory, opened, and its last name, which is never followed. Knows nothing of the wire.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from dataclasses import dataclass

from tfcore.errors import BadRequest, WrongState
from tfnode.containers.fileaccess import (
    check_storage,
    checked_place,
    kernels_own,
    mount_of,
    place_of,
    reopened,
    seen,
    told,
)
from tfnode.images.shift import IdShift
from tfnode.kernel.paths import make_directories, open_in_root, resolve, split

_RENAME_NOREPLACE = 1
"""linux/fs.h"""

_AT_EMPTY_PATH = 0x1000
"""linux/fcntl.h"""

DEEPEST = 256
"""Directories in one another: each is held open, and descriptors are shared by all containers of the node."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Wanted:
    """What to change of a file, ids as inside the container, times in nanoseconds since 1970; None leaves it."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    accessed: int | None = None
    modified: int | None = None


def look(root: int, path: str, *, follow: bool) -> tuple[os.stat_result, str, str]:
    """What is at a path.

    Args:
        root: descriptor of the container's root directory; stays the caller's.
        path: absolute, as seen in the container.
        follow: a link stands for what it points at.

    Returns:
        What the kernel says of it, its target if it is a link (empty for the kernel's own, which would tell of the node),
        and its path without links on the way.

    Raises:
        NotFound: there is nothing. BadRequest: not a path, or it leads through what is no directory.
    """
    checked_place(path)
    with told(path), seen(root, path, follow=follow) as fd:
        status = os.fstat(fd)
        target = os.readlink("", dir_fd=fd) if stat.S_ISLNK(status.st_mode) and kernels_own(fd) is None else ""
        return status, target, _real(root, path, follow=follow)


def _real(root: int, path: str, *, follow: bool) -> str:
    if follow or not path.strip("/."):
        return resolve(root, path)
    where, name = split(path)
    return f"{resolve(root, where).rstrip('/')}/{name}"


def entries(root: int, path: str, *, after: str, most: int) -> tuple[list[tuple[str, os.stat_result, str]], bool]:
    """What is in a directory: (name, what the kernel says of it, target if it is a link), by name; links are not followed.

    Args:
        after: only names that come after this one, bytewise.
        most: so many at most.

    Returns:
        The entries, and whether there are more.

    Raises:
        NotFound: there is no such directory. BadRequest: it is none. WrongState: it is the kernel's.
    """
    checked_place(path)
    with told(path):
        with seen(root, path) as fd:
            check_storage(path, fd)
            directory = reopened(fd, os.O_RDONLY | os.O_DIRECTORY)
        try:
            names = sorted(os.fsencode(name) for name in os.listdir(directory))
            wanted = [name for name in names if name > os.fsencode(after)]
            found = [entry for name in wanted[:most] if (entry := _entry(directory, os.fsdecode(name)))]
        finally:
            os.close(directory)
    return found, len(wanted) > most


def _entry(directory: int, name: str) -> tuple[str, os.stat_result, str] | None:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        target = os.readlink(name, dir_fd=directory) if stat.S_ISLNK(status.st_mode) else ""
    except OSError:  # gone, or something else, since the directory was read
        return None
    return name, status, target


def change(root: int, path: str, wanted: Wanted, *, follow: bool, ids: IdShift) -> None:
    """Change mode, owner, size or times.

    Raises:
        NotFound: there is nothing. BadRequest: a size for what is no file, a mode for a link, an id that the container has
            not. WrongState: it cannot be changed. Exhausted: there is no space.
    """
    checked_place(path)
    with told(path), seen(root, path, follow=follow) as fd:
        check_storage(path, fd)
        if wanted.size is not None:
            _resize(path, fd, wanted.size)
        _describe(path, fd, wanted, ids)


def change_open(path: str, fd: int, wanted: Wanted, *, ids: IdShift) -> None:
    """As `change`, of a file that is open for writing, or for reading if its size is not to change."""
    with told(path):
        if wanted.size is not None:
            os.ftruncate(fd, wanted.size)
        _describe(path, fd, wanted, ids)


def _resize(path: str, fd: int, size: int) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise BadRequest(f"{path!r} is no regular file and has no size to change")
    writing = reopened(fd, os.O_WRONLY)
    try:
        os.ftruncate(writing, size)
    finally:
        os.close(writing)


def _describe(path: str, fd: int, wanted: Wanted, ids: IdShift) -> None:
    """Owner before mode: a change of owner takes setuid away. By the descriptor's name in /proc, which is the very file."""
    status = os.fstat(fd)
    link = stat.S_ISLNK(status.st_mode)
    uid = -1 if wanted.uid is None else ids.uid(wanted.uid)
    gid = -1 if wanted.gid is None else ids.gid(wanted.gid)
    if (uid, gid) != (-1, -1):
        _own(fd, uid, gid)
    if wanted.mode is not None:
        if link:
            raise BadRequest(f"{path!r} is a link, and links have no mode of their own")
        os.chmod(f"/proc/self/fd/{fd}", wanted.mode)
    if wanted.accessed is not None or wanted.modified is not None:
        if link:
            raise BadRequest(f"{path!r} is a link, whose times cannot be changed")
        times = (_or(wanted.accessed, status.st_atime_ns), _or(wanted.modified, status.st_mtime_ns))
        os.utime(f"/proc/self/fd/{fd}", ns=times)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _own(fd: int, uid: int, gid: int) -> None:
    """Of links too, which os.chown cannot say by descriptor."""
    if _libc.fchownat(fd, b"", uid, gid, _AT_EMPTY_PATH) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def rename(root: int, path: str, to: str, *, replace: bool) -> None:
    """Give a file or directory another path.

    Args:
        replace: what has that path already goes, as rename(2) says; otherwise that is WrongState.

    Raises:
        NotFound: there is nothing, or no directory for it. BadRequest: not a path; a directory into itself. WrongState: what
            is there cannot be replaced; it is on another file system.
    """
    checked_place(path)
    checked_place(to)
    with told(path), place_of(root, path) as (old, name), told(to), place_of(root, to) as (new, new_name):
        if os.path.samestat(os.fstat(old), os.fstat(new)) and name == new_name:
            os.stat(name, dir_fd=old, follow_symlinks=False)
            return
        _rename(old, name, new, new_name, 0 if replace else _RENAME_NOREPLACE, path)


def _rename(old: int, name: str, new: int, new_name: str, flags: int, path: str) -> None:
    if _libc.renameat2(old, os.fsencode(name), new, os.fsencode(new_name), flags) == 0:
        return
    number = ctypes.get_errno()
    if number == errno.EINVAL:
        raise BadRequest(f"{path!r} cannot become a part of itself")
    if number == errno.ENOENT:
        with told(path):
            raise OSError(number, os.strerror(number), path)
    raise OSError(number, os.strerror(number))


def remove(root: int, path: str, kind: str) -> None:
    """Remove a `file` (anything but a directory), an empty `directory`, or a whole `tree`.

    A tree is not removed beyond a mount in it; what was found before it is gone then.

    Raises:
        NotFound: there is nothing. BadRequest: it is of another kind. WrongState: not empty, or in use.
    """
    checked_place(path)
    with told(path), place_of(root, path) as (directory, name):
        if kind == "file":
            os.unlink(name, dir_fd=directory)
        elif kind == "directory":
            os.rmdir(name, dir_fd=directory)
        elif stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            _remove_tree(directory, name, path)
        else:
            os.unlink(name, dir_fd=directory)


def _remove_tree(directory: int, name: str, path: str) -> None:
    """By an explicit stack of open directories, each with the names of the directories that are left in it."""
    mount = mount_of(directory)
    stack = [(os.dup(directory), "", [name])]
    try:
        while stack:
            here, name, left = stack[-1]
            if left:
                stack.append((_entered(here, left[-1], path, mount, depth=len(stack)), left.pop(), []))
                stack[-1][2].extend(_emptied(stack[-1][0]))
                continue
            os.close(stack.pop()[0])
            if stack:
                os.rmdir(name, dir_fd=stack[-1][0])
    finally:
        for fd, _, _ in stack:
            os.close(fd)


def _entered(directory: int, name: str, path: str, mount: bytes, *, depth: int) -> int:
    if depth > DEEPEST:
        raise WrongState(f"{path!r} nests more than {DEEPEST} directories", hint="run rm -r in the container")
    below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    if mount_of(below) != mount:
        os.close(below)
        raise WrongState(f"in {path!r} something is mounted: {name!r}", hint="remove what is beside it")
    return below


def _emptied(directory: int) -> list[str]:
    """Remove all that is no directory; the names of those that are."""
    left = []
    for name in os.listdir(directory):
        try:
            os.unlink(name, dir_fd=directory)
        except IsADirectoryError:
            left.append(name)
    return left


def make_directory(root: int, path: str, *, parents: bool, mode: int, uid: int, gid: int, ids: IdShift) -> None:
    """Make a directory.

    Args:
        parents: also those missing on the way (root's, 0755); it may be there already, and is left as it is then.
        mode: permission bits. uid, gid: its owner inside the container.

    Raises:
        NotFound: a directory on the way is missing. WrongState: something is there. BadRequest: something on the way is no
            directory.
    """
    checked_place(path)
    owner = ids.uid(uid), ids.gid(gid)
    with told(path):
        if parents:
            where = path.rstrip("/") or "/"
            if where != "/":
                os.close(make_directories(root, split(where)[0], uid=ids.uid(0), gid=ids.gid(0)))
            if _is_directory(root, where):
                return
        with place_of(root, path) as (directory, name):
            os.mkdir(name, 0o700, dir_fd=directory)
            made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            os.fchown(made, *owner)
            os.fchmod(made, mode)
        finally:
            os.close(made)


def _is_directory(root: int, path: str) -> bool:
    try:
        os.close(open_in_root(root, path, os.O_PATH | os.O_DIRECTORY))
    except FileNotFoundError:
        return False
    return True


def make_link(root: int, path: str, target: str, *, hard: bool, uid: int, gid: int, ids: IdShift) -> None:
    """Make a symbolic link, or another name for a file.

    Args:
        target: what a symbolic link points at, as it shall be written; or the file's path.

    Raises:
        NotFound: no such directory, or no such file. WrongState: something is there; or the file is on another file system.
        BadRequest: a hard link to a directory; a target that none can have.
    """
    checked_place(path)
    if not target or "\0" in target:
        raise BadRequest(f"{target[:80]!r} is nothing that the link {path!r} could point at")
    with told(path), place_of(root, path) as (directory, name):
        if hard:
            checked_place(target)
            with told(target), place_of(root, target) as (other, file):
                os.link(file, name, src_dir_fd=other, dst_dir_fd=directory, follow_symlinks=False)
            return
        os.symlink(target, name, dir_fd=directory)
        os.chown(name, ids.uid(uid), ids.gid(gid), dir_fd=directory, follow_symlinks=False)
