"""Which fixtures a test uses, and which fixtures a fixture is made of.

The one place that looks behind pytest's public interface (`_fixtureinfo`, `_request`, `_fixture_defs`: there since
pytest 8.0): a cached fixture is set up without any hook being called, so the public part cannot tell that a test uses it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest

from pytest_tf.outcomes import fail

Definition = Any
"""pytest's FixtureDef."""


def item_of(request: pytest.FixtureRequest) -> pytest.Item:
    """The test during whose set-up, call or teardown a fixture is asked for."""
    item: pytest.Item = request._pyfuncitem
    return item


def definition_of(request: pytest.FixtureRequest) -> Definition:
    """The fixture that is being set up."""
    return request._fixturedef  # type: ignore[attr-defined]  # of a fixture's own request


def active(request: pytest.FixtureRequest) -> Mapping[str, Definition]:
    """The fixtures this test has asked for so far, in whatever way, by name."""
    found: Mapping[str, Definition] = request._fixture_defs
    return found


def active_in(item: pytest.Item) -> Mapping[str, Definition]:
    """As `active`, of the test itself."""
    request: Any = getattr(item, "_request", None)
    return active(request) if request else {}


def static(item: pytest.Item) -> Mapping[str, tuple[Definition, ...]]:
    """The fixtures a test asks for by arguments and marks, and those they ask for; for each name the definition that is
    used comes last, after those it overrides."""
    info: Any = getattr(item, "_fixtureinfo", None)
    if info is None:
        return {}
    return {name: tuple(definitions) for name, definitions in info.name2fixturedefs.items() if definitions}


def used_by(item: pytest.Item) -> set[Definition]:
    """All fixtures a test uses, those it asked for at run time included.

    A fixture that is overridden counts as used, since the one that overrides it may ask for it.
    """
    found = {definition for definitions in static(item).values() for definition in definitions}
    return found | set(active_in(item).values())


def made_of(definition: Definition, item: pytest.Item) -> set[Definition]:
    """The fixtures a fixture asks for by its arguments, and those they ask for; in the eyes of a test that uses it."""
    overridden = static(item)
    found: set[Definition] = set()
    pending = list(definition.argnames)
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        definitions = {*overridden.get(name, ()), *_named(active_in(item), name)} - {definition}
        found |= definitions
        pending += [argument for one in definitions for argument in one.argnames]
    return found


def _named(definitions: Mapping[str, Definition], name: str) -> Iterable[Definition]:
    return (definitions[name],) if name in definitions else ()


def begun_around(request: pytest.FixtureRequest) -> Iterator[tuple[Definition, pytest.FixtureRequest]]:
    """The fixtures whose set-up has begun and is waiting for this one, with their requests: those that asked for it at run
    time. (Whose arguments are still being gathered has not begun.)"""
    asked = definition_of(request)
    around: Any = getattr(request, "_parent_request", None)
    while getattr(around, "_fixturedef", None) is not None:
        definition = definition_of(around)
        if asked.argname not in definition.argnames:
            yield definition, around
        asked, around = definition, getattr(around, "_parent_request", None)


def runs_hidden_code(definition: Definition) -> bool:
    """True if a fixture may reach other fixtures without naming them: by `request`, or as the shell of a user's
    `setup_class` and the like, whose names pytest begins with an underscore."""
    module: str = getattr(definition.func, "__module__", "") or ""
    if module.startswith(_OTHERS):
        return False
    if module.startswith(("_pytest.", "pytest_tf.")):
        return bool(definition.argname.startswith("_"))
    return "request" in definition.argnames


_OTHERS = ("xdist.", "pytest_asyncio.", "pytest_randomly.", "pytest_rerunfailures.", "pytest_timeout.")
"""Plugins whose fixtures are known to reach no other fixtures."""


def is_set_up(definition: Definition) -> bool:
    """True if a fixture has a value."""
    return definition.cached_result is not None and definition.cached_result[2] is None


def tears_down(definition: Definition) -> bool:
    """True if code of the suite may run when a fixture is torn down: what follows its `yield`, or what it gave to
    `request.addfinalizer`."""
    function = inspect.unwrap(definition.func)
    yields = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    return yields or runs_hidden_code(definition)


@contextmanager
def refused(definition: Definition, reason: str) -> Iterator[None]:
    """Within it a fixture's set-up fails with the reason, in the way and at the place where its own code would; so pytest
    treats it like any other failure."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        fail(reason)

    function, definition.func = definition.func, refuse
    try:
        yield
    finally:
        definition.func = function


def ask(item: pytest.Item, name: str) -> None:
    """Have a fixture set up, as if the test had asked for it."""
    request: Any = getattr(item, "_request", None)
    if request is not None:
        request.getfixturevalue(name)


def sees(item: pytest.Item, name: str, definition: Definition) -> bool:
    """True if a test that asks for a name would get this fixture."""
    known = static(item).get(name)
    if known:
        return known[-1] is definition
    return any(node.nodeid == definition.baseid for node in item.listchain())
