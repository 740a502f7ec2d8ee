"""The containers of failed tests, kept at the location as they were when the test failed: `tf resume ID` has them again.

They hold disk and no memory, go by themselves after a time, and give way to those of later runs.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_tf.guarded import Guarded
from pytest_tf.options import UNITS, Options
from tfcore.errors import TfError

if TYPE_CHECKING:
    from tfnz.kept import Kept
    from tfnz.location import Location

log = logging.getLogger(__name__)

ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""What cannot be mistaken when it is read out."""

LENGTH = 6
TIMEOUT = 60.0
"""Seconds that keeping one container may take."""

RUN = "run"
"""The label that tells which run kept something."""


@dataclass(frozen=True)
class Outcome:
    """What became of a failed test's containers.

    Attributes:
        failure: the id by which they are had again; "" if none was kept.
        lines: for the test's report.
    """

    failure: str = ""
    lines: list[str] = field(default_factory=list)


class Keeping:
    """Keeps what failed tests leave.

    Args:
        run: the same for all processes of a run.
    """

    def __init__(self, options: Options, *, run: str) -> None:
        self._options = options
        self._run = run
        self._count = 0

    def keep(self, test: str, containers: Sequence[Guarded]) -> Outcome:
        """Keep a test's containers."""
        most = self._options.keep_count
        if not containers or not most:
            return Outcome()
        if self._count >= most:
            return Outcome(lines=[f"its containers are not kept: those of {most} failures are (--tf-keep-count)"])
        failure = "f-" + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
        refusals = [refusal for one in containers if (refusal := self._keep_one(one, failure, test))]
        if len(refusals) == len(containers):
            return Outcome(lines=refusals)
        self._count += 1
        location = containers[0].container.location
        self._make_room(location)
        return Outcome(failure, [f"tf resume {failure}{_at(location)}   (for {self._how_long()})", *refusals])

    def _keep_one(self, guarded: Guarded, failure: str, test: str) -> str:
        """Why it is not kept, or nothing."""
        from tfnz.labels import CONTAINER, FAILURE, TEST

        labels = {FAILURE: failure, CONTAINER: guarded.name, TEST: test, RUN: self._run}
        try:
            guarded.container.keep(seconds=self._options.keep_for, labels=labels, evictable=True, timeout=TIMEOUT)
        except TfError as error:
            return f"{guarded.name} is not kept: {error}"
        return ""

    def _make_room(self, location: Location) -> None:
        try:
            for kept in surplus(location.kept(), self._options.keep_count, run=self._run):
                kept.forget()
        except TfError as error:
            log.info("older failures stay: %s", error)

    def _how_long(self) -> str:
        seconds = self._options.keep_for
        fitting = [unit for unit in UNITS if seconds % UNITS[unit] == 0 and seconds >= 2 * UNITS[unit]]
        unit = fitting[-1] if fitting else "m"
        return f"{seconds / UNITS[unit]:g} {unit}"


def surplus(present: Iterable[Kept], count: int, *, run: str) -> list[Kept]:
    """What is kept of failed tests beyond the `count` newest ones; what this run has kept stays."""
    from tfnz.labels import FAILURE

    failures: dict[str, list[Kept]] = {}
    for kept in sorted(present, key=lambda kept: kept.created):
        if FAILURE in kept.labels:
            failures.setdefault(kept.labels[FAILURE], []).append(kept)
    earlier = [failure for failure, parts in failures.items() if parts[0].labels.get(RUN) != run]
    return [kept for failure in earlier[: max(0, len(failures) - count)] for kept in failures[failure]]


def _at(location: Location) -> str:
    """How to name the location, where `tf` would go to another one by itself."""
    from tfnz.local import location_or

    return "" if location.name == location_or(None) else f" --location={location.name}"
