"""A container's output on this process's own stdout and stderr, as it comes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from tfcore.errors import TfError
from tfcore.wire.containers import GetLogs

if TYPE_CHECKING:
    from tfnz.container import Container

SHORTEST, LONGEST = 0.01, 0.2
"""Seconds between two looks; the longer nothing comes, the longer."""


class Output:
    """Follows a container from its first word; begins at once.

    Attributes:
        broken: set when whoever reads our stdout or stderr has gone.
    """

    def __init__(self, container: Container) -> None:
        self.broken = threading.Event()
        self._container = container
        self._over = threading.Event()
        self._next = 0
        self._writers = {"stdout": writer(sys.stdout), "stderr": writer(sys.stderr)}
        self._thread = threading.Thread(target=self._follow, name="tf output", daemon=True)
        self._thread.start()

    def finish(self, timeout: float = 30.0) -> None:
        """Write what there is until now, and follow no longer; a reader who takes longer gets no more."""
        self._over.set()
        self._thread.join(timeout)

    def _follow(self) -> None:
        pause = SHORTEST
        try:
            while True:
                last = self._over.is_set()
                came = self._copy()
                if last and not came:
                    return
                pause = SHORTEST if came else min(2 * pause, LONGEST)
                self._over.wait(pause)
        except BrokenPipeError:
            self.broken.set()
        except (OSError, TfError):
            return  # the session has ended, which the main thread sees for itself

    def _copy(self) -> bool:
        """Write the next page; True if there was anything."""
        page = self._container._page(GetLogs(since=self._next))
        self._next = page.next
        for record in page.records:
            self._writers[record.stream](record.data)
        return bool(page.records)


def writer(stream: IO[str]) -> Callable[[bytes], None]:
    """Writes all it is given to the stream's descriptor, as it comes."""

    def write(data: bytes) -> None:
        descriptor = stream.fileno()
        while data:
            data = data[os.write(descriptor, data) :]

    return write
