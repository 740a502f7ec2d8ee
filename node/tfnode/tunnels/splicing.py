"""One direction of a connection: bytes from one socket to another through a pipe, in the kernel.

Half-close is preserved: the end of the source becomes a shutdown of the sink once all is delivered. A direction holds a
pipe only while something is in it, so that connections that say nothing cost two descriptors and no memory.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from dataclasses import dataclass

PIPE = 256 * 1024
"""Bytes in flight in one direction of one connection: all that a slow reader can make us keep."""

TURN = 1024 * 1024
"""Bytes after which the other connections get a turn."""

SPARES = 8
"""Empty pipes kept for those who need one next."""

_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Broken(Exception):
    """The connection cannot go on."""


@dataclass(slots=True, eq=False)
class Pipe:
    """Both ends of a pipe, and how much is in it."""

    out: int
    into: int
    pending: int = 0

    def close(self) -> None:
        """Let go of it, whatever is in it."""
        os.close(self.into)
        os.close(self.out)


class Pipes:
    """Empty pipes, made when needed."""

    def __init__(self) -> None:
        self._spare: list[Pipe] = []

    def take(self) -> Pipe:
        """An empty pipe. Raises `OSError` if the process has too many descriptors."""
        return self._spare.pop() if self._spare else _make()

    def give_back(self, pipe: Pipe) -> None:
        """It is not needed any more; one that is not empty is never used again."""
        if pipe.pending or len(self._spare) >= SPARES:
            pipe.close()
        else:
            self._spare.append(pipe)

    def close(self) -> None:
        """Let go of those that are kept."""
        while self._spare:
            self._spare.pop().close()


def _make() -> Pipe:
    pipe = Pipe(*os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK))
    with contextlib.suppress(OSError):  # above the user's share of pipe memory the default size has to do
        fcntl.fcntl(pipe.into, fcntl.F_SETPIPE_SZ, PIPE)
    return pipe


class Flow:
    """Moves bytes from `source` to `sink`, both non-blocking.

    Attributes:
        over: everything is delivered, its end included.
        blocked: the sink takes no more at the moment.
    """

    def __init__(self, source: socket.socket, sink: socket.socket, pipes: Pipes) -> None:
        self._source = source
        self._sink = sink
        self._pipes = pipes
        self._pipe: Pipe | None = None
        self._ended = False
        self.over = False
        self.blocked = False

    @property
    def wants_input(self) -> bool:
        """True while the source is worth waiting for."""
        return not self._ended and self._pipe is None

    @property
    def holds(self) -> bool:
        """True if it has taken something from the source that the sink has not got."""
        return self._pipe is not None or self._ended != self.over

    def pump(self) -> None:
        """Move as much as both ends allow, but no more than a turn's. Raises `OSError` if an end is gone."""
        moved = 0
        while not self.over and moved < TURN:
            if self._pipe is None and not self._ended and not self._fill():
                return
            if self._pipe is not None:
                moved += self._pipe.pending
                if not self._drain(self._pipe):
                    return
            if self._ended:
                self._finish()

    def _fill(self) -> bool:
        """Source to pipe; False if there is nothing to read now."""
        pipe = self._pipes.take()
        try:
            pipe.pending = os.splice(self._source.fileno(), pipe.into, PIPE, flags=_FLAGS)
        except BlockingIOError:
            return False
        else:
            self._ended = pipe.pending == 0
            return True
        finally:
            if pipe.pending:
                self._pipe = pipe
            else:
                self._pipes.give_back(pipe)

    def _drain(self, pipe: Pipe) -> bool:
        """Pipe to sink; False if the sink takes no more now."""
        try:
            while pipe.pending:
                pipe.pending -= os.splice(pipe.out, self._sink.fileno(), pipe.pending, flags=_FLAGS)
        except BlockingIOError:
            self.blocked = True
            return False
        self.blocked = False
        self.close()
        return True

    def _finish(self) -> None:
        self.over = True
        try:
            self._sink.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # it has everything, and has gone
                raise

    def close(self) -> None:
        """Let go of the pipe; twice is harmless."""
        if self._pipe is not None:
            pipe, self._pipe = self._pipe, None
            self._pipes.give_back(pipe)
