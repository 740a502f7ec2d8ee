"""Sessions of processes, as setsid(2) makes them: everything a command has started and that has not left it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable

from tfnode.kernel import procfs

ROUNDS = 20
"""How often to look again at most: what is being killed may start others meanwhile."""


def session_of(pid: int) -> int | None:
    """The session a process is in; None if it is gone, or in ours, which is nobody's to signal."""
    try:
        session = os.getsid(pid)
    except ProcessLookupError:
        return None
    return None if session == os.getsid(0) else session


def signal_session(session: int, number: int, among: Callable[[], Iterable[int]]) -> None:
    """Send a signal to everybody in a session; with SIGKILL until nobody is left.

    Args:
        session: of somebody who lives, or has a moment ago: otherwise the number may be another's by now.
        among: those who may be in it, asked anew each time.
    """
    for _ in range(ROUNDS if number == signal.SIGKILL else 1):
        reached = [pid for pid in among() if _signal_member(pid, session, number)]
        if not reached:
            return


def _signal_member(pid: int, session: int, number: int) -> bool:
    """True if `pid` is in the session and had not ended. By descriptor: the number may be another's a moment later."""
    with contextlib.suppress(ProcessLookupError):
        member = os.pidfd_open(pid)
        try:
            if os.getsid(pid) == session and procfs.is_running(pid):
                signal.pidfd_send_signal(member, number)
                return True
        finally:
            os.close(member)
    return False
