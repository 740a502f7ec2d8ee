"""The levels of a test: the stretches of the run it lies in, each with fixtures of its own.

A package, a module, a class and the test itself, one inside the other. What a container is at the start of a level is kept
until the level ends. Pure: knows pytest's nodes, nothing of containers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

RANK = {"function": 0, "class": 1, "module": 2, "package": 3, "session": 4}
"""pytest's scopes, narrow to wide."""

_SCOPES = {"test": "function", "class": "class", "module": "module", "package": "package"}


class Level(NamedTuple):
    """One level. The session is one for the fixtures that live in it, but none that containers go back to.

    Attributes:
        scope: one of pytest's.
        node: the one whose fixtures of that scope the level is around.
    """

    scope: str
    node: Any

    def __str__(self) -> str:
        return f"{'test' if self.scope == 'function' else self.scope} {self.node.nodeid}"


def levels_of(item: pytest.Item) -> tuple[Level, ...]:
    """The levels a test lies in, wide to narrow. Outside of classes each test is its own class, as pytest sees it."""
    levels = []
    for node in item.listchain():
        for scope, kind in (("package", pytest.Package), ("module", pytest.File), ("class", pytest.Class)):
            if isinstance(node, kind):
                levels.append(Level(scope, node))
    if not levels or levels[-1].scope != "class":
        levels.append(Level("class", item))
    return (*levels, Level("function", item))


def level_of(request: pytest.FixtureRequest) -> Level:
    """The level a fixture lives in, by the request it is set up for."""
    return Level(request.scope, request.node)


def narrower(level: Level, than: Level) -> bool:
    """True if a level lies inside another; both are among those of one test."""
    if level.scope != than.scope:
        return RANK[level.scope] < RANK[than.scope]
    return level.node is not than.node and than.node in level.node.listchain()


def scope_of(isolate: str, lives: str) -> str:
    """The narrowest scope after which a container isolated so is rolled back; "" if it does not outlive that scope.

    Args:
        isolate: one of `options.ISOLATE`.
        lives: the scope of the fixture it was made in.
    """
    scope = _SCOPES.get(isolate, "")
    if scope == "package" and lives == "package":
        return scope  # it may lie in a package of its own, with others inside
    return scope if scope and RANK[scope] < RANK[lives] else ""
