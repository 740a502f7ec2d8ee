"""Termination signals as something to poll, for a process with one thread.

SIGTERM, SIGINT and SIGHUP all mean "stop in good order". Knows nothing of what stopping is.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Iterator
from typing import Any, Self

STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Catches `STOP` inside the block; the earlier handlers are back afterwards."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._earlier: dict[signal.Signals, Any] = {}
        self._earlier_wakeup = -1

    def __enter__(self) -> Self:
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._earlier_wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in STOP:
            self._earlier[number] = signal.signal(number, _noted)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._earlier_wakeup)
        self.close()

    def fileno(self) -> int:
        """The descriptor to poll: readable when a signal came."""
        return self._reader.fileno()

    def came(self) -> bool:
        """True if at least one of `STOP` came since the last call."""
        with contextlib.suppress(BlockingIOError):
            return any(byte in STOP for byte in self._reader.recv(512))
        return False

    def wait(self, seconds: float) -> bool:
        """Pause for `seconds`, less if a signal comes: True then."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.poll(seconds * 1000)
        return self.came()

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """Block `STOP` around a fork; the child sets its own handlers (below) and then calls `let_through`."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
        try:
            yield
        finally:
            let_through()

    def close(self) -> None:
        """Close the descriptors; a forked child does so after `hear_only_term` or `hear_nothing`."""
        self._reader.close()
        self._writer.close()


def hear_only_term() -> None:
    """For the agent, while signals are held back: SIGTERM ends it with status 0, the others do nothing.

    Pid 1 of a namespace never gets a signal it has no handler for. So the others are left at their default, which
    programs it starts inherit, and SIGTERM needs a handler from the first moment.
    """
    signal.set_wakeup_fd(-1)
    for number in STOP:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))


def hear_nothing() -> None:
    """For the keeper, while signals are held back: what stops the launcher must not stop the one who sweeps after it."""
    signal.set_wakeup_fd(-1)
    for number in STOP:
        signal.signal(number, signal.SIG_IGN)


def let_through() -> None:
    """Deliver what was held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)


def _noted(_number: int, _frame: object) -> None:
    """The wake-up descriptor has the news; the handler is there so that the signal is caught at all."""
