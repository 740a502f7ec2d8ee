"""Deletes directory trees, however deep, wide and hostile. Knows nothing of storage."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

_numbers = itertools.count()


def remove_tree(top: Path) -> None:
    """Delete the directory `top` and everything in it; nothing happens if it is not there.

    A container can nest directories deeper than any recursion goes and any path is long. So a directory that is not empty
    is first moved up beside `top` (as "hoisted.…") and deleted there in its turn: `top`'s parent must be a directory of
    the caller's own, on the same file system. Several threads may delete the same tree.

    Raises:
        OSError: something cannot be deleted; what is left can be deleted later.
    """
    parent = os.open(top.parent, os.O_RDONLY | os.O_DIRECTORY)
    pending = [top.name]
    try:
        while pending:
            name = pending.pop()
            try:
                pending += _emptied(parent, name)
                os.rmdir(name, dir_fd=parent)
            except FileNotFoundError:
                continue
    finally:
        os.close(parent)


def _emptied(parent: int, name: str) -> list[str]:
    """Empty one directory; returns the names of what was hoisted out of it."""
    here = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        if os.geteuid() != 0:
            os.fchmod(here, 0o700)  # an ordinary user may delete only from directories that let him write
        return [hoisted for hoisted in (_cleared(here, parent, entry) for entry in _entries(here)) if hoisted]
    finally:
        os.close(here)


def _entries(directory: int) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return list(entries)


def _cleared(here: int, parent: int, entry: os.DirEntry[str]) -> str | None:
    """Delete one entry; a directory that is not empty is moved to `parent`, and its new name there returned."""
    try:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=here)
        elif not _removed_empty(here, entry.name):
            return _hoist(here, entry.name, parent)
    except FileNotFoundError:
        pass  # another thread was quicker
    return None


def _removed_empty(here: int, name: str) -> bool:
    try:
        os.rmdir(name, dir_fd=here)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES):
            return False
        raise
    return True


def _hoist(here: int, name: str, parent: int) -> str:
    if os.geteuid() != 0:
        os.chmod(name, 0o700, dir_fd=here)  # moving a directory changes its "..", which needs its own write bit
    new = f"hoisted.{os.getpid()}.{next(_numbers)}"
    os.rename(name, new, src_dir_fd=here, dst_dir_fd=parent)
    return new
