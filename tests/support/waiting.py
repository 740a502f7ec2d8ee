"""Waiting for what another thread or process will have done soon."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(condition: Callable[[], object]) -> None:
    """Return when `condition()` holds; the test's own time limit ends the wait."""
    while not condition():
        time.sleep(0.002)
