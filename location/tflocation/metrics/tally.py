"""What a location counts all the time: requests by operation and outcome, with how long they took. Cheap; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tfcore.timings import Timings


class Tally:
    """Of one daemon, since its start."""

    def __init__(self) -> None:
        self._requests: defaultdict[tuple[str, str], Timings] = defaultdict(Timings)

    def answered(self, op: str, outcome: str, seconds: float) -> None:
        """A request was answered, here or by a node. `outcome` is `ok` or a failure's code (`tfcore.errors`)."""
        self._requests[op, outcome].add(seconds)

    def __iter__(self) -> Iterator[tuple[str, str, Timings]]:
        """Operation, outcome, timings."""
        for (op, outcome), timings in sorted(self._requests.items()):
            yield op, outcome, timings
