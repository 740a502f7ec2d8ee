"""Inner pytest runs against a location in memory: what the plugin asks of it is all there is to see."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest

import pytest_tf.session
from tests.plugin.fake_sdk import World
from tfnz import accounts, container, location  # noqa: F401 - loaded once, not in each inner run

Run = Callable[..., pytest.RunResult]

CONFTEST = """
    import pytest
    from pytest_tf import container
    db = container("postgres")
"""
"""A user's conftest with one container, `db`."""

OTHERS = ("randomly", "asyncio", "rerunfailures")
"""Plugins of others that only those inner runs have that ask for them."""


@pytest.fixture(scope="session", autouse=True)
def few_objects_to_look_through() -> Iterator[None]:
    """At its end each inner run collects garbage several times; what is there before the first is none."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def without_others(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of what happens beside one of them say `with_others`."""
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(f"-p no:{name}" for name in OTHERS))


@pytest.fixture
def with_others(without_others: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inner runs have them all; without xdist, for which pytest-rerunfailures has a thread that stays."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:xdist -Wignore::pytest.PytestDeprecationWarning")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """What inner runs connect to."""
    made = World()
    monkeypatch.setattr(pytest_tf.session, "connect", made.connect)
    monkeypatch.setenv("TF_HOME", "/nonexistent/home")
    return made


@pytest.fixture
def run(pytester: pytest.Pytester, world: World) -> Run:
    """An inner run in this process; conftest and test file are given as text."""

    def run(test: str, *arguments: str, conftest: str = "") -> pytest.RunResult:
        if conftest:
            pytester.makeconftest(conftest)
        pytester.makepyfile(test_inner=test)
        return pytester.runpytest_inprocess("--strict-markers", *arguments, no_reraise_ctrlc=True)

    return run
