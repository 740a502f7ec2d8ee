"""When baselines are taken and containers rolled back: the plugin's hooks while a session is open.

A *level* is a stretch of the run after which containers go back to their baseline: one test (`function`), one class or one
module, as each container's `isolate` says. A level opens right before the first fixture as narrow as itself is set up, or
before the test itself: that is where the baselines of its containers are taken, after everything wider was set up. It
closes when the finalizers of its node have run, fixtures' teardowns included, since its own finalizer was registered
before theirs: each teardown sees the state its fixture knows.

A wider fixture that is set up or torn down after the baseline makes the baseline *stale*: the next level begins with a new
one, and nothing is lost. A wider fixture asked for while a level is open (`request.getfixturevalue` in a test) cannot
be told from the test's own work: it lives as long as the level and is set up again when it is asked for next.

Several levels inside one another would need nothing but a stack of baselines per container.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable
from functools import partial
from typing import Any

import pytest

from pytest_tf import closure
from pytest_tf.closure import Definition
from pytest_tf.evidence import Evidence
from pytest_tf.guarded import RANK, Guarded, with_sharers
from pytest_tf.outcomes import fail
from pytest_tf.recovery import repair, roll_back, together
from pytest_tf.session import Session
from tfcore.errors import TfError

LEVELS = ("module", "class", "function")
"""Wide to narrow: a wide one opens first."""


class Isolation:
    """The hooks; registered when the session is opened, so that other runs pay nothing."""

    def __init__(self, session: Session, evidence: Evidence) -> None:
        self._session = session
        self._evidence = evidence
        self._open: dict[str, pytest.Item | pytest.Collector] = {}
        self._touched: dict[Definition, set[Guarded]] = {}
        self._item: pytest.Item | None = None

    # a test

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Have what the test uses in working order; after all fixtures are set up, the levels are open."""
        for guarded in self._used_by(item):
            if guarded.baseline and (guarded.broken or guarded.has_died()):
                self._repair(guarded)
        result = yield
        self.open_levels(item)
        _fail_without_baseline(self._used_by(item))
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Note which containers the test used, before its fixtures go."""
        self._item = item
        for guarded in self._used_by(item):
            guarded.used = True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Add what the test's containers have to say."""
        report = yield
        if self._evidence.wants(report):
            self._evidence.add(report, self._used_by(item))
        return report

    def pytest_keyboard_interrupt(self) -> None:
        """Be quick: the session's end frees everything."""
        self._session.stopping = True

    def _used_by(self, item: pytest.Item) -> list[Guarded]:
        """The containers a test uses: made in one of its fixtures, or touched by one of them."""
        definitions = closure.used_by(item)
        touched = {guarded for one in definitions for guarded in self._touched.get(one, ())}
        living = self._session.living()
        return with_sharers({one for one in living if one.owner in definitions or one in touched}, living)

    def _repair(self, guarded: Guarded) -> None:
        try:
            repair(guarded, self._session.figures)
        except TfError as error:
            fail(f"{guarded.name} does not run and could not be built again: {error}")

    # a fixture

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Definition, request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
        """Open the levels this fixture is part of before it is set up; afterwards see what it has done."""
        self.open_levels(closure.item_of(request), RANK[fixturedef.scope])
        names = set(closure.active(request))
        containers = set(self._session.open().containers)
        try:
            return (yield)
        finally:
            self._session.adopt(fixturedef, containers)
            self._note(fixturedef, request, names)
            self._begin_late()

    def pytest_fixture_post_finalizer(self, fixturedef: Definition) -> None:
        """A fixture was torn down: what it did to containers has changed again."""
        for guarded in self._touched.pop(fixturedef, ()):
            if not guarded.level or RANK[fixturedef.scope] <= RANK[guarded.level]:
                continue
            if guarded.level not in self._open:
                guarded.stale = True
            elif fixturedef in guarded.included:
                _warn_of_return(fixturedef, guarded)

    def _note(self, fixturedef: Definition, request: pytest.FixtureRequest, names: set[str]) -> None:
        """Remember the containers this fixture may have changed."""
        touched = self._touched_by(fixturedef, request, names)
        if not touched:
            return
        self._touched[fixturedef] = touched
        for guarded in touched:
            if not guarded.level or RANK[fixturedef.scope] <= RANK[guarded.level]:
                continue
            if guarded.level not in self._open:
                guarded.stale = True
            elif guarded.baseline:
                self._open[guarded.level].addfinalizer(partial(fixturedef.finish, request=request))

    def _touched_by(self, fixturedef: Definition, request: pytest.FixtureRequest, names: set[str]) -> set[Guarded]:
        """The containers among what a fixture is made of, and among what it asked for while it was set up; where it may
        have reached others unseen, all that the test uses."""
        active = closure.active(request)
        reached = closure.made_of(fixturedef, request) | {active[name] for name in set(active) - names}
        touched = {guarded for guarded in self._session.living() if guarded.owner in reached}
        touched |= {guarded for one in reached for guarded in self._touched.get(one, ())}
        if closure.runs_hidden_code(fixturedef) and not hasattr(fixturedef.func, "tf_spec"):
            touched |= set(self._used_by(closure.item_of(request)))
        own = {guarded for guarded in self._session.guarded if guarded.owner is fixturedef}
        return set(with_sharers(touched - own, self._session.living()))

    # levels

    def open_levels(self, item: pytest.Item, rank: int = 0) -> None:
        """Open the levels of a test that are not open, down to a scope; a failure is told when its set-up ends."""
        for level in LEVELS:
            if RANK[level] >= rank and level not in self._open:
                node = _node(item, level)
                self._open[level] = node
                node.addfinalizer(partial(self._close, level))
                for guarded in self._at(level):
                    guarded.used = False  # a test whose set-up failed has opened no level
                self._begin(self._at(level))

    def open_midway(self, request: pytest.FixtureRequest) -> None:
        """The session was opened inside a test, when nobody watched yet: the fixtures that are just being set up live as
        long as this test, and are watched from the next time on."""
        item = closure.item_of(request)
        self.open_levels(item)
        for definition, waiting in closure.begun_around(request):
            item.addfinalizer(partial(definition.finish, request=waiting))

    def _begin_late(self) -> None:
        """Containers that came into being while their level was open: their baseline is how they were made."""
        late = [one for one in self._session.living() if not one.baseline and one.level in self._open]
        self._begin(late)
        _fail_without_baseline(late)

    def _begin(self, guarded: Iterable[Guarded]) -> None:
        """Take the baselines that are missing or stale; the tests that use a container learn what went wrong."""
        new = [one for one in guarded if one.stale or not one.baseline]
        errors = together(new, self._take_baseline)
        for one in new:
            one.trouble, one.told = str(errors.get(one, "")), False

    def _take_baseline(self, guarded: Guarded) -> None:
        self._session.figures.baselines.append(guarded.take_baseline(mark_log=self._evidence.wants_logs))
        guarded.included = {one for one, touched in self._touched.items() if guarded in touched}

    def _at(self, level: str) -> list[Guarded]:
        return [guarded for guarded in self._session.living() if guarded.level == level]

    def _close(self, level: str) -> None:
        """The level's node is done, and the teardowns of its fixtures: everything used goes back."""
        self._open.pop(level, None)
        used = [guarded for guarded in self._at(level) if guarded.used]
        if self._session.stopping or not used or self._item is None:
            return
        sound = [guarded for guarded in used if guarded.baseline and not guarded.trouble]
        failures = roll_back(sound, self._depends, self._session, self._item, mark_log=self._evidence.wants_logs)
        if failures:
            fail("\n".join(failures))
        _fail_without_baseline(one for one in used if not one.told)

    def _depends(self, guarded: Guarded) -> set[Guarded]:
        """The containers a container's own fixture is made of."""
        return self._touched.get(guarded.owner, set())


def _node(item: pytest.Item, level: str) -> pytest.Item | pytest.Collector:
    """Whose finalizers close the level; outside of classes each test is its own class."""
    kind: type[Any] = pytest.Class if level == "class" else pytest.File
    return item if level == "function" else item.getparent(kind) or item


def _fail_without_baseline(guarded: Iterable[Guarded]) -> None:
    troubled = [one for one in guarded if one.trouble]
    for one in troubled:
        one.told = True
    if troubled:
        fail("\n".join(f"the baseline of {one.name} could not be taken: {one.trouble}" for one in troubled))


def _warn_of_return(fixturedef: Definition, guarded: Guarded) -> None:
    warnings.warn(
        pytest.PytestWarning(
            f"fixture {fixturedef.argname} ({fixturedef.scope}) was torn down before {guarded.name} goes back to a baseline "
            f"that holds its work: after this {guarded.isolate} it will be there again. isolate='test' avoids that."
        ),
        stacklevel=2,
    )
