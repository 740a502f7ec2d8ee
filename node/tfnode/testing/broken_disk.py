"""A disk that fails at a chosen step, for any code that works through `os`: no fake, no change to the code under test.

Python tells its audit hooks of every call that changes a file system before it is made, and a hook may refuse it
(`sys.addaudithook`). So a test can let an operation fail at its first step, its second, and so on until it comes through.
What SQLite writes does not pass here.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from types import TracebackType
from typing import Self

CHANGES = frozenset(
    {
        "os.mkdir",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.chmod",
        "os.chown",
        "os.utime",
        "os.setxattr",
        "os.truncate",
        "fcntl.ioctl",
        "subprocess.Popen",
    }
)
"""Audit events of calls that change something. "open" is one of them when it may write.

An ioctl shares blocks or makes a subvolume; a program is a file system's own. Those that only ask are steps all the same.
"""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

_current = threading.local()
_install = threading.Lock()
_installed: list[bool] = []


class BrokenDisk:
    """While the block runs, in this thread, the `step`-th change fails with ENOSPC.

    Args:
        step: counted from 1.
        for_good: every change after it fails as well, as if the process had died there: nothing can be undone.

    Attributes:
        failed: the step was reached.
    """

    def __init__(self, step: int, *, for_good: bool = False) -> None:
        self._left = step
        self._for_good = for_good
        self.failed = False

    def __enter__(self) -> Self:
        with _install:
            if not _installed:
                sys.addaudithook(_hook)  # it stays until the process ends; without a disk it does nothing
                _installed.append(True)
        _current.disk = self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        _current.disk = None

    def change(self, event: str) -> None:
        """Called before each change; OSError if it is to fail."""
        self._left -= 1
        if self._left == 0 or (self._for_good and self._left < 0):
            self.failed = True
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} (on purpose, at {event})")


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    disk: BrokenDisk | None = getattr(_current, "disk", None)
    if disk is not None and (event in CHANGES or (event == "open" and _writes(arguments))):
        disk.change(event)


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & _WRITING)
