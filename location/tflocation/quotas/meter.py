"""Counts the bytes of an account that are on their way to its images and kept snapshots, as they come, in any thread."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType

from tflocation.quotas.kinds import refusal


class Arriving:
    """Bytes by account that are coming in and not yet counted as kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes: Counter[str] = Counter()

    def add(self, account: str, size: int) -> int:
        """So many more, or fewer; returns how many those are then."""
        with self._lock:
            now = self._bytes[account] = self._bytes[account] + size
            if not now:
                del self._bytes[account]
        return now


class Meter:
    """Of one upload or one kept snapshot, for the length of a `with` block.

    Args:
        most: bytes the account may keep; None for any number.
        kept: bytes its kept snapshots take.
        possessed: asks the image cache what its images take.
        arriving: what is on its way of all.
    """

    def __init__(
        self, account: str, most: float | None, kept: int, possessed: Callable[[], int], arriving: Arriving
    ) -> None:
        self._account = account
        self._most = most
        self._kept = kept
        self._possessed = possessed
        self._arriving = arriving
        self._mine = 0

    def __enter__(self) -> Meter:
        return self

    def count(self, size: int) -> None:
        """So many bytes more have come, or will.

        Raises:
            QuotaExceeded: with what else is on its way they are too many.
        """
        self._mine += size
        arriving = self._arriving.add(self._account, size)
        if self._most is None:
            return
        used = self._kept + self._possessed() + arriving - size
        if used + size > self._most:
            raise refusal(self._account, "disk", most=self._most, used=used, more=size)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._arriving.add(self._account, -self._mine)
