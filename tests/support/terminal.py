"""A program in a terminal of its own: typed to, resized, and read until it shows something."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from types import TracebackType
from typing import Self

SECONDS = 45.0
"""What a program may take to show something, on a loaded machine."""


class Terminal:
    """A program whose stdin and output are a pseudo-terminal that also controls it.

    Args:
        argv: the program.
        columns, rows: the terminal's size at first.
    """

    def __init__(self, argv: list[str], *, columns: int, rows: int) -> None:
        self._near, far = pty.openpty()
        self._size(columns, rows)
        self._shown = ""
        self._program = subprocess.Popen(
            argv, stdin=far, stdout=far, stderr=far, start_new_session=True, preexec_fn=lambda: _control(0)
        )
        os.close(far)

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._near, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, *, columns: int, rows: int) -> None:
        """Change its size, which the kernel tells the program."""
        self._size(columns, rows)

    def say(self, words: str) -> None:
        """Type."""
        os.write(self._near, words.encode())

    def until(self, words: str) -> str:
        """What has been shown since the last call, until `words` were.

        Raises:
            AssertionError: they were not within a minute, or the program ended before.
        """
        deadline = time.monotonic() + SECONDS
        while words not in self._shown:
            ready, _, _ = select.select([self._near], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"waited {SECONDS:g} s for {words!r}; shown: {self._shown!r}"
            self._shown += self._read(words)
        found, _, self._shown = self._shown.partition(words)
        return found + words

    def _read(self, words: str) -> str:
        try:
            return os.read(self._near, 65536).decode("utf-8", "replace")
        except OSError:  # nobody has the far end any more
            raise AssertionError(f"it ended before it showed {words!r}; shown: {self._shown!r}") from None

    def wait(self) -> int:
        """Its exit status."""
        return self._program.wait(SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._program.kill()
        self._program.wait()
        os.close(self._near)


def _control(fd: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
