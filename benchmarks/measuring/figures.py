"""What many measurements say together. Pure; units are whoever's who measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Of `n` samples: the middle, both ends, and what 95 of 100 do not exceed."""

    n: int
    median: float
    minimum: float
    maximum: float
    p95: float


def summarize(samples: Sequence[float]) -> Summary:
    """Sum up samples; the 95th percentile is the nearest-rank one, a sample that was seen.

    Raises:
        ValueError: there is none.
    """
    if not samples:
        raise ValueError("nothing was measured")
    ordered = sorted(samples)
    return Summary(
        n=len(ordered),
        median=statistics.median(ordered),
        minimum=ordered[0],
        maximum=ordered[-1],
        p95=ordered[math.ceil(0.95 * len(ordered)) - 1],
    )


def medians_by_round(samples: Sequence[float], rounds: int) -> list[float]:
    """One figure for each round, of samples in the order of the rounds, as many in each: what they were in the middle.

    Raises:
        ValueError: they cannot be shared out evenly.
    """
    turns, left = divmod(len(samples), rounds)
    if left or not turns:
        raise ValueError(f"{len(samples)} samples are not the same number in each of {rounds} rounds")
    return [statistics.median(samples[begin : begin + turns]) for begin in range(0, len(samples), turns)]


def pairwise(dividends: Sequence[float], divisors: Sequence[float]) -> list[float]:
    """The quotient of each round. What slowed the machine down in one round slowed both, so quotients can be trusted
    where a quotient of two medians cannot.

    Raises:
        ValueError: the two were not measured in the same rounds.
    """
    return [dividend / divisor for dividend, divisor in zip(dividends, divisors, strict=True)]
