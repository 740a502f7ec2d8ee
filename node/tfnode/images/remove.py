"""Delete a tree that nobody else writes to any more.

Knows nothing of layers. Not for a running container's files: whoever can swap a directory for a link meanwhile could lead
it astray.
"""

from __future__ import annotations

import os
from pathlib import Path


def remove_tree(path: bytes, *, dir_fd: int) -> None:
    """Remove `path`, a file or a whole tree; nothing happens if it does not exist. Links are not followed.

    Args:
        path: relative to `dir_fd`.
        dir_fd: an open directory.

    Raises:
        OSError: something could not be removed.
    """
    try:
        os.unlink(path, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        _remove_directory(path, dir_fd=dir_fd)


def remove(path: Path) -> None:
    """Remove `path`, a file or a whole tree; nothing happens if it does not exist. Links are not followed.

    Raises:
        OSError: something could not be removed.
    """
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove_tree(os.fsencode(path.name), dir_fd=parent)
    finally:
        os.close(parent)


def _remove_directory(path: bytes, *, dir_fd: int) -> None:
    emptied: list[bytes] = []
    pending = [path]
    while pending:
        directory = pending.pop()
        emptied.append(directory)
        pending += _unlink_files(directory, dir_fd=dir_fd)
    for directory in reversed(emptied):
        os.rmdir(directory, dir_fd=dir_fd)


def _unlink_files(directory: bytes, *, dir_fd: int) -> list[bytes]:
    """Remove the files of a directory and return the paths of its directories."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    below = []
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    below.append(directory + b"/" + name)
                else:
                    os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)
    return below
