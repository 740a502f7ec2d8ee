"""The levels of all containers: what each was at their start, and how it goes back to that at their end.

Each container has a stack of them (`Guarded.levels`). When one begins, a snapshot is taken of every container that may have
changed since the last one; the others share that. When one ends, the containers that are not as they were go back. Knows
levels and containers; which fixtures worked on what it is told by `traces.py`, and when levels begin and end by
`isolation.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest

from pytest_tf import closure
from pytest_tf.evidence import Evidence
from pytest_tf.guarded import Guarded, Pushed, keep
from pytest_tf.levels import Level, narrower
from pytest_tf.recovery import roll_back, together
from pytest_tf.session import Session
from pytest_tf.traces import Traces
from pytest_tf.units import Unit, units_of

Ends = Callable[[Level], bool]
"""True if a level ends together with the test that has just run."""


class Stacks:
    """Pushing, popping, rolling back.

    Attributes:
        after: the test that has run last, or is about to; for the record.
    """

    def __init__(self, session: Session, evidence: Evidence, traces: Traces) -> None:
        self._session = session
        self._evidence = evidence
        self._traces = traces
        self.after: pytest.Item | None = None

    def push(self, levels: Sequence[Level], *, checked: bool = False) -> None:
        """Have every container stand in these levels, as it is now; the tests that use it learn what went wrong.

        Args:
            checked: the test is to leave containers as they were, so each must have its narrowest level.
        """
        missing = {one: self._missing(one, levels, checked) for one in self._session.living()}
        begin = {one: new for one, new in missing.items() if new}
        errors = together(units_of(one for one in begin if one.touched and not one.trouble), self._take_baseline)
        for one, new in begin.items():
            trouble = one.trouble or str(errors.get(one, ""))
            one.levels += [Pushed(level, one.baseline, trouble) for level in new]
            one.told = one.told and one not in errors

    def _missing(self, one: Guarded, levels: Sequence[Level], checked: bool) -> list[Level]:
        home = self._traces.home(one)
        there = {pushed.level for pushed in one.levels}
        return [
            level
            for level in levels
            if level not in there
            and (one.goes_back_after(level, home) or (checked and level.scope == "function" != home.scope))
        ]

    def _take_baseline(self, unit: Unit) -> None:
        seconds = keep(unit, mark_log=self._evidence.wants_logs)
        self._session.figures.baselines += [seconds for _ in unit]

    def pop(self, level: Level, ends: Ends, *, now: bool = False) -> tuple[list[Guarded], list[str]]:
        """A level has ended, and the teardowns of its fixtures: containers go back to what they were at its start; or a
        little later, if the level around it ends as well and nobody looks in between.

        Args:
            now: later is too late.

        Returns:
            the containers that were rolled back, and a sentence for each that could not be.
        """
        back = []
        indices = {one: i for one in self._session.living() for i, p in enumerate(one.levels) if p.level == level}
        patient = set() if now else self._patient(indices, ends)
        for one, index in indices.items():
            if one in patient:
                one.put_off(one.levels[index].snapshot)
                del one.levels[index:]
            elif self._cut(one, index):
                back.append(one)
        return back, self._back(back)

    def _patient(self, indices: Mapping[Guarded, int], ends: Ends) -> set[Guarded]:
        """Those that need not go back yet. One that may talk to such a one waits with it if it can: it would boot beside
        what is about to go."""
        patient = {one for one, index in indices.items() if self._can_wait(one, index, ends)}
        for unit in units_of(indices):
            if patient & set(unit):
                patient |= {one for one in unit if self._can_wait(one, indices[one], ends, in_vain=True)}
        return patient

    def _can_wait(self, one: Guarded, index: int, ends: Ends, *, in_vain: bool = False) -> bool:
        """True if a container need not be at the start of a level because it is about to go further back; `in_vain`: or just
        as far."""
        pushed = one.levels[index]
        if pushed.trouble or one.is_as(pushed.snapshot):
            return False
        for around in one.levels[:index][::-1]:
            if around.trouble or not ends(around.level) or self._is_looked_at(one, around.level):
                return False
            if in_vain or around.snapshot != pushed.snapshot:
                return True
        return False

    def _is_looked_at(self, one: Guarded, level: Level) -> bool:
        """True if a fixture that lives in a level may look at a container when it is torn down."""
        return any(
            life.level == level and one in life.touched and closure.tears_down(definition)
            for definition, life in self._traces.lives.items()
        )

    def catch_up(self, levels: Sequence[Level]) -> list[str]:
        """Before a test: end the levels it does not lie in, whose ends were skipped, and do what was put off; a sentence for
        each container that could not be rolled back."""
        back = []
        for one in self._session.living():
            self._forget_trouble(one)
            gone = next((i for i, pushed in enumerate(one.levels) if pushed.level not in levels), None)
            if gone is not None and self._cut(one, gone):
                back.append(one)
            elif one.due:
                one.baseline, one.touched, one.due = one.due, True, ""
                back.append(one)
        return self._back(back)

    def _forget_trouble(self, one: Guarded) -> None:
        """A level that has no snapshot gets another chance, unless its fixtures have worked on the container already."""
        index = next((i for i, pushed in enumerate(one.levels) if pushed.trouble), None)
        if index is None:
            return
        level = one.levels[index].level
        lives = [life for life in self._traces.lives.values() if one in life.touched]
        if not any(life.level == level or narrower(life.level, level) for life in lives):
            del one.levels[index:]

    def unwind(self, home: Level, some: Iterable[Guarded]) -> list[str]:
        """Take containers back to before everything narrower than a level; a sentence for each that could not be."""
        back = []
        for one in some:
            index = one.first_within(home)
            if index is not None and self._cut(one, index):
                back.append(one)
        return self._back(back)

    def _cut(self, one: Guarded, index: int) -> bool:
        """Forget a container's levels from one on; True if it must go back to the start of that one."""
        pushed = one.levels[index]
        del one.levels[index:]
        one.due = ""
        if pushed.trouble or one.is_as(pushed.snapshot):
            return False
        one.baseline, one.touched = pushed.snapshot, True
        return True

    def _back(self, some: list[Guarded]) -> list[str]:
        """Roll back at once, each to its baseline."""
        if self._session.stopping:
            return []
        failures = []
        if some and self.after is not None:
            marks = self._evidence.wants_logs
            failures = roll_back(some, self._traces.depends, self._session, self.after, mark_log=marks)
        for one in self._session.living():
            one.drop_unused()
        return failures

    def ends_with(self, nextitem: pytest.Item | None) -> Ends:
        """What says whether a level ends before the next test."""
        staying = set(nextitem.listchain()) if nextitem is not None else set()
        return lambda level: level.node not in staying
