"""When levels begin and end: the plugin's hooks while a session is open.

A level (`levels.py`) begins right before the first fixture of its scope is set up, that of a test right before the test
itself if it has none: all containers stand in it from then on. It ends when the finalizers of its node have run, fixtures'
teardowns included, since its own finalizer was registered before theirs: each teardown sees the state its fixture knows.
What containers go back to is `stacks.py`'s business, and what becomes of fixtures that come too late `late.py`'s.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from functools import partial
from typing import Any

import pytest

from pytest_tf import closure
from pytest_tf.chain import chain_of
from pytest_tf.closure import Definition
from pytest_tf.evidence import Evidence
from pytest_tf.guarded import Guarded
from pytest_tf.late import LateFixtures
from pytest_tf.levels import Level, levels_of, narrower
from pytest_tf.outcomes import fail
from pytest_tf.recovery import repair
from pytest_tf.session import Session
from pytest_tf.stacks import Ends, Stacks
from pytest_tf.traces import Traces
from tfcore.errors import TfError


class Isolation:
    """The hooks; registered when the session is opened, so that other runs pay nothing."""

    def __init__(self, session: Session, evidence: Evidence) -> None:
        self._session = session
        self._evidence = evidence
        self.traces = Traces(session)
        self._stacks = Stacks(session, evidence, self.traces)
        self._late = LateFixtures(session, self.traces, self._stacks)
        self._ends: Ends = self._stacks.ends_with(None)
        self._used: list[Guarded] = []

    # for whoever wants to do it by himself

    def living(self) -> list[Guarded]:
        """The containers that exist."""
        return self._session.living()

    def stop(self, item: pytest.Item) -> list[str]:
        """Put containers back to where they belong before a test, and from then on nothing; a sentence for each that could
        not be."""
        failures = self._stacks.catch_up(levels_of(item)[:-1])
        self._session.isolate_nothing()
        return failures

    # a test

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Have what the test uses in working order; after all fixtures are set up, its levels have begun."""
        levels = levels_of(item)
        self._late.open &= set(levels[:-1])
        failures = self._stacks.catch_up(levels[:-1])
        self._stacks.after = item
        if failures:
            fail("\n".join(failures))
        for guarded in self.traces.used_by(item):
            if guarded.baseline and (guarded.broken or guarded.has_died()):
                self._repair(guarded)
        result = yield
        self.open_levels(item, levels[-1])
        _fail_without_baseline(_troubled(self.traces.used_by(item)))
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Note which containers the test used, before its fixtures go, and which levels end with it."""
        self._stacks.after = item
        self._ends = self._stacks.ends_with(nextitem)
        self._used = self.traces.used_by(item)
        for guarded in self._used:
            guarded.touched = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """The run may have stopped before its last test: everything ends now."""
        self._ends = self._stacks.ends_with(None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Add what the test's containers have to say."""
        report = yield
        if self._evidence.wants(report):
            self._evidence.add(item, report, self.traces.used_by(item))
        return report

    def pytest_keyboard_interrupt(self) -> None:
        """Be quick: the session's end frees everything."""
        self._session.stopping = True

    def _repair(self, guarded: Guarded) -> None:
        try:
            repair(guarded, self._session.figures)
        except TfError as error:
            fail(f"{guarded.name} does not run and could not be built again: {error}")

    # a fixture

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Definition, request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
        """Begin the levels this fixture is part of before it is set up; afterwards see what it has done."""
        life = self.traces.begin(fixturedef, request)
        refusal = self._late.make_room(fixturedef, request)
        self.open_levels(closure.item_of(request), life.level)
        names = set(closure.active(request))
        containers = set(self._session.open().containers)
        try:
            if refusal:
                with closure.refused(fixturedef, refusal):
                    return (yield)
            result = yield
        finally:
            self._session.adopt(fixturedef, containers)
            for guarded in self.traces.complete(fixturedef, names).touched:
                guarded.touched = True
            refusal = self._late.settle(fixturedef, request)
            self._open_late(request)
        if refusal:
            fail(refusal)
        return result

    def pytest_fixture_post_finalizer(self, fixturedef: Definition) -> None:
        """A fixture was torn down: what it did to containers has changed again."""
        life = self.traces.lives.pop(fixturedef, None)
        if life and closure.tears_down(fixturedef):
            for guarded in life.touched:
                guarded.touched = True

    # levels

    def open_levels(self, item: pytest.Item, narrowest: Level) -> None:
        """Begin the levels of a test down to one, as far as they have not; a failure is told when its set-up ends."""
        levels = [level for level in levels_of(item) if level == narrowest or narrower(narrowest, level)]
        if not levels:
            return
        self._late.hoist(item)
        for level in levels:
            if level not in self._late.open:
                self._late.open.add(level)
                level.node.addfinalizer(partial(self._close, level))
        checked = _is_checked(item)
        if levels[-1].scope == "function" and chain_of(item) and not checked:
            levels.pop()  # its tests see each other's work
        self._stacks.push(levels, checked=checked)

    def open_midway(self, request: pytest.FixtureRequest) -> None:
        """The session was opened inside a test, when nobody watched yet: the fixtures that are just being set up live as
        long as this test, and are watched from the next time on."""
        item = closure.item_of(request)
        self._stacks.after = item
        self.open_levels(item, levels_of(item)[-1])
        for definition, waiting in closure.begun_around(request):
            item.addfinalizer(partial(definition.finish, request=waiting))

    def _open_late(self, request: pytest.FixtureRequest) -> None:
        """Containers that came into being inside a level: it begins for them with how they were made."""
        inside = self._late.inside(request)
        if inside is not None:
            new = [one for one in self._session.living() if not one.baseline and not one.trouble]
            self.open_levels(closure.item_of(request), inside)
            if inside.scope == "function":
                _fail_without_baseline(_troubled(new))

    def _close(self, level: Level) -> None:
        """A level's node is done, and the teardowns of its fixtures."""
        self._late.open.discard(level)
        if self._session.stopping:
            return
        troubled = {one: one.trouble for one in self._used if one.trouble and not one.told}
        checked = level.scope == "function" and _is_checked(level.node)
        back, failures = self._stacks.pop(level, self._ends, now=checked)
        if checked and not failures:
            failures = [_changed(level.node, one) for one in back if one.tier != "clean" and not one.went_along]
        if failures:
            fail("\n".join(failures))
        _fail_without_baseline(troubled)


def _is_checked(item: pytest.Item) -> bool:
    return item.get_closest_marker("tf_readonly") is not None


def _changed(item: pytest.Item, guarded: Guarded) -> str:
    return (
        f"{item.nodeid} is marked tf_readonly, but {guarded.name} was not clean after it: something was written, a process "
        f"began or ended, or its node cannot tell (it was rolled back: {guarded.tier})"
    )


def _troubled(some: Iterable[Guarded]) -> dict[Guarded, str]:
    return {one: one.trouble for one in some if one.trouble}


def _fail_without_baseline(troubled: Mapping[Guarded, str]) -> None:
    for one in troubled:
        one.told = True
    if troubled:
        fail("\n".join(f"the baseline of {one.name} could not be taken: {why}" for one, why in troubled.items()))
