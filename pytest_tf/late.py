"""Late wide fixtures: those that are set up, or torn down, when narrower levels of their containers have begun already.

What such a fixture does would be lost when the narrower level ends, while pytest still counts it as set up. So

* `rebase`: the fixtures narrower than it that worked on the same containers are torn down (pytest sets them up again when
  they are asked for next), the containers go back to what they were before those, and the late one goes on from there;
* `hoist`: the fixtures of the session that later tests ask for are set up as soon as their container is first used;
  what that cannot foresee is rebased;
* `error`: the test that asks fails.

The same goes for a wide fixture whose parameter changes: it is torn down where it was set up. One that is asked for by a
test, or by a narrower fixture, while that is running cannot be told from its own work: it goes with it, and is set up
again when it is asked for next.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import partial

import pytest

from pytest_tf import closure
from pytest_tf.closure import Definition
from pytest_tf.guarded import Guarded
from pytest_tf.levels import Level, levels_of, narrower
from pytest_tf.outcomes import fail
from pytest_tf.session import Session
from pytest_tf.stacks import Stacks
from pytest_tf.traces import Life, Traces

OUTCOMES = (Exception, pytest.fail.Exception, pytest.skip.Exception)
"""What the code of a fixture may end with, interrupts aside."""


class LateFixtures:
    """What is done about them, as the ini option `tf_late_fixtures` says.

    Attributes:
        open: the levels that have begun.
    """

    def __init__(self, session: Session, traces: Traces, stacks: Stacks) -> None:
        self._session = session
        self._traces = traces
        self._stacks = stacks
        self._mode = session.options.late
        self._hoisted: set[Guarded] = set()
        self.open: set[Level] = set()

    def inside(self, request: pytest.FixtureRequest) -> Level | None:
        """The narrowest level whose own work is going on while a fixture is asked for: the test's, or that of the fixture
        that asks at run time; None if there is none."""
        test = levels_of(closure.item_of(request))[-1]
        if test in self.open:
            return test
        around = [Level(asking.scope, asking.node) for _, asking in closure.begun_around(request)]
        return around[-1] if around else None

    # set up late

    def make_room(self, definition: Definition, request: pytest.FixtureRequest) -> str:
        """A fixture is about to be set up: see that what it does will last as long as it; or why it cannot be set up."""
        level = self._traces.lives[definition].level
        if level.scope == "function":
            return ""
        late = _late(self._traces.expected(definition, request), level)
        if not late:
            return ""
        asked = _late(self._traces.asked(definition, request, set(closure.active(request))), level)
        if asked and self._mode == "error":
            return _refusal(definition, asked)
        inside = self.inside(request)
        if inside is not None and narrower(inside, level):
            return ""  # see `settle`
        return self._rebase(level, late, closure.item_of(request))

    def settle(self, definition: Definition, request: pytest.FixtureRequest) -> str:
        """A fixture has been set up: where its work is on top of a narrower level's, it goes with that; or why it must not
        stay."""
        life = self._traces.lives[definition]
        late = _late(life.touched, life.level)
        asked = _late(life.asked, life.level)
        if asked and self._mode == "error" and closure.is_set_up(definition):
            definition.finish(request)
            return _refusal(definition, asked)
        for node in {one.levels[-1].level.node for one in late}:
            life.passing = True
            node.addfinalizer(partial(definition.finish, request=request))
        if life.touched and not late and life.level.scope != "function":
            definition.addfinalizer(partial(self._before_teardown, definition, life))
        return ""

    # torn down early

    def _before_teardown(self, definition: Definition, life: Life) -> None:
        """A wide fixture is torn down, not necessarily at the end of its level: it sees the state it knows."""
        late = _late(life.touched & set(self._session.living()), life.level)
        if not late or self._session.stopping or self._traces.lives.get(definition) is not life:
            return
        item = self._stacks.after
        if item is not None and levels_of(item)[-1] not in self.open:
            trouble = self._rebase(life.level, late, item)
            if trouble:
                fail(trouble)
        _warn_of_return(definition, _late(late, life.level))

    def _rebase(self, level: Level, late: Iterable[Guarded], item: pytest.Item) -> str:
        """Begin everything narrower than a level anew; what went wrong. Nothing happens if the test has already got
        something that would have to be set up again."""
        containers, narrow = self._traces.entangled(level, late)
        if set(narrow) & set(closure.active_in(item).values()):
            return ""
        wrong: list[str] = []
        for definition in narrow:
            life = self._traces.lives.get(definition)
            if life is not None:  # it has not gone with another one
                wrong += [] if life.passing else self._unwind(life.level, containers)
                wrong += _finish(definition, life)
        return "\n".join([*wrong, *self._unwind(level, containers)])

    def _unwind(self, level: Level, containers: set[Guarded]) -> list[str]:
        return self._stacks.unwind(level, containers & set(self._session.living()))

    # not late at all

    def hoist(self, item: pytest.Item) -> None:
        """Before anything narrower than the session begins for a container: set up the session's fixtures for it that other
        tests will ask for, as far as this test can ask for them; one that fails tells those who do."""
        new = [one for one in self._session.living() if one not in self._hoisted and not one.levels]
        if self._mode != "hoist" or not new or levels_of(item)[-1] in self.open:
            return
        self._hoisted.update(new)
        owners = {one.owner for one in new}
        for name in dict.fromkeys(self._wanted(item, owners)):
            try:
                closure.ask(item, name)
            except OUTCOMES:
                continue

    def _wanted(self, item: pytest.Item, owners: set[Definition]) -> Iterable[str]:
        for other in item.session.items:
            for name, definitions in closure.static(other).items():
                definition = definitions[-1]
                fresh = definition.scope == "session" and definition.params is None and not definition.cached_result
                if fresh and owners & closure.made_of(definition, other) and closure.sees(item, name, definition):
                    yield name


def _finish(definition: Definition, life: Life) -> list[str]:
    try:
        definition.finish(life.request)
    except OUTCOMES as error:
        return [f"teardown of {definition.argname}, which a wider fixture made necessary: {error!r}"]
    return []


def _late(some: Iterable[Guarded], level: Level) -> list[Guarded]:
    """The containers among some that stand in a narrower level."""
    return [one for one in some if one.first_within(level) is not None]


def _refusal(definition: Definition, late: Iterable[Guarded]) -> str:
    names = ", ".join(sorted(one.name for one in late))
    return (
        f"late fixture {definition.argname} ({definition.scope}): it works on {names}, and is first asked for where "
        "narrower levels have begun, at whose end its work would be lost. Ask for it earlier (usefixtures, autouse), or set "
        "tf_late_fixtures = rebase"
    )


def _warn_of_return(definition: Definition, late: Iterable[Guarded]) -> None:
    for one in late:
        pushed = one.levels[-1]
        warnings.warn(
            pytest.PytestWarning(
                f"fixture {definition.argname} ({definition.scope}) is torn down before {one.name} goes back to a baseline "
                f"that holds its work: after this {pushed.level.scope} it will be there again."
            ),
            stacklevel=2,
        )
