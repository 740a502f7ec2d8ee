"""One layer on disk, made entry by entry in the form overlayfs wants of a lower directory.

Every method makes one thing, replaces what an earlier entry put there, and gives it its owner (shifted), mode, attributes
and time. Knows nothing of tar streams: content comes as pieces of bytes.

The format (kernel documentation, overlayfs): something deleted from the layers below is a character device 0:0 of its name;
a directory that hides all of the one below has the attribute "overlay.opaque" = y (`kernel.confinement` has its full name).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path as FilePath
from types import TracebackType
from typing import Self

from tfcore.errors import BadImage
from tfnode.images.directories import OPEN, Directories, Directory, is_whiteout
from tfnode.images.names import ROOT, Path, check_length, shown
from tfnode.images.remove import remove_tree
from tfnode.images.shift import IdShift
from tfnode.images.tarheaders import Entry, Kind
from tfnode.images.xattrs import kept
from tfnode.kernel.confinement import confined, opaque_mark

IMPLIED_MODE = 0o755
IMPLIED_TIME = 0
"""Mode and time of directories that an archive does not list: the same on every node."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NODE_TYPES = {Kind.CHARACTER: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}
_XATTR_TOO_LARGE = (errno.E2BIG, errno.ERANGE, errno.ENOSPC)
"""What file systems say to a name or a value they cannot hold; ext4 says so beyond one block."""
_MAJORS = 1 << 12
_MINORS = 1 << 20


class LayerTree:
    """The tree of one layer under construction; a context manager that closes what it opened.

    Args:
        root: an existing, empty directory.
        shift: who owns on disk what.
    """

    def __init__(self, root: FilePath, shift: IdShift) -> None:
        os.chown(root, shift.uid(0), shift.gid(0))
        os.chmod(root, IMPLIED_MODE)
        self._shift = shift
        self._root = Directory(os.open(root, OPEN), ROOT)
        self._directories = Directories(self._root.fd, self._imply)
        self._times: dict[Path, int] = {ROOT: IMPLIED_TIME}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._directories.close()
        os.close(self._root.fd)

    def directory(self, path: Path, entry: Entry) -> None:
        """A directory; one that exists keeps its content and gets the entry's attributes."""
        if path == ROOT:
            self._describe(self._root, entry)
            return
        parent, name = self._parent(path)
        self._make_directory(parent, name)
        fd = os.open(name, OPEN, dir_fd=parent.fd)
        try:
            self._describe(Directory(fd, (*parent.path, name)), entry)
        finally:
            os.close(fd)

    def file(self, path: Path, entry: Entry, content: Iterable[memoryview]) -> None:
        """A regular file, its holes left as holes."""
        parent, name = self._parent(path)
        try:
            fd = os.open(name, _CREATE, 0o600, dir_fd=parent.fd)
        except FileExistsError:
            self._remove(parent, name)
            fd = os.open(name, _CREATE, 0o600, dir_fd=parent.fd)
        try:
            write(fd, entry, content)
            self._own(fd, entry.uid, entry.gid, entry.mode)
            self._attribute(fd, entry)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def symlink(self, path: Path, entry: Entry) -> None:
        """A symbolic link; where it points to is nobody's business until somebody goes through it."""
        if not entry.link or b"\0" in entry.link or len(entry.link) > 4095:
            raise BadImage(f"its target '{shown(entry.link)}' is none a link can have")
        parent, name = self._cleared(path)
        os.symlink(entry.link, name, dir_fd=parent.fd)
        self._finish_node(parent, name, entry)

    def node(self, path: Path, entry: Entry) -> None:
        """A fifo or a device. In a user namespace nobody can make a device: it is left out, as by others who unpack there;
        those that containers need are in the /dev they are given."""
        major, minor = entry.device if entry.kind is not Kind.FIFO else (0, 0)
        if not (0 <= major < _MAJORS and 0 <= minor < _MINORS):
            raise BadImage(f"its device number {major}:{minor} does not exist")
        if entry.kind is Kind.CHARACTER and (major, minor) == (0, 0):
            raise BadImage("it is a character device 0:0, overlayfs's own mark of a deleted file")
        parent, name = self._cleared(path)
        if entry.kind is not Kind.FIFO and confined():
            return
        os.mknod(name, _NODE_TYPES[entry.kind] | 0o600, os.makedev(major, minor), dir_fd=parent.fd)
        self._finish_node(parent, name, entry)

    def hardlink(self, path: Path, target: Path) -> None:
        """One more name of an earlier entry's file."""
        if not target or not path:
            raise BadImage("it is a hard link of the layer's root")
        source = os.dup(self._directories.existing(target[:-1]).fd)
        try:
            status = _linkable(source, target)
            parent, name = self._parent(path)
            if not _is_same(parent, name, status):
                self._clear(parent, name)
                os.link(target[-1], name, src_dir_fd=source, dst_dir_fd=parent.fd, follow_symlinks=False)
        except FileNotFoundError:
            raise BadImage(f"it would replace its own target '{shown(target)}'") from None
        finally:
            os.close(source)

    def whiteout(self, path: Path) -> None:
        """Hide what the layers below have at `path`; what this layer has there stays (OCI image layer specification)."""
        parent, name = self._parent(path)
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent.fd)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode):
                self._set_opaque(parent, name)

    def opaque(self, path: Path) -> None:
        """Let the directory `path` hide all of what the layers below have in it."""
        check_length(path)
        os.setxattr(self._directories.at(path).fd, opaque_mark(), b"y")

    def set_times(self) -> None:
        """Give the directories their times, once nothing in them changes any more."""
        for path, mtime in self._times.items():
            if (directory := self._directories.plain(path)) is not None:
                os.utime(directory.fd, ns=(mtime, mtime))

    def _parent(self, path: Path) -> tuple[Directory, bytes]:
        if not path:
            raise BadImage("it would replace the layer's root, which is a directory")
        check_length(path)
        parent = self._directories.at(path[:-1])
        check_length((*parent.path, path[-1]))
        return parent, path[-1]

    def _cleared(self, path: Path) -> tuple[Directory, bytes]:
        parent, name = self._parent(path)
        self._clear(parent, name)
        return parent, name

    def _clear(self, parent: Directory, name: bytes) -> None:
        try:
            os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        self._remove(parent, name)

    def _remove(self, parent: Directory, name: bytes) -> None:
        remove_tree(name, dir_fd=parent.fd)
        self._directories.forget()

    def _imply(self, parent: Directory, name: bytes) -> None:
        """Make a directory that the archive does not list."""
        self._make_directory(parent, name)
        os.chown(name, self._shift.uid(0), self._shift.gid(0), dir_fd=parent.fd)
        os.chmod(name, IMPLIED_MODE, dir_fd=parent.fd)
        self._times[(*parent.path, name)] = IMPLIED_TIME

    def _make_directory(self, parent: Directory, name: bytes) -> None:
        """A directory `name`, whatever is there. Where a whiteout was, it hides what the layers below have."""
        try:
            os.mkdir(name, 0o700, dir_fd=parent.fd)
        except FileExistsError:
            status = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                return
            self._remove(parent, name)
            os.mkdir(name, 0o700, dir_fd=parent.fd)
            if is_whiteout(status):
                self._set_opaque(parent, name)

    def _set_opaque(self, parent: Directory, name: bytes) -> None:
        fd = os.open(name, OPEN, dir_fd=parent.fd)
        try:
            os.setxattr(fd, opaque_mark(), b"y")
        finally:
            os.close(fd)

    def _describe(self, directory: Directory, entry: Entry) -> None:
        self._own(directory.fd, entry.uid, entry.gid, entry.mode)
        self._attribute(directory.fd, entry)
        self._times[directory.path] = entry.mtime

    def _finish_node(self, parent: Directory, name: bytes, entry: Entry) -> None:
        uid, gid = self._shift.uid(entry.uid), self._shift.gid(entry.gid)
        os.chown(name, uid, gid, dir_fd=parent.fd, follow_symlinks=False)
        if entry.kind is not Kind.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=parent.fd)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent.fd, follow_symlinks=False)

    def _own(self, fd: int, uid: int, gid: int, mode: int) -> None:
        os.fchown(fd, self._shift.uid(uid), self._shift.gid(gid))
        os.fchmod(fd, mode)  # after the owner, whose change takes setuid and setgid away

    def _attribute(self, fd: int, entry: Entry) -> None:
        if entry.xattrs:
            for name, value in kept(entry.xattrs, self._shift).items():
                _set_xattr(fd, name, value)


def _set_xattr(fd: int, name: bytes, value: bytes) -> None:
    try:
        os.setxattr(fd, name, value)
    except OSError as error:
        if error.errno not in _XATTR_TOO_LARGE:
            raise
        raise BadImage(f"its attribute '{shown(name)}' of {len(value)} bytes does not fit: {error.strerror}") from error


def is_opaque(directory: FilePath) -> bool:
    """True if `directory` of an unpacked layer hides all of what the layers below have in it."""
    return opaque_mark() in os.listxattr(directory, follow_symlinks=False)


def write(fd: int, entry: Entry, content: Iterable[memoryview]) -> None:
    """Write a file's content; a sparse one's pieces to their places."""
    if entry.pieces is None:
        for data in content:
            _write_all(fd, data)
        return
    places = iter(entry.pieces)
    offset = left = 0
    for data in content:
        while data:
            if not left:
                offset, left = next(places)
                os.lseek(fd, offset, os.SEEK_SET)
            _write_all(fd, data[:left])
            data, left = data[left:], max(0, left - len(data))
    os.ftruncate(fd, entry.size)


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _linkable(directory: int, target: Path) -> os.stat_result:
    try:
        status = os.stat(target[-1], dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        raise BadImage(f"its target '{shown(target)}' is not in this layer") from None
    if stat.S_ISDIR(status.st_mode) or is_whiteout(status):
        raise BadImage(f"its target '{shown(target)}' is no file")
    return status


def _is_same(parent: Directory, name: bytes, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(name, dir_fd=parent.fd, follow_symlinks=False), status)
    except FileNotFoundError:
        return False
