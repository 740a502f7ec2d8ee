"""Describes directory trees completely, and says in sentences how two of them differ.

What is described is what a process can see and a rollback has to bring back: kind, mode, owner, xattrs, modification time,
content, holes, link targets, device numbers, and which names are one file. Inode numbers, change times and the sizes of
directories are nobody's business.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

from tfnode.storage.filedata import data_segments

CHUNK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One name of a tree.

    Args:
        mode: kind and permissions, as `ls -l` writes them.
        owner: user and group.
        xattrs: names and values.
        modified: nanoseconds since 1970.
        device: of a device node.
        target: of a symbolic link.
        size: of a regular file.
        content: its digest.
        data: where it has data, as (start, end); holes are between.
        same_file_as: the other names of the same inode in this tree.
    """

    mode: str
    owner: tuple[int, int]
    xattrs: tuple[tuple[str, bytes], ...]
    modified: int
    device: int = 0
    target: str = ""
    size: int = 0
    content: str = ""
    data: tuple[tuple[int, int], ...] = ()
    same_file_as: tuple[str, ...] = ()


Manifest = dict[str, Entry]
"""Paths below the top ("" is the top itself) and what is there."""


def describe(top: Path, *, without: Collection[str] = ()) -> Manifest:
    """Everything below `top`.

    Args:
        top: a directory; also /proc/PID/root of a container, or /proc/self/fd/N of a detached mount.
        without: paths to leave out together with what is below them, such as "proc". The top's own time is then left
            out too: making and removing these changes it.
    """
    names: dict[tuple[int, int], list[str]] = {}
    entries: Manifest = {}
    for path, status in _walk(top, without):
        entries[path] = _entry(_below(top, path), status)
        if not stat.S_ISDIR(status.st_mode):
            names.setdefault((status.st_dev, status.st_ino), []).append(path)
    if without:
        entries[""] = replace(entries[""], modified=0)
    for group in names.values():
        for path in group if len(group) > 1 else ():
            entries[path] = replace(entries[path], same_file_as=tuple(sorted(set(group) - {path})))
    return entries


def differences(wanted: Manifest, got: Manifest) -> list[str]:
    """What is wrong with `got`, one sentence per path, in order; empty if the two are the same."""
    return [
        sentence
        for path in sorted(wanted.keys() | got.keys())
        for sentence in _about(path, wanted.get(path), got.get(path))
    ]


def assert_same(wanted: Manifest, got: Manifest) -> None:
    """Fail with the differences, the first twenty of them."""
    wrong = differences(wanted, got)
    assert not wrong, "\n".join([f"{len(wrong)} differences", *wrong[:20]])


def _about(path: str, wanted: Entry | None, got: Entry | None) -> Iterator[str]:
    if got is None:
        yield f"{path!r} is missing"
    elif wanted is None:
        yield f"{path!r} should not be there: {got.mode}"
    else:
        for field in fields(Entry):
            before, after = getattr(wanted, field.name), getattr(got, field.name)
            if before != after:
                yield f"{path!r}: {field.name} is {after!r}, not {before!r}"


def _below(top: Path, path: str) -> str:
    """As text, because the top may be a link to be followed (/proc/self/fd/N), and the rest must not be."""
    return f"{top}/./{path}"


def _walk(top: Path, without: Collection[str]) -> Iterator[tuple[str, os.stat_result]]:
    yield "", top.stat()
    pending = [""]
    while pending:
        directory = pending.pop()
        with os.scandir(_below(top, directory)) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = f"{directory}/{entry.name}" if directory else entry.name
                if path in without:
                    continue
                yield path, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)


def _entry(path: str, status: os.stat_result) -> Entry:
    entry = Entry(
        mode=stat.filemode(status.st_mode),
        owner=(status.st_uid, status.st_gid),
        xattrs=_xattrs(path),
        modified=status.st_mtime_ns,
        device=status.st_rdev,
    )
    if stat.S_ISREG(status.st_mode):
        return _with_content(entry, path)
    if stat.S_ISLNK(status.st_mode):
        return replace(entry, target=os.readlink(path))
    return entry


def _with_content(entry: Entry, path: str) -> Entry:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        size = os.fstat(fd).st_size
        data = tuple(data_segments(fd, size))
        return replace(entry, size=size, content=_digest(fd, data), data=data)
    finally:
        os.close(fd)


def _digest(fd: int, data: tuple[tuple[int, int], ...]) -> str:
    digest = hashlib.sha256()
    for start, end in data:
        for offset in range(start, end, CHUNK):
            digest.update(os.pread(fd, min(CHUNK, end - offset), offset))
    return digest.hexdigest()


def _xattrs(path: str) -> tuple[tuple[str, bytes], ...]:
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)
