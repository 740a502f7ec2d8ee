"""What happens behind the caller's back, for `Location.run`: the end of the session, and callbacks that failed."""

from __future__ import annotations

import threading


class Background:
    """Of one session.

    Attributes:
        failure: the first thing a callback raised.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self._news = threading.Event()

    def failed(self, failure: Exception) -> None:
        """A callback raised this."""
        self.failure = self.failure or failure
        self._news.set()

    def over(self) -> None:
        """The session has ended."""
        self._news.set()

    def wait(self) -> None:
        """Block until one of the two; Ctrl-C gets through."""
        while not self._news.wait(3600):
            pass
