"""The pipes between the agent and a process in a container, and what reads and writes our ends of them.

Our ends never block and belong to an event loop (anything with asyncio's `add_reader` and its siblings); all methods
here are for that loop's thread. Knows nothing of containers and of what the bytes mean.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tfcore.errors import Exhausted, WrongState
from tfnode.runtime.console import Console, farewell, read, resize
from tfnode.runtime.interface import Stdio
from tfnode.runtime.log import ContainerLog, Stream

CHUNK = 64 * 1024
"""Bytes per read: what a pipe holds."""

READS_PER_TURN = 16
"""Then the other users of the loop get their turn; the loop calls again at once."""

UNWRITTEN = 1024 * 1024
"""Bytes a process may leave unread on its stdin, beyond what the pipe holds, before writing is refused."""


class Reactor(Protocol):
    """The part of an asyncio loop that is needed here."""

    def add_reader(self, fd: int, callback: Callable[[], None], /) -> object: ...

    def remove_reader(self, fd: int, /) -> object: ...

    def add_writer(self, fd: int, callback: Callable[[], None], /) -> object: ...

    def remove_writer(self, fd: int, /) -> object: ...


@dataclass
class Pipes:
    """Pipes for a process: `theirs` to be handed to it, and our ends, which do not block.

    Whoever takes one of ours (`take_…`) closes it; the rest is closed by `close`.
    """

    theirs: Stdio
    stdin: int | None
    stdout: int | None
    stderr: int | None
    console: Console | None = None

    @classmethod
    def with_terminal(cls, console: Console) -> Pipes:
        """None at all: the process gets a terminal, whose other end is both our ends of stdin and stdout."""
        return cls(Stdio(console=console), None, None, None, console)

    @classmethod
    def with_stdin(cls) -> Pipes:
        """Three pipes. OSError if there are no more descriptors."""
        return cls._open(cls.without_stdin(), os.pipe)

    @classmethod
    def without_stdin(cls) -> Pipes:
        """Two pipes; the process's stdin is /dev/null. OSError if there are no more descriptors."""
        out, their_out = os.pipe()
        try:
            err, their_err = os.pipe()
        except OSError:
            os.close(out)
            os.close(their_out)
            raise
        for fd in (out, err):
            os.set_blocking(fd, False)
        return cls(Stdio(None, their_out, their_err), None, out, err)

    @classmethod
    def _open(cls, outputs: Pipes, pipe: Callable[[], tuple[int, int]]) -> Pipes:
        try:
            their_in, stdin = pipe()
        except OSError:
            outputs.close()
            raise
        os.set_blocking(stdin, False)
        theirs = Stdio(their_in, outputs.theirs.stdout, outputs.theirs.stderr)
        return cls(theirs, stdin, outputs.stdout, outputs.stderr)

    def take_stdin(self) -> int:
        """Our end of stdin, now the caller's to close.

        Raises:
            WrongState: there is none, or it was taken.
        """
        if self.console is not None:
            return self.console.again()
        taken, self.stdin = _taken(self.stdin), None
        return taken

    def take_stdout(self) -> int:
        """Likewise of stdout; of a terminal after `take_stdin`."""
        if self.console is not None:
            return self.console.take()
        taken, self.stdout = _taken(self.stdout), None
        return taken

    def take_stderr(self) -> int:
        """Likewise of stderr."""
        taken, self.stderr = _taken(self.stderr), None
        return taken

    def close_theirs(self) -> None:
        """Once the process has them: otherwise we never see the end of its output."""
        for fd in (self.theirs.stdin, self.theirs.stdout, self.theirs.stderr):
            if fd is not None:
                os.close(fd)
        self.theirs = Stdio()

    def close(self) -> None:
        """Close whatever was not taken."""
        self.close_theirs()
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd is not None:
                os.close(fd)
        self.stdin = self.stdout = self.stderr = None
        if self.console is not None and not self.console.taken:
            self.console.close()


def _taken(fd: int | None) -> int:
    if fd is None:
        raise WrongState("this pipe does not exist or was taken before")
    return fd


class OutputReader:
    """Reads one output of a container into its log until the last process that holds it has closed it.

    Args:
        fd: our end; this closes it.
        stream: which output it is.
        generation: the life of the container that writes to it.
        into: the container's log; may be replaced at any time.
        held: asked before each piece: True leaves it to the process to wait until `go_on`.
    """

    def __init__(
        self,
        fd: int,
        stream: Stream,
        *,
        generation: int,
        into: ContainerLog,
        held: Callable[[], bool] = lambda: False,
    ) -> None:
        self._fd: int | None = fd
        self._stream = stream
        self._generation = generation
        self.into = into
        self._loop: Reactor | None = None
        self._held = held
        self._waiting = False

    def attach(self, loop: Reactor) -> None:
        """Read whenever there is something, from now on."""
        if self._fd is not None:
            self._loop = loop
            loop.add_reader(self._fd, self._read_unless_held)

    def go_on(self) -> None:
        """It need not be held any more, perhaps."""
        if self._waiting and self._fd is not None and self._loop is not None and not self._held():
            self._waiting = False
            self._loop.add_reader(self._fd, self._read_unless_held)

    def _read_unless_held(self) -> None:
        for _ in range(READS_PER_TURN):
            if self._held() and self._fd is not None and self._loop is not None:
                self._loop.remove_reader(self._fd)
                self._waiting = True
                return
            if not self._read_piece():
                return

    @property
    def open(self) -> bool:
        """True until the end of the output, or `close`."""
        return self._fd is not None

    def read(self) -> None:
        """Read what there is; also to get the last words of a container that has just ended."""
        for _ in range(READS_PER_TURN):
            if not self._read_piece():
                return

    def _read_piece(self) -> bool:
        """False if there is none now."""
        if self._fd is None:
            return False
        try:
            data = read(self._fd, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        self.into.append(self._stream, data, generation=self._generation)
        return True

    def close(self) -> None:
        """Stop reading. What still writes gets SIGPIPE."""
        if self._fd is None:
            return
        if self._loop is not None:
            self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = None


class InputWriter:
    """A container's stdin: takes bytes at once and hands them on as fast as the process reads.

    Args:
        fd: our end; this closes it.
        loop: whose thread calls.
        terminal: it is a terminal's, which is told of the end of the input and stays open.
    """

    def __init__(self, fd: int, loop: Reactor, *, terminal: bool = False) -> None:
        self._fd: int | None = fd
        self._loop = loop
        self.terminal = terminal
        self._last = b""
        self._told: list[Callable[[], None]] = []
        self._unwritten = bytearray()
        self._waiting = False
        self._ending = False

    @property
    def open(self) -> bool:
        """True as long as more can be written."""
        return self._fd is not None and not self._ending

    def write(self, data: bytes) -> None:
        """Hand `data` to the process; no bytes means the end of its input (seed 002: empty closes).

        Raises:
            WrongState: the input has been ended, or the process has closed its end.
            Exhausted: the process has left a mebibyte unread; nothing of `data` was taken.
        """
        if not self.open:
            raise WrongState("the container's stdin is closed")
        if not data:
            self.end()
            return
        if len(self._unwritten) >= UNWRITTEN:
            raise Exhausted(f"{len(self._unwritten)} bytes are waiting for the container to read its stdin")
        self._unwritten += data
        self._last = data[-1:]
        self._flush()

    def when_read(self, told: Callable[[], None]) -> None:
        """Call `told` once when everything written has been handed to the process, or cannot be any more."""
        if self._fd is None or not self._unwritten:
            told()
        else:
            self._told.append(told)

    def end(self) -> None:
        """Close stdin when all that was written has been read."""
        if self.terminal and self.open:
            self._unwritten += farewell(self._last)
        self._ending = True
        self._flush()

    def resize(self, columns: int, rows: int) -> None:
        """Change the terminal's size."""
        if self._fd is not None:
            resize(self._fd, columns, rows)

    def close(self) -> None:
        """Close stdin now; what was not read is lost."""
        if self._fd is not None:
            self._watch(False)
            os.close(self._fd)
            self._fd = None
        self._unwritten.clear()
        self._tell()

    def _tell(self) -> None:
        told, self._told = self._told, []
        for function in told:
            function()

    def _flush(self) -> None:
        try:
            while self._unwritten and self._fd is not None:
                del self._unwritten[: os.write(self._fd, self._unwritten[:CHUNK])]
        except BlockingIOError:
            self._watch(True)
            return
        except OSError:  # nobody reads any more: EPIPE of a pipe, EIO of a terminal
            self.close()
            return
        self._watch(False)
        self._tell()
        if self._ending:
            self.close()

    def _watch(self, wanted: bool) -> None:
        if self._fd is None or wanted == self._waiting:
            return
        self._waiting = wanted
        if wanted:
            self._loop.add_writer(self._fd, self._flush)
        else:
            self._loop.remove_writer(self._fd)
