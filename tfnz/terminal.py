"""This process's own terminal, handed to a process in a container: `tf -ti`, `tf exec -ti`, `tf resume`.

    with container.open_process(shell=True, terminal=here()) as talk:
        code = converse(talk)

While they talk the terminal is raw: every key goes there, Ctrl-C too, and ^] three times leaves. Whatever happens, it is put
back as it was, and so are modes that a full-screen program has left on. Knows `Conversation` and nothing of commands.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from tfcore.errors import BadRequest, TfError
from tfcore.wire.terminal import Terminal
from tfnz.descriptors import write_all
from tfnz.ending import ending

if TYPE_CHECKING:
    from tfnz.conversation import Conversation

LEAVE = 0x1D
"""Ctrl-]"""

TIMES = 3

PIECE = 65536

STOPPED = 1.0
"""Seconds that a terminal which takes nothing any more can hold us up."""

_TERM = re.compile(r"[0-9A-Za-z][0-9A-Za-z+._-]{0,63}")


def here() -> Terminal:
    """A terminal like ours: its size and its kind.

    Raises:
        BadRequest: standard input is no terminal.
    """
    if not sys.stdin.isatty():
        raise BadRequest("standard input is no terminal", hint="leave -t out; -i alone hands on what comes there")
    columns, rows = _size()
    term = os.environ.get("TERM", "")
    return Terminal(columns=columns, rows=rows, term=term if _TERM.fullmatch(term) else "xterm")


def converse(talk: Conversation) -> int | None:
    """Let whoever sits here talk with the process until it ends.

    Returns:
        its exit code; None if somebody has left by ^] three times.

    Raises:
        TfError: it was lost, or the way to it. Ended: a signal has ended us.
    """
    over = threading.Event()
    showing = _Showing(talk, over)
    with ending(), _raw(), _Typing(talk, over) as typing:
        showing.start()
        try:
            over.wait()
        finally:
            showing.stop()
    return None if typing.left and not showing.ended else talk.wait().exit_code


class Leaving:
    """Finds ^] three times in a row among what is typed; fewer of them are kept back until something else is typed."""

    def __init__(self) -> None:
        self._seen = 0

    def pass_on(self, typed: bytes) -> tuple[bytes, bool]:
        """(What is to be sent, whether somebody leaves)."""
        sent = bytearray()
        for key in typed:
            if key == LEAVE:
                self._seen += 1
                if self._seen == TIMES:
                    return bytes(sent), True
            else:
                sent += bytes([LEAVE]) * self._seen
                sent.append(key)
                self._seen = 0
        return bytes(sent), False


class Modes:
    """Follows which of a terminal's modes a program has switched on: the other screen, the mouse, a hidden cursor.

    Those that are still on when it is cut off would make the terminal useless for what comes next.
    """

    _SWITCH = re.compile(rb"\x1b\[\?([0-9;]{1,30})([hl])")
    _TORN = re.compile(rb"\x1b(?:\[(?:\?[0-9;]{0,30})?)?\Z")

    OTHER_SCREEN = frozenset({47, 1047, 1049})
    FOLLOWED = OTHER_SCREEN | {1, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 2004}
    CURSOR = 25

    def __init__(self) -> None:
        self._on: set[int] = set()
        self._hidden = False
        self._torn = b""

    def see(self, shown: bytes) -> None:
        """What the terminal was given."""
        data = self._torn + shown
        for numbers, switch in self._SWITCH.findall(data):
            for number in (int(word) for word in numbers.split(b";") if word):
                self._switch(number, on=switch == b"h")
        torn = self._TORN.search(data)
        self._torn = torn[0] if torn else b""

    def _switch(self, number: int, *, on: bool) -> None:
        if number == self.CURSOR:
            self._hidden = not on
        elif number in self.FOLLOWED:
            (self._on.add if on else self._on.discard)(number)

    def back(self) -> bytes:
        """What puts the terminal back; nothing if the program did so itself."""
        last = sorted(self._on, key=lambda number: (number in self.OTHER_SCREEN, number))
        back = b"".join(b"\x1b[?%dl" % number for number in last)
        back += b"\x1b[?25h" if self._hidden else b""
        return b"\x1b[0m" + back if back else b""


class _Showing:
    """The thread that shows what the process writes. It may wait for more when nobody wants it any longer, until the session
    ends.

    Attributes:
        ended: the process has said all it had to say.
    """

    def __init__(self, talk: Conversation, over: threading.Event) -> None:
        self.ended = False
        self._talk = talk
        self._over = over
        self._modes = Modes()
        self._writing = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._show, name="tfnz terminal", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Show nothing more, since the terminal is about to be put back, and undo what the process has done to it."""
        self._stopped = True
        with contextlib.suppress(OSError):  # the terminal may have gone
            if self._writing.acquire(timeout=STOPPED):
                _write(self._modes.back())

    def _show(self) -> None:
        with contextlib.suppress(TfError, OSError):  # `wait` tells why
            while shown := self._talk.read():
                with self._writing:
                    if self._stopped:
                        return
                    self._modes.see(shown)
                    _write(shown)
            self.ended = True
        self._over.set()


class _Typing:
    """The thread that sends what is typed, and the terminal's size when it changes.

    Attributes:
        left: somebody has left.
    """

    def __init__(self, talk: Conversation, over: threading.Event) -> None:
        self.left = False
        self._talk = talk
        self._over = over
        self._leaving = Leaving()
        self._wake, self._bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._stopped = False
        self._thread = threading.Thread(target=self._type, name="tfnz typing", daemon=True)

    def __enter__(self) -> _Typing:
        self._before = signal.signal(signal.SIGWINCH, self._resized)
        self._resized()  # it may have changed since the process was told
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGWINCH, self._before)
        self._stopped = True
        self._ring()
        self._thread.join()
        os.close(self._wake)
        os.close(self._bell)

    def _resized(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it rings already
            os.write(self._bell, b"\0")

    def _type(self) -> None:
        with contextlib.suppress(TfError, OSError):  # it has ended
            while not self._stopped and self._once():
                pass
        if self.left:
            self._over.set()

    def _once(self) -> bool:
        """Wait for keys or the bell, and pass them on; False when somebody has left or nothing more can be typed."""
        ready, _, _ = select.select([sys.stdin.fileno(), self._wake], [], [])
        if self._wake in ready:
            os.read(self._wake, PIECE)
            if not self._stopped:
                self._talk.resize(*_size())
            return True
        typed = os.read(sys.stdin.fileno(), PIECE)
        if not typed:
            self._talk.finish()
            return False
        sent, self.left = self._leaving.pass_on(typed)
        if sent:
            self._talk.write(sent)
        return not self.left


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Without echo, lines and signals of its own, for the length of a block."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSANOW)
    try:
        with _logged_in_lines():
            yield
    finally:
        with contextlib.suppress(termios.error):  # the terminal may have gone
            termios.tcsetattr(descriptor, termios.TCSANOW, before)


@contextlib.contextmanager
def _logged_in_lines() -> Iterator[None]:
    """A raw terminal does not go back to the left by itself when something is logged."""
    handlers = [
        handler
        for handler in (*logging.root.handlers, logging.lastResort)
        if isinstance(handler, logging.StreamHandler) and handler.stream.isatty()
    ]
    for handler in handlers:
        handler.terminator = "\r\n"
    try:
        yield
    finally:
        for handler in handlers:
            handler.terminator = "\n"


def _size() -> tuple[int, int]:
    """Columns and rows; a terminal that knows nothing of its size has 80 and 24."""
    try:
        columns, rows = os.get_terminal_size(sys.stdin.fileno())
    except OSError:
        columns, rows = shutil.get_terminal_size()
    return columns or 80, rows or 24


def _write(data: bytes) -> None:
    write_all(sys.stdout.fileno(), data)
