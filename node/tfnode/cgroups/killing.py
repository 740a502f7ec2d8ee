"""Ending every process of a group where the kernel has no single order for it.

Knows nothing of hierarchies: how to freeze, thaw and list comes from the driver.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from tfnode.cgroups.files import until


def kill_all(
    *, freeze: Callable[[], None], thaw: Callable[[], None], pids: Callable[[], frozenset[int]], timeout: float
) -> None:
    """Freeze, SIGKILL, thaw, look again, until nobody is left.

    Frozen first, so that none forks away from under the list and no pid changes its owner; thawed afterwards, because in
    v1 a frozen process does not even die (PLATFORM 4).

    Raises:
        DeadlineExceeded: some were left after `timeout` seconds; the message names them.
    """

    def nobody_left() -> bool:
        if not (victims := pids()):
            return True
        freeze()
        for pid in victims | pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        thaw()
        return not pids()

    until(nobody_left, timeout=timeout, failure=lambda: f"processes {sorted(pids())} still alive")
