"""Rounds: everybody who is to be compared has a turn in each, so that a slow moment of the machine strikes all alike.

Knows nothing of what a turn does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.measuring.progress import Progress

PATIENCE = 120.0
"""Seconds until something that was to succeed has to."""

POLL = 0.002
"""Seconds between two attempts, for us and for peers."""

Turn = Callable[[], float]
"""Does it once and returns what it measured. It measures by itself: preparing and clearing away are not to be counted."""


@dataclass(frozen=True)
class Contestant:
    """Somebody who takes part in every round.

    Attributes:
        turns: how many it has in each, one after another: more for whom is fast, so that it is seen as often as it needs to
            be without waiting for the slow ones every time.
    """

    who: str
    turn: Turn
    turns: int = 1


def interleave(
    what: str, contestants: Sequence[Contestant], *, rounds: int, progress: Progress, warm_up: int = 1
) -> dict[str, list[float]]:
    """Let everybody have its turns in each round, and return what each measured, in the order of the rounds.

    The first `warm_up` rounds, of one turn each, fill caches and are not counted. Who begins changes from round to round:
    nobody shall always follow the one that leaves a mess.
    """
    found: dict[str, list[float]] = {contestant.who: [] for contestant in contestants}
    for number in range(-warm_up, rounds):
        for contestant in rotated(contestants, number):
            for _ in range(contestant.turns if number >= 0 else 1):
                progress.during(f"{what}: {contestant.who}, {round_name(number, rounds)}")
                measured = contestant.turn()
                if number >= 0:
                    found[contestant.who].append(measured)
    return found


def rotated(contestants: Sequence[Contestant], number: int) -> Iterable[Contestant]:
    """The contestants in the order of round `number`."""
    first = number % len(contestants)
    return [*contestants[first:], *contestants[:first]]


def round_name(number: int, rounds: int) -> str:
    """How progress calls a round."""
    return "warming up" if number < 0 else f"round {number + 1} of {rounds}"


def milliseconds(work: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter) -> float:
    """How long `work` takes."""
    begun = clock()
    work()
    return (clock() - begun) * 1000


def until(attempt: Callable[[], bool], *, what: str, patience: float = PATIENCE, pause: float = POLL) -> None:
    """Try until it succeeds, `pause` seconds after each failure.

    Raises:
        TimeoutError: it did not, within `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while not attempt():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: no success within {patience:g} s")
        time.sleep(pause)
