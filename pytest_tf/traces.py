"""Which containers a test uses, and which fixtures, as long as they are set up, have worked on which containers.

Knows fixtures and containers, but not what follows from it: rollbacks are `stacks.py`'s and `late.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from pytest_tf import closure
from pytest_tf.closure import Definition
from pytest_tf.guarded import Guarded, with_sharers
from pytest_tf.levels import Level, level_of, narrower
from pytest_tf.session import Session


@dataclass
class Life:
    """A fixture from its set-up to its teardown.

    Attributes:
        level: that it lives in.
        request: that it was set up for.
        touched: containers it may have changed; its own are not among them.
        asked: those among them that it is known to have got hold of.
        passing: it was set up inside a narrower level, and goes with that.
    """

    level: Level
    request: pytest.FixtureRequest
    touched: set[Guarded] = field(default_factory=set)
    asked: set[Guarded] = field(default_factory=set)
    passing: bool = False


class Traces:
    """The fixtures that are set up, in the order in which they were."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.lives: dict[Definition, Life] = {}

    def begin(self, definition: Definition, request: pytest.FixtureRequest) -> Life:
        """A fixture is about to be set up."""
        self.lives[definition] = Life(level_of(request), request)
        return self.lives[definition]

    def complete(self, definition: Definition, names: set[str]) -> Life:
        """A fixture has been set up, or has failed to.

        Args:
            names: of the fixtures that were active before.
        """
        life = self.lives[definition] = self.lives.pop(definition)
        life.asked = self.asked(definition, life.request, names)
        life.touched = self._touched(definition, life.request, life.asked)
        return life

    def home(self, guarded: Guarded) -> Level:
        """The level a container lives in."""
        life = self.lives.get(guarded.owner)
        return life.level if life else Level(guarded.owner.scope, None)

    def used_by(self, item: pytest.Item) -> list[Guarded]:
        """The containers a test uses: made in one of its fixtures, or touched by one of them."""
        definitions = closure.used_by(item)
        touched = self._worked_on(definitions)
        living = self._session.living()
        return with_sharers({one for one in living if one.owner in definitions or one in touched}, living)

    def expected(self, definition: Definition, request: pytest.FixtureRequest) -> set[Guarded]:
        """The containers a fixture that is about to be set up may change, as far as one can tell."""
        return self._touched(definition, request, self.asked(definition, request, set(closure.active(request))))

    def asked(self, definition: Definition, request: pytest.FixtureRequest, names: set[str]) -> set[Guarded]:
        """The containers among what a fixture is made of, and among what was asked for while it was set up.

        Args:
            names: of the fixtures that were active before.
        """
        active = closure.active(request)
        made_of = closure.made_of(definition, closure.item_of(request))
        return self._reached(made_of | {active[name] for name in set(active) - names}) - self._own(definition)

    def depends(self, guarded: Guarded) -> set[Guarded]:
        """The containers a container's own fixture is made of."""
        life = self.lives.get(guarded.owner)
        return life.touched if life else set()

    def at_work(self) -> list[Definition]:
        """The fixtures that are set up and made containers or worked on them, last one first."""
        owners = {one.owner for one in self._session.living()}
        return [one for one, life in self.lives.items() if life.touched or one in owners][::-1]

    def entangled(self, level: Level, some: Iterable[Guarded]) -> tuple[set[Guarded], list[Definition]]:
        """What has to begin anew if some containers go back to before everything narrower than a level: the fixtures
        narrower than it that worked on them or made them, last one first, and all containers these worked on."""
        containers = set(with_sharers(set(some), self._session.living()))
        while True:
            definitions = [one for one, life in self.lives.items() if self._concerns(one, life, level, containers)]
            more = self._worked_on(definitions) - containers
            if not more:
                return containers, definitions[::-1]
            containers |= more

    def _concerns(self, definition: Definition, life: Life, level: Level, containers: set[Guarded]) -> bool:
        made = any(one.owner is definition for one in containers)
        return narrower(life.level, level) and (made or bool(life.touched & containers))

    def _touched(self, definition: Definition, request: pytest.FixtureRequest, asked: set[Guarded]) -> set[Guarded]:
        """What a fixture asked for; where it may have reached others unseen, all that the test uses."""
        touched = set(asked)
        if closure.runs_hidden_code(definition) and not hasattr(definition.func, "tf_spec"):
            touched |= set(self.used_by(closure.item_of(request))) - self._own(definition)
        return set(with_sharers(touched, self._session.living()))

    def _own(self, definition: Definition) -> set[Guarded]:
        return {guarded for guarded in self._session.guarded if guarded.owner is definition}

    def _reached(self, definitions: Iterable[Definition]) -> set[Guarded]:
        definitions = set(definitions)
        return {one for one in self._session.living() if one.owner in definitions} | self._worked_on(definitions)

    def _worked_on(self, definitions: Iterable[Definition]) -> set[Guarded]:
        found = {guarded for one in definitions if one in self.lives for guarded in self.lives[one].touched}
        return found & set(self._session.living())
