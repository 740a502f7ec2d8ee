"""A container's output on this process's own stdout and stderr, as it comes, and our stdin for its own."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from tfcore.errors import TfError
from tfnz.descriptors import write_all

if TYPE_CHECKING:
    from tfnz.conversation import Conversation

PIECE = 65536


class Output:
    """Two threads that copy what a main process writes; a slow reader of ours slows it down. They begin at once.

    Attributes:
        broken: set when nothing more is copied, because of
        failure: whoever read our stdout or stderr has gone (BrokenPipeError), it cannot be written for another reason
            (OSError), or the way to the container was lost (TfError).
    """

    def __init__(self, talk: Conversation) -> None:
        self.broken = threading.Event()
        self.failure: OSError | TfError | None = None
        ways = ((talk.read, writer(sys.stdout)), (talk.read_errors, writer(sys.stderr)))
        self._threads = [threading.Thread(target=self._copy, args=way, name="tf output", daemon=True) for way in ways]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Wait until all it has written has been written here, or cannot be any more."""
        for thread in self._threads:
            thread.join()

    def _copy(self, read: Callable[[], bytes], write: Callable[[bytes], None]) -> None:
        try:
            while piece := read():
                write(piece)
        except (OSError, TfError) as error:
            self.failure = self.failure or error
            self.broken.set()


def feed(talk: Conversation) -> None:
    """Hand on what comes on our stdin until its end, in a thread of its own, which ends with this process: a blocking read
    cannot be ended."""

    def hand_on() -> None:
        with contextlib.suppress(OSError, TfError):  # nothing can be read, or nobody is there any more
            while data := os.read(sys.stdin.fileno(), PIECE):
                talk.write(data)
            talk.finish()

    threading.Thread(target=hand_on, name="tf input", daemon=True).start()


def writer(stream: IO[str]) -> Callable[[bytes], None]:
    """Writes all it is given to the stream's descriptor, as it comes."""
    return lambda data: write_all(stream.fileno(), data)
