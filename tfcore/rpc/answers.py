"""What was answered lately: a request that is asked again is answered again, not done again (DESIGN D3).

With an answer goes what its asker may not have read yet of the request's stream. Knows no links and no messages' meaning.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from tfcore.rpc.streams import Stream
from tfcore.wire.header import Header

REMEMBERED = 2048
"""Answers kept; more than requests can be under way at the same time."""

REMEMBERED_BYTES = 4 * 1024 * 1024
"""What their bodies may take in memory."""

LARGE = 64 * 1024
"""Bytes of a body that is not kept: large answers are looks (logs, configs), which may as well be done again."""

TAILS = 16 * 1024 * 1024
"""Bytes kept of the streams of what has been answered. An asker that is there has read them a moment later."""

Key = tuple[str, str]
"""(session, id of the request)"""


@dataclass
class Answer:
    """One answer.

    Attributes:
        stream: of its request, as far as its asker may not have read it; None if nothing was written to it, and for a
            failure, with which it goes.
        torn: that was too much to be kept: without it the answer is worth nothing.
    """

    header: Header
    body: bytes
    stream: Stream | None
    torn: bool = False


class Answers:
    """The latest answers of one link."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Key, Answer] = OrderedDict()
        self._size = 0
        self._tails: list[Answer] = []

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def size(self) -> int:
        """Bytes of all bodies."""
        return self._size

    def get(self, key: Key) -> Answer | None:
        """The answer that was given to a request."""
        return self._answers.get(key)

    def remember(self, key: Key, header: Header, body: bytes, stream: Stream | None) -> None:
        """Keep an answer, and forget the oldest if these are too many."""
        if len(body) > LARGE:
            return
        answer = self._answers[key] = Answer(header, body, stream)
        self._size += len(body)
        while len(self._answers) > REMEMBERED or self._size > REMEMBERED_BYTES:
            _, oldest = self._answers.popitem(last=False)
            self._size -= len(oldest.body)
        self._bound_tails(answer)

    def _bound_tails(self, latest: Answer) -> None:
        tails = [tail for tail in (*self._tails, latest) if tail.stream is not None and tail.stream.kept]
        while sum(tail.stream.kept for tail in tails if tail.stream) > TAILS:
            oldest = tails.pop(0)
            oldest.stream, oldest.torn = None, True
        self._tails = tails
