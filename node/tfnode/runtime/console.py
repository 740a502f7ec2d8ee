"""The terminal of a process in a container: made by the OCI runtime in the container's own /dev/pts, held by us at its other
end.

The runtime hands our end over by a socket (`--console-socket`, as crun and runc have it). Knows nothing of containers.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import struct
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

from tfcore.errors import CommandFailed, WrongState

SECONDS = 10.0
"""How long the runtime may take to hand the terminal over once it says that the process runs; it has done so before."""

OPEN_FAR_END = 0x5441
"""TIOCGPTPEER (ioctl_tty(2)): a terminal's far end by its near one, whichever /dev/pts it is in."""

END_OF_FILE = b"\x04"
"""Ctrl-D: ends the input of who reads a line, if nothing has been typed in it."""


class Console:
    """A terminal that a process is to have.

    Args:
        columns, rows: its size.
        echo: it shows what is typed until a program changes that.

    Attributes:
        owner: the user outside whom the process is to run as; crun leaves terminals to the container's root.
    """

    def __init__(self, columns: int, rows: int, *, echo: bool = True) -> None:
        self.columns = columns
        self.rows = rows
        self.owner: int | None = None
        self._echo = echo
        self._fd: int | None = None
        self._far_end: int | None = None

    @contextlib.contextmanager
    def offered(self, directory: Path) -> Iterator[str]:
        """During this block the OCI runtime may connect to the path and hand our end over.

        Args:
            directory: ours alone.

        Raises:
            CommandFailed: the block succeeded, but nothing was handed over.
        """
        place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        name = f"tty-{secrets.token_hex(4)}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as desk:
                # The way there may be longer than the 107 bytes that a socket's address has room for.
                desk.bind(f"/proc/self/fd/{place}/{name}")
                desk.listen(1)
                desk.settimeout(None)
                yield from self._receiving(desk, f"/proc/{os.getpid()}/fd/{place}/{name}")
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=place)
            os.close(place)

    def _receiving(self, desk: socket.socket, path: str) -> Iterator[str]:
        """Received while the runtime is at work: size and echo are to be right when the process looks."""
        receiver = threading.Thread(target=self._receive, args=(desk,), name="tf-console", daemon=True)
        receiver.start()
        try:
            yield path
            receiver.join(SECONDS)
        finally:
            with contextlib.suppress(OSError):
                desk.shutdown(socket.SHUT_RDWR)  # wakes whoever still waits for somebody to connect
            receiver.join()
        if self._fd is None:
            raise CommandFailed("the OCI runtime has not handed the process's terminal over")

    def _receive(self, desk: socket.socket) -> None:
        with contextlib.suppress(OSError):
            caller, _ = desk.accept()
            with caller:
                caller.settimeout(SECONDS)
                _, received, _, _ = socket.recv_fds(caller, 4096, 1)
            if received:
                self._hold(received[0])

    def _hold(self, fd: int) -> None:
        self._fd = fd
        os.set_inheritable(fd, False)
        os.set_blocking(fd, False)
        resize(fd, self.columns, self.rows)
        self._far_end = fcntl.ioctl(fd, OPEN_FAR_END, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        if not self._echo:
            attributes = termios.tcgetattr(fd)
            attributes[3] &= ~termios.ECHO
            termios.tcsetattr(fd, termios.TCSANOW, attributes)
        if self.owner is not None:
            os.fchown(self._far_end, self.owner, -1)

    def take(self) -> int:
        """Our end, now the caller's to close; it does not block.

        Raises:
            WrongState: it has not been handed over, or was taken.
        """
        taken, self._fd = self._fd, None
        if taken is None:
            raise WrongState("this terminal does not exist or was taken before")
        return taken

    @property
    def taken(self) -> bool:
        """True if somebody else has our end."""
        return self._fd is None and self._far_end is not None

    def again(self) -> int:
        """A second descriptor of our end, which must not be taken yet; likewise."""
        if self._fd is None:
            raise WrongState("this terminal does not exist or was taken before")
        return os.dup(self._fd)

    def let_end(self) -> None:
        """From now on our end shows an end when nobody has the terminal open. Until this is called it does not: who has one
        may close it for a moment, as the runtime and login programs do."""
        if self._far_end is not None:
            os.close(self._far_end)
            self._far_end = None

    def close(self) -> None:
        """Close our end unless it was taken; `let_end`."""
        self.let_end()
        if self._fd is not None:
            os.close(self.take())


def resize(fd: int, columns: int, rows: int) -> None:
    """Give a terminal another size; what runs in it gets SIGWINCH. OSError if it is none."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def farewell(last: bytes) -> bytes:
    """What ends the input of a terminal after `last` was typed: an unfinished line takes one Ctrl-D to be handed over."""
    return END_OF_FILE if not last or last.endswith((b"\n", b"\r")) else END_OF_FILE * 2


def read(fd: int, size: int) -> bytes:
    """As `os.read`, of a pipe or of our end of a terminal, which has an error where a pipe has an end."""
    try:
        return os.read(fd, size)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""
