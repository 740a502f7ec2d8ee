"""What was answered is remembered for everybody, whoever else asks without end by the same link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tfcore.rpc.answers import LARGE, REMEMBERED, TAILS, Answers
from tfcore.wire.header import Header

HEADER = Header(kind="reply", id="")


@dataclass
class Tail:
    """As a stream, as far as answers look at it."""

    kept: int


@pytest.mark.parametrize("body", [b"", bytes(LARGE)], ids=["many", "large"])
def test_who_asks_much_forgets_its_own(body: bytes) -> None:
    answers = Answers()
    for number in range(10):
        answers.remember(("s-good", str(number)), HEADER, b"done", None)
    for number in range(3 * REMEMBERED):
        answers.remember(("s-greedy", str(number)), HEADER, body, None)
    assert all(answers.get(("s-good", str(number))) for number in range(10))
    assert answers.get(("s-greedy", str(3 * REMEMBERED - 1))), "the latest of all is remembered"
    assert answers.get(("s-greedy", "0")) is None
    assert len(answers) <= REMEMBERED


def test_who_does_not_read_loses_its_own_tails() -> None:
    answers = Answers()
    mine: Any = Tail(1000)
    answers.remember(("s-good", "1"), HEADER, b"", mine)
    for number in range(10):
        greedy: Any = Tail(TAILS // 3)
        answers.remember(("s-greedy", str(number)), HEADER, b"", greedy)
    kept, torn = answers.get(("s-good", "1")), answers.get(("s-greedy", "0"))
    assert kept is not None
    assert not kept.torn
    assert torn is not None
    assert torn.torn
