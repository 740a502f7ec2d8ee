"""Running tests over and over in one process, each time with the containers as they were at some moment of the run.

A moment is a snapshot of each container, and which fixtures had been set up by then. To go back to it, the fixtures that
have worked on containers since then are torn down (pytest sets them up again when they are asked for), and then the
containers are rolled back. Knows pytest's runner; what is to be learnt from all this is `search.py`'s business.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from pytest_tf.closure import Definition
from pytest_tf.guarded import Guarded, put_back
from pytest_tf.isolation import Isolation
from pytest_tf.late import OUTCOMES
from pytest_tf.recovery import together
from pytest_tf.search import Outcome
from pytest_tf.stash import HOOKS
from pytest_tf.units import Unit, units_of
from tfcore.errors import TfError

Say = Callable[[str], None]


class CannotReplay(Exception):
    """The containers could not be put into the state that was to be tried."""


@dataclass
class State:
    """The containers at a moment.

    Attributes:
        snapshots: of each.
        alive: the fixtures that were set up.
    """

    snapshots: dict[Guarded, str] = field(default_factory=dict)
    alive: frozenset[Definition] = frozenset()

    def restore(self, unit: Unit) -> None:
        """Put some containers back as one."""
        put_back({one.container: self.snapshots[one] for one in unit})


class Replay:
    """The trials of one test; see `search.Trials`.

    Attributes:
        states: before all others, after the first of them, and so on.
    """

    def __init__(self, session: pytest.Session, others: Sequence[pytest.Item], target: pytest.Item, say: Say) -> None:
        self.others = others
        self.states: list[State] = []
        self._session = session
        self._target = target
        self._say = say
        self._reports: list[pytest.TestReport] = []
        self._sibling = copy.copy(target)  # in the same module, so that only what is the test's own is torn down

    def alone(self) -> Outcome:
        """See `search.Trials`: this time with all isolation there is, so that it leaves nothing."""
        outcome = self._run(self._target, self.others[0] if self.others else self._sibling)
        self._say(f"alone: {outcome.word}")
        return outcome

    def run_others(self) -> tuple[int, str]:
        """See `search.Trials`."""
        self._stop_isolating()
        if why := self._keep():
            raise CannotReplay(why)
        for number, (test, nextitem) in enumerate(pairwise([*self.others, self._target]), start=1):
            outcome = self._run(test, nextitem)
            self._say(f"[{number}/{len(self.others)}] {test.nodeid}: {outcome.word}")
            if why := self._keep():
                return number, why
        return len(self.others), ""

    def live(self) -> Outcome:
        """See `search.Trials`."""
        return self._try("after all of them, one after the other")

    def at(self, number: int) -> Outcome:
        """See `search.Trials`. CannotReplay if it cannot be tried."""
        self._go_back(self.states[number])
        before = f"after {self.others[number - 1].nodeid}" if number else "before all of them"
        return self._try(f"with the containers as they were {before}")

    def after_only(self, number: int) -> Outcome:
        """See `search.Trials`. CannotReplay if it cannot be tried."""
        self._go_back(self.states[0])
        self._run(self.others[number - 1], self._target)
        return self._try(f"after {self.others[number - 1].nodeid} and no other")

    def _try(self, when: str) -> Outcome:
        outcome = self._run(self._target, self._sibling)
        self._say(f"{when}: {outcome.word}")
        return outcome

    # tests

    def _run(self, test: pytest.Item, nextitem: pytest.Item) -> Outcome:
        self._tear_down_up_to(test)
        self._session.config.hook.pytest_runtest_protocol(item=test, nextitem=nextitem)
        return _outcome(self._reports)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Instead of pytest's own: all that is around a test is there, but nobody counts its outcome."""
        self._reports = runtestprotocol(item, log=False, nextitem=nextitem)
        return True

    def _tear_down_up_to(self, test: pytest.Item) -> None:
        """Whatever a test that comes next does not lie in."""
        setup: Any = self._session._setupstate
        try:
            setup.teardown_exact(test)
        except OUTCOMES as error:
            self._say(f"(a teardown failed: {error!r})")

    # containers

    @property
    def _isolation(self) -> Isolation | None:
        """None as long as no container has been asked for."""
        hooks: Isolation | None = self._session.config.pluginmanager.get_plugin(HOOKS)
        return hooks

    def _stop_isolating(self) -> None:
        isolation = self._isolation
        failures = isolation.stop(self.others[0] if self.others else self._sibling) if isolation else []
        if failures:
            raise CannotReplay("\n".join(failures))

    def _keep(self) -> str:
        """Keep what the containers are now; why that cannot be done, if it cannot."""
        isolation = self._isolation
        if isolation is None:
            self.states.append(State())
            return ""
        before = self.states[-1].snapshots if self.states else {}
        state = State({}, frozenset(isolation.traces.lives))
        for one in isolation.living():
            if one in before and not one.touched:
                state.snapshots[one] = before[one]
                continue
            try:
                one.container.wait_until_ready()
                state.snapshots[one] = one.container.snapshot()
            except TfError as error:
                return f"no snapshot of {one.name} could be taken: {error}"
            one.touched = False
        self.states.append(state)
        return ""

    def _go_back(self, state: State) -> None:
        isolation = self._isolation
        self._tear_down_up_to(self._target)
        if isolation is None:
            return
        for definition in isolation.traces.at_work():
            if definition not in state.alive and (life := isolation.traces.lives.get(definition)):
                try:
                    definition.finish(life.request)
                except OUTCOMES as error:
                    self._say(f"(teardown of {definition.argname} failed: {error!r})")
        living = [one for one in isolation.living() if one in state.snapshots]
        errors = together(units_of(living), state.restore)
        again = [one for one in errors if isolation.traces.depends(one) & set(living)]
        errors = {one: error for one, error in errors.items() if one not in again}
        errors |= together([(one,) for one in again], state.restore)
        if errors:
            raise CannotReplay(
                "\n".join(f"{one.name} could not be rolled back: {error}" for one, error in errors.items())
            )


def _outcome(reports: Sequence[pytest.TestReport]) -> Outcome:
    for report in reports:
        if report.failed:
            return Outcome("failed", report.longreprtext)
    for report in reports:
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
            return Outcome("skipped", str(reason))
    return Outcome("passed")
