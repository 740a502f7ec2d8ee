"""What differs between two trees or snapshots, read from the directories they are stacked from (`interface.Layered`).

A change is one of what a program would notice: kind, content, mode, owner, xattrs, a link's target. Times alone are none: a
file that was written anew as it was has not changed. Of two files of the same size the content is read, as far as `READ`
goes; beyond that their times decide. A directory is told of only where nothing below it is.

One of the two may be changed while it is read, by somebody hostile: directories are entered by descriptor, links never
followed, and what vanishes meanwhile is not there. Knows nothing of containers.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Literal

from tfnode.kernel.confinement import opaque_mark, overlay_marks
from tfnode.storage.beneath import DIRECTORY, open_directory
from tfnode.storage.treecopy import open_to_read

READ = 64 << 20
"""Bytes of files of the same size that are compared."""

CHUNK = 256 << 10


@dataclass(frozen=True)
class Change:
    """Something that is in one of the two only, or differs.

    Attributes:
        path: below the top, which is "/".
        before: bytes of the file it was; None if it was none.
        after: bytes of the file it is.
    """

    path: str
    kind: Literal["added", "changed", "removed"]
    before: int | None
    after: int | None


class OutOfTime(Exception):
    """The time for looking is over."""


def changes(before: Sequence[Path], after: Sequence[Path], *, until: float, below: str = "") -> Iterator[Change]:
    """The changes that lead from one to the other, in no particular order.

    Args:
        before, after: directories, top first.
        until: when to stop, by the monotonic clock.
        below: only what is below this path.

    Raises:
        OutOfTime: there may be more.
        OSError: something could not be read.
    """
    layers = list(dict.fromkeys([*after, *before]))
    with ExitStack() as stack:
        tops = [_held(stack, os.open(layer, DIRECTORY)) for layer in layers]
        where = {layer: number for number, layer in enumerate(layers)}
        comparison = _Comparison(tops, until)
        yield from comparison.run(tuple(where[one] for one in before), tuple(where[one] for one in after), below)


@dataclass(frozen=True)
class _Found:
    """A name as one of the two shows it: the first layer that has it, opened where the name is."""

    layer: int
    directory: int
    name: str
    status: os.stat_result

    @property
    def size(self) -> int | None:
        return self.status.st_size if stat.S_ISREG(self.status.st_mode) else None

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


@dataclass(frozen=True)
class _Pair:
    """A directory of one of the two or of both: the layers that have a part in it, top first.

    Attributes:
        told: nothing is to be said of itself.
    """

    path: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    told: bool = True


@dataclass
class _Comparison:
    tops: list[int]
    until: float
    to_read: int = READ
    pending: list[_Pair] = field(default_factory=list)

    def run(self, before: tuple[int, ...], after: tuple[int, ...], below: str) -> Iterator[Change]:
        start = below.strip("/")
        self.pending = [_Pair(f"{start}/" if start else "", self._with(start, before), self._with(start, after))]
        while self.pending:
            pair = self.pending.pop()
            if pair.before != pair.after:
                with ExitStack() as stack:
                    yield from self._directory(pair, stack)

    def _with(self, path: str, layers: tuple[int, ...]) -> tuple[int, ...]:
        """Those of some layers that have a part in the directory `path`."""
        above = ""
        for name in path.split("/") if path else ():
            with ExitStack() as stack:
                layers = self._parts(name, self._opened(above, layers, stack))
            above += f"{name}/"
        return layers

    def _opened(self, path: str, layers: Iterable[int], stack: ExitStack) -> dict[int, int]:
        found = {}
        for layer in layers:
            with contextlib.suppress(OSError):  # it has vanished
                found[layer] = _held(stack, open_directory(self.tops[layer], path.rstrip("/")))
        return found

    def _directory(self, pair: _Pair, stack: ExitStack) -> Iterator[Change]:
        opened = self._opened(pair.path, dict.fromkeys((*pair.before, *pair.after)), stack)
        before = {layer: opened[layer] for layer in pair.before if layer in opened}
        after = {layer: opened[layer] for layer in pair.after if layer in opened}
        told = pair.told
        for name in _names(opened, _not_shared(pair)):
            if time.monotonic() > self.until:
                raise OutOfTime
            was, now = _find(name, before), _find(name, after)
            told = told or bool(was or now)
            yield from self._entry(pair.path + name, was, now, before, after)
        if not told:
            path = "/" + pair.path.rstrip("/")
            yield Change(path, "added" if pair.after else "removed", None, None)

    def _entry(
        self, path: str, was: _Found | None, now: _Found | None, before: dict[int, int], after: dict[int, int]
    ) -> Iterator[Change]:
        below = _Pair(f"{path}/", self._below(was, before), self._below(now, after), told=bool(was and now))
        if below.before or below.after:
            self.pending.append(below)
        kind = self._kind(was, now)
        if kind == "changed" or (kind and not below.before and not below.after):
            yield Change(f"/{path}", kind, was.size if was else None, now.size if now else None)

    def _below(self, found: _Found | None, opened: dict[int, int]) -> tuple[int, ...]:
        return self._parts(found.name, opened) if found and found.is_directory else ()

    def _kind(self, was: _Found | None, now: _Found | None) -> Literal["", "added", "changed", "removed"]:
        if was is None or now is None:
            return "removed" if was else "added" if now else ""
        return "changed" if was.layer != now.layer and self._differ(was, now) else ""

    def _parts(self, name: str, opened: dict[int, int]) -> tuple[int, ...]:
        """The layers that have a part in a directory, down to the one that hides those below it."""
        parts: list[int] = []
        for layer, directory in opened.items():
            status = _status(name, directory)
            if status is None:
                continue
            if not stat.S_ISDIR(status.st_mode):
                break
            parts.append(layer)
            if _xattrs(name, directory).get(opaque_mark()) == b"y":
                break
        return tuple(parts)

    def _differ(self, was: _Found, now: _Found) -> bool:
        a, b = was.status, now.status
        if (a.st_mode, a.st_uid, a.st_gid, a.st_rdev) != (b.st_mode, b.st_uid, b.st_gid, b.st_rdev):
            return True
        if stat.S_ISLNK(a.st_mode):
            return os.readlink(was.name, dir_fd=was.directory) != os.readlink(now.name, dir_fd=now.directory)
        if stat.S_ISREG(a.st_mode) and (a.st_size != b.st_size or not self._same_content(was, now)):
            return True
        return _kept(_xattrs(was.name, was.directory)) != _kept(_xattrs(now.name, now.directory))

    def _same_content(self, was: _Found, now: _Found) -> bool:
        if was.status.st_size > self.to_read:
            return was.status.st_mtime_ns == now.status.st_mtime_ns
        self.to_read -= was.status.st_size
        try:
            with _opened(was) as one, _opened(now) as other:
                while block := one.read(CHUNK):
                    if other.read(CHUNK) != block:
                        return False
                return not other.read(1)
        except FileNotFoundError:
            return False


def _names(opened: dict[int, int], layers: Iterable[int]) -> list[str]:
    names: set[str] = set()
    for layer in layers:
        if layer in opened:
            names.update(os.listdir(opened[layer]))
    return sorted(names)


def _not_shared(pair: _Pair) -> tuple[int, ...]:
    """The layers that can make a difference: those above what both rest on."""
    shared = 0
    for one, other in zip(reversed(pair.before), reversed(pair.after), strict=False):
        if one != other:
            break
        shared += 1
    return (*pair.before[: len(pair.before) - shared], *pair.after[: len(pair.after) - shared])


def _find(name: str, opened: dict[int, int]) -> _Found | None:
    for layer, directory in opened.items():
        status = _status(name, directory)
        if status is not None:
            return None if _is_whiteout(status) else _Found(layer, directory, name, status)
    return None


def _status(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _xattrs(name: str, directory: int) -> dict[str, bytes]:
    path = f"/proc/self/fd/{directory}/{name}"  # there is no fgetxattrat
    found = {}
    with contextlib.suppress(OSError):
        for xattr in os.listxattr(path, follow_symlinks=False):
            found[xattr] = os.getxattr(path, xattr, follow_symlinks=False)
    return found


def _kept(xattrs: dict[str, bytes]) -> dict[str, bytes]:
    return {name: value for name, value in xattrs.items() if not name.startswith(overlay_marks())}


@contextlib.contextmanager
def _opened(found: _Found) -> Iterator[FileIO]:
    with os.fdopen(open_to_read(found.name, found.directory), "rb", buffering=0) as file:
        yield file


def _held(stack: ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd
