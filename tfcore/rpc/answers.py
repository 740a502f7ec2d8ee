"""What was answered lately: a request that is asked again is answered again, not done again (DESIGN D3).

With an answer goes what its asker may not have read yet of the request's stream. Knows no links and no messages' meaning.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass

from tfcore.rpc.streams import Stream
from tfcore.wire.header import Header

REMEMBERED = 2048
"""Answers kept; more than requests can be under way at the same time."""

REMEMBERED_BYTES = 4 * 1024 * 1024
"""What their bodies may take in memory."""

WEIGHT = REMEMBERED_BYTES // REMEMBERED
"""What an answer weighs besides its body, when it is told whose are most."""

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
        self._weights: Counter[str] = Counter()
        """By session."""
        self._tails: list[tuple[str, Answer]] = []

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
        """Keep an answer, and forget the oldest of whose are most if these are too many: who asks without end makes a link
        forget nothing of what others have asked."""
        if len(body) > LARGE:
            return
        answer = self._answers[key] = Answer(header, body, stream)
        self._size += len(body)
        self._weights[key[0]] += len(body) + WEIGHT
        while len(self._answers) > REMEMBERED or self._size > REMEMBERED_BYTES:
            session = _heaviest(self._weights)
            self._forget(next(of for of in self._answers if of[0] == session))
        self._bound_tails(key[0], answer)

    def _forget(self, key: Key) -> None:
        body = self._answers.pop(key).body
        self._size -= len(body)
        self._weights[key[0]] -= len(body) + WEIGHT
        if not self._weights[key[0]]:
            del self._weights[key[0]]

    def _bound_tails(self, session: str, latest: Answer) -> None:
        tails = [(of, tail) for of, tail in (*self._tails, (session, latest)) if tail.stream and tail.stream.kept]
        while sum(_kept(tail) for _, tail in tails) > TAILS:
            weights = Counter[str]()
            for of, tail in tails:
                weights[of] += _kept(tail)
            greedy = _heaviest(weights)
            number = next(number for number, (of, _) in enumerate(tails) if of == greedy)
            _, oldest = tails.pop(number)
            oldest.stream, oldest.torn = None, True
        self._tails = tails


def _heaviest(weights: Counter[str]) -> str:
    """The session that takes most."""
    ((session, _),) = weights.most_common(1)
    return session


def _kept(answer: Answer) -> int:
    return answer.stream.kept if answer.stream else 0
