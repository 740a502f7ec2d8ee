"""Signals that end a command in order: Ctrl-C, SIGTERM and SIGHUP raise once, and spare the clearing away after it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """One of these signals came. Like KeyboardInterrupt it is no Exception: nobody catches it by mistake.

    Attributes:
        code: what a shell calls the exit code of it: 128 + the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Signals:
    """The first of these signals raises `Ended` in the main thread, later ones are ignored: things are being cleared away.
    One that was ignored before stays so (nohup).
    """

    def __init__(self) -> None:
        found = {number: signal.getsignal(number) for number in ENDING}
        self._before = {number: handler for number, handler in found.items() if handler is not signal.SIG_IGN}

    def heed(self) -> None:
        """From now on."""
        for number in self._before:
            signal.signal(number, self._end)

    def ignore(self) -> None:
        """What comes from now on changes nothing."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def restore(self) -> None:
        """As it was before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self.ignore()
        raise Ended(number)


_active: Signals | None = None


@contextlib.contextmanager
def ending() -> Iterator[Signals]:
    """Heed them for the length of a block; whoever clears away at its end calls `ignore` before. A block inside another one
    shares it."""
    global _active
    if _active is not None:
        yield _active
        return
    _active = signals = Signals()
    signals.heed()
    try:
        yield signals
    finally:
        _active = None
        signals.restore()
