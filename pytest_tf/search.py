"""Which of the tests before a test makes it fail: asked of trials that start from what the containers were after each.

Pure: knows numbers and outcomes, neither pytest nor containers.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Outcome(NamedTuple):
    """How a test went.

    Attributes:
        word: `passed`, `failed` or `skipped`.
        how: what it failed with.
    """

    word: str
    how: str = ""

    @property
    def failed(self) -> bool:
        return self.word == "failed"


class Verdict(enum.Enum):
    """What came out; the value is pytest's exit code."""

    FOUND = 0
    PASSES = 6
    ALONE = 7
    IN_MEMORY = 8
    IN_PYTHON = 9


@dataclass(frozen=True)
class Finding:
    """What is known in the end.

    Attributes:
        number: of the test that is to blame, from 1, if one is.
        outcome: how the test that is asked about failed, or did not.
        enough: the one to blame is enough, without those before it.
        why: no snapshot could be taken after the one to blame.
    """

    verdict: Verdict
    outcome: Outcome
    number: int = 0
    enough: bool = False
    why: str = ""


class Trials(Protocol):
    """Running the test that is asked about."""

    def alone(self) -> Outcome:
        """Before all others."""

    def run_others(self) -> tuple[int, str]:
        """Run the others one after the other, nothing rolled back in between, and keep what the containers are after each;
        how many were run, and why there is nothing kept after the last of these."""

    def live(self) -> Outcome:
        """After the others, with all that lives."""

    def at(self, number: int) -> Outcome:
        """With the containers as they were after so many others."""

    def after_only(self, number: int) -> Outcome:
        """After this one of the others, which starts with the containers as they were before all of them."""


def search(trials: Trials) -> Finding:
    """Find the first of the others after which the test fails."""
    alone = trials.alone()
    if alone.word != "passed":
        return Finding(Verdict.ALONE, alone)
    others, why = trials.run_others()
    live = trials.live()
    if not live.failed:
        return Finding(Verdict.PASSES, live, others, why=why)
    if why:
        return Finding(Verdict.FOUND, live, others, why=why)
    restored = trials.at(others)
    if not restored.failed:
        return Finding(Verdict.IN_MEMORY, live)
    if (clean := trials.at(0)).failed:
        return Finding(Verdict.IN_PYTHON, clean)
    number, outcome = _first(trials, others, restored)
    return Finding(Verdict.FOUND, outcome, number, enough=trials.after_only(number).failed)


def _first(trials: Trials, others: int, outcome: Outcome) -> tuple[int, Outcome]:
    """It passes after `passes` tests and fails after `fails`, until there is nothing in between."""
    passes, fails = 0, others
    while fails - passes > 1:
        middle = (passes + fails) // 2
        tried = trials.at(middle)
        if tried.failed:
            fails, outcome = middle, tried
        else:
            passes = middle
    return fails, outcome
