"""One direction of a connection: bytes from one descriptor to another through a pipe, in the kernel.

Half-close is preserved: the end of the source becomes a shutdown of the destination once all is delivered.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket

PIPE = 1024 * 1024
"""Bytes in flight in one direction."""

_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Broken(Exception):
    """The connection cannot go on."""


class Flow:
    """Moves bytes from `source` to `sink`, both non-blocking sockets' descriptors."""

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._out, self._in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with contextlib.suppress(OSError):  # above the user's share of pipe memory the default size has to do
            _grow(self._in)
        self._pending = 0
        self._ended = False
        self.over = False
        self.blocked = False

    @property
    def wants_input(self) -> bool:
        """True while the source is worth waiting for."""
        return not self._ended and self._pending == 0

    def pump(self) -> None:
        """Move as much as both ends allow. Raises `Broken` or `OSError` if an end is gone."""
        while not self.over:
            if self._pending == 0 and not self._ended and not self._fill():
                return
            if self._pending and not self._drain():
                return
            if self._ended and not self._pending:
                self._finish()

    def _fill(self) -> bool:
        """Source to pipe; False if there is nothing to read now."""
        try:
            moved = os.splice(self._source, self._in, PIPE, flags=_FLAGS)
        except BlockingIOError:
            return False
        if moved == 0:
            self._ended = True
        self._pending += moved
        return True

    def _drain(self) -> bool:
        """Pipe to sink; False if the sink takes no more now."""
        try:
            self._pending -= os.splice(self._out, self._sink, self._pending, flags=_FLAGS)
        except BlockingIOError:
            self.blocked = True
            return False
        self.blocked = False
        return True

    def _finish(self) -> None:
        self.over = True
        with socket.socket(fileno=os.dup(self._sink)) as sink:
            try:
                sink.shutdown(socket.SHUT_WR)
            except OSError as error:
                if error.errno != errno.ENOTCONN:
                    raise

    def close(self) -> None:
        """Let go of the pipe; twice is harmless."""
        if self._in >= 0:
            os.close(self._in)
            os.close(self._out)
            self._in = self._out = -1


def _grow(pipe: int) -> None:
    import fcntl

    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)
