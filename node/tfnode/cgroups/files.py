"""Reading and writing the files of a control group tree, and waiting for what they will say.

The same for v1 and v2. Knows no file by name but `cgroup.procs`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tfcore.clock import Clock, monotonic
from tfcore.errors import DeadlineExceeded

FIRST_PAUSE = 0.0002
LONGEST_PAUSE = 0.02
"""Seconds between two looks: the kernel is usually done at the first."""

PIECE = 64 * 1024
"""Bytes read at a time; all but the longest lists of processes are shorter."""


def until(
    done: Callable[[], bool],
    *,
    timeout: float,
    failure: Callable[[], str],
    clock: Clock = monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Ask `done` until it says yes.

    Args:
        done: asked at once, then at growing intervals.
        timeout: seconds.
        failure: what was last seen, for the error.
        clock: where the time comes from.
        pause: how to wait.

    Raises:
        DeadlineExceeded: it never did.
    """
    end, wait = clock() + timeout, FIRST_PAUSE
    while not done():
        if clock() >= end:
            raise DeadlineExceeded(f"{failure()} after {timeout:g} s")
        pause(wait)
        wait = min(wait * 2, LONGEST_PAUSE)


def read(file: Path) -> str:
    """The content without surrounding white space; empty if the file, or its group, is not there."""
    try:
        return _content(file).decode().strip()
    except FileNotFoundError:
        return ""
    except OSError as gone:
        if gone.errno == errno.ENODEV:  # the group was removed between open and read
            return ""
        raise


def _content(file: Path) -> bytes:
    """Without the layers of a Python file, which take longer than the kernel: these files are read at every look."""
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while piece := os.read(fd, PIECE):
            content += piece
        return content
    finally:
        os.close(fd)


def number(file: Path) -> int | None:
    """The content as a number; None if it is not there or says "max"."""
    text = read(file)
    return int(text) if text.isdigit() else None


def entry(file: Path, key: str) -> int:
    """The number behind `key` in a file of "key number" lines; 0 if there is none."""
    for line in read(file).splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0


def write(file: Path, text: str) -> None:
    """Write `text` in one go, as these files want it. OSError if the kernel refuses."""
    fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def tree(top: Path) -> Iterator[Path]:
    """`top` and every group below it, the deepest first; nothing if it does not exist."""
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(entry.name for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False)):
            yield from tree(top / name)
        yield top


def processes(top: Path) -> frozenset[int]:
    """The processes of `top` and the groups below; those of foreign pid namespaces (shown as 0) left out."""
    return frozenset(int(line) for group in tree(top) for line in read(group / "cgroup.procs").split()) - {0}


def remove_trees(tops: Iterable[Path], timeout: float) -> None:
    """Remove the groups and all below them; a process that has just died keeps its group busy for some milliseconds.

    Raises:
        DeadlineExceeded: the kernel still said busy after `timeout` seconds.
    """
    busy: list[Path] = list(tops)

    def all_gone() -> bool:
        busy[:] = [top for top in busy if not _removed(top)]
        return not busy

    until(all_gone, timeout=timeout, failure=lambda: f"{_occupied(busy)} still busy")


def _removed(top: Path) -> bool:
    try:
        for group in tree(top):
            with contextlib.suppress(FileNotFoundError):
                group.rmdir()
    except OSError as refused:
        if refused.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise
    return True


def _occupied(busy: list[Path]) -> str:
    return ", ".join(f"{top} (processes {sorted(processes(top)) or 'none visible'})" for top in busy)
