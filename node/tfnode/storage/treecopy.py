"""Copies directory trees exactly: one as it is, or several overlay layers merged into one.

Carried over: kinds, contents, holes, modes, owners, xattrs (overlayfs's own and file capabilities included), access and
modification times, hard links, FIFOs, device nodes, whiteouts, symbolic links, and sockets as names without a listener.
Not carried over: inode numbers, change and birth times, the flags of chattr(1), which a container may not set.

Everything is done relative to open directories, and no symbolic link is followed anywhere, so a tree that changes under the
copier's hands can spoil the copy but never lead it elsewhere. Directories are worked off one at a time from a list: depth
costs neither recursion nor descriptors.
"""

from __future__ import annotations

import enum
import errno
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tfnode.kernel.confinement import opaque_mark, overlay_marks
from tfnode.storage.beneath import DIRECTORY, open_directory
from tfnode.storage.filedata import FileData

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Whiteouts(enum.Enum):
    """What becomes of the marks by which a layer hides things of the layers below it."""

    KEEP = "keep"
    """The copy is a layer again: other layers lie below it."""
    APPLY = "apply"
    """The copy is the whole: what was hidden is left out, and so are the marks."""


def copy_tree(source: Path, target: Path) -> None:
    """Make `target`, an exact copy of the directory `source`.

    Raises:
        OSError: of the disk, with the path it concerns; a part of the copy may be there.
    """
    merge_layers((source,), target, Whiteouts.KEEP)


def merge_layers(layers: Sequence[Path], target: Path, whiteouts: Whiteouts) -> None:
    """Make `target`, a directory that shows what an overlay of `layers` (top first) shows.

    Raises:
        OSError: of the disk, with the path it concerns; a part of the copy may be there.
    """
    with ExitStack() as stack:
        tops = [_opened(stack, os.open(layer, DIRECTORY)) for layer in layers]
        os.mkdir(target, 0o700)
        _Merge(tops, _opened(stack, os.open(target, DIRECTORY)), whiteouts).run()


def copy_root_attributes(source: Path, target: Path) -> None:
    """Give the directory `target` the owner, mode, times and xattrs of `source`, but none of overlayfs's marks."""
    with ExitStack() as stack:
        here = _opened(stack, os.open(source, DIRECTORY))
        there = _opened(stack, os.open(target, DIRECTORY))
        _copy_attributes(here, there, os.fstat(here), Whiteouts.APPLY)


@dataclass(frozen=True)
class _Directory:
    """A directory still to be filled.

    Args:
        path: where, below the top.
        layers: numbers of the layers that have a part in it, top first.
        closed: something below those parts was hidden, so the copy must hide it as well.
    """

    path: str
    layers: tuple[int, ...]
    closed: bool


@dataclass(frozen=True)
class _Place:
    """The directory being filled, open."""

    path: str
    target: int

    def below(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


Found = list[tuple[int, os.DirEntry[str]]]
"""One name: the directories (descriptors) that have it, top first, and what it is there."""


class _Merge:
    """One run. `layers` and `target` are open directories."""

    def __init__(self, layers: Sequence[int], target: int, whiteouts: Whiteouts) -> None:
        self._layers = layers
        self._target = target
        self._whiteouts = whiteouts
        self._data = FileData()
        self._pending = [_Directory("", tuple(range(len(layers))), closed=False)]
        self._first_names: dict[tuple[int, int], tuple[str, str]] = {}

    def run(self) -> None:
        while self._pending:
            directory = self._pending.pop()
            with ExitStack() as stack:
                self._fill(directory, stack)

    def _fill(self, directory: _Directory, stack: ExitStack) -> None:
        sources, closed = self._open_parts(directory, stack)
        place = _Place(directory.path, _opened(stack, open_directory(self._target, directory.path)))
        numbers = dict(zip(sources, directory.layers, strict=False))
        for name, found in _listed(sources).items():
            try:
                self._copy_entry(place, name, found, numbers)
            except OSError as error:
                error.filename = place.below(name)
                raise
        # Last of all: nothing is ever made in this directory again, so its times stay.
        _copy_attributes(sources[0], place.target, os.fstat(sources[0]), self._whiteouts)
        if closed and self._whiteouts is Whiteouts.KEEP:
            os.setxattr(place.target, opaque_mark(), b"y")

    def _open_parts(self, directory: _Directory, stack: ExitStack) -> tuple[list[int], bool]:
        """The parts of the layers down to the first opaque one, and whether the merged directory is opaque."""
        parts: list[int] = []
        for layer in directory.layers:
            parts.append(_opened(stack, open_directory(self._layers[layer], directory.path)))
            if len(self._layers) > 1 and _is_opaque(parts[-1]):
                return parts, True
        return parts, directory.closed

    def _copy_entry(self, place: _Place, name: str, found: Found, numbers: dict[int, int]) -> None:
        source, entry = found[0]
        if entry.is_dir(follow_symlinks=False):
            self._begin_directory(place, name, found, numbers)
        elif entry.is_file(follow_symlinks=False):
            self._copy_file(place, name, source)
        else:
            self._copy_special(place, name, source, entry.stat(follow_symlinks=False))

    def _begin_directory(self, place: _Place, name: str, found: Found, numbers: dict[int, int]) -> None:
        parts = []
        for source, entry in found:
            if not entry.is_dir(follow_symlinks=False):
                break
            parts.append(numbers[source])
        os.mkdir(name, 0o700, dir_fd=place.target)
        self._pending.append(_Directory(place.below(name), tuple(parts), closed=len(parts) < len(found)))

    def _copy_file(self, place: _Place, name: str, source: int) -> None:
        here = open_to_read(name, source)
        try:
            status = os.fstat(here)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.ESTALE, "it became something else while it was copied")
            if self._linked(place, name, status):
                return
            there = os.open(name, _CREATE, 0o600, dir_fd=place.target)
            try:
                self._data.copy(here, there, status.st_size)
                _copy_attributes(here, there, status, self._whiteouts)
            finally:
                os.close(there)
        finally:
            os.close(here)

    def _copy_special(self, place: _Place, name: str, source: int, status: os.stat_result) -> None:
        if self._whiteouts is Whiteouts.APPLY and _is_whiteout(status):
            return
        if self._linked(place, name, status):
            return
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=place.target)
        else:
            os.mknod(name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=place.target)
        _copy_special_attributes(name, source, place.target, status, self._whiteouts)

    def _linked(self, place: _Place, name: str, status: os.stat_result) -> bool:
        """Make `name` another name of a file that has been copied already; False if it has not, or has one name only."""
        if status.st_nlink == 1:
            return False
        path, first = self._first_names.setdefault((status.st_dev, status.st_ino), (place.path, name))
        if (path, first) == (place.path, name):
            return False
        there = open_directory(self._target, path)
        try:
            os.link(first, name, src_dir_fd=there, dst_dir_fd=place.target, follow_symlinks=False)
        finally:
            os.close(there)
        return True


def _listed(sources: Sequence[int]) -> dict[str, Found]:
    names: dict[str, Found] = {}
    for source in sources:
        with os.scandir(source) as entries:
            for entry in entries:
                names.setdefault(entry.name, []).append((source, entry))
    return names


def open_to_read(name: str, directory: int) -> int:
    """A descriptor of a file that is read without leaving a trace, if that may be. OSError as `os.open`."""
    try:
        return os.open(name, _READ | os.O_NOATIME, dir_fd=directory)
    except PermissionError:  # the access time may be left alone only by the owner and by root
        return os.open(name, _READ, dir_fd=directory)


def _copy_attributes(here: int, there: int, status: os.stat_result, whiteouts: Whiteouts) -> None:
    # In this order: writing and a change of owner clear capabilities and set-id bits, and everything touches the times.
    os.fchown(there, status.st_uid, status.st_gid)
    os.fchmod(there, stat.S_IMODE(status.st_mode))
    for name in _kept(os.listxattr(here), whiteouts):
        os.setxattr(there, name, os.getxattr(here, name))
    os.utime(there, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_special_attributes(name: str, source: int, target: int, status: os.stat_result, whiteouts: Whiteouts) -> None:
    os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
    here, there = (f"/proc/self/fd/{directory}/{name}" for directory in (source, target))  # there is no fgetxattrat
    for xattr in _kept(os.listxattr(here, follow_symlinks=False), whiteouts):
        os.setxattr(there, xattr, os.getxattr(here, xattr, follow_symlinks=False), follow_symlinks=False)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _kept(xattrs: list[str], whiteouts: Whiteouts) -> list[str]:
    if whiteouts is Whiteouts.KEEP:
        return xattrs
    return [name for name in xattrs if not name.startswith(overlay_marks())]


def _is_opaque(directory: int) -> bool:
    try:
        return os.getxattr(directory, opaque_mark()) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return False
        raise


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _opened(stack: ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd
