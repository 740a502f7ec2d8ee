"""Keeping a snapshot while the agent or the location is killed: it is there once, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import RemoteLocation, until
from tests.support.line import SECONDS, remote_location, said, session_at, sleeper
from tests.support.moments import processes_of, under_way
from tfcore.errors import TfError
from tfnz.container import Container
from tfnz.kept import Kept
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

LEASE = 60.0
HELD = "touch /held; while ! test -e /open; do sleep 0.01; done"


@pytest.fixture(scope="module")
def remote() -> Iterator[RemoteLocation]:
    with remote_location("overlay", lease=LEASE) as made:
        yield made


@pytest.fixture
def location(remote: RemoteLocation) -> Iterator[Location]:
    with session_at(remote) as session:
        yield session


def being_kept(location: Location, image: str) -> tuple[Container, Future[Any]]:
    """A container whose command before each snapshot has begun, and ends when `opened`."""
    container = sleeper(location, image, before_snapshot=HELD)
    said(container, "echo 1 > /file")
    keeping = under_way(container.keep, "held")
    until(lambda: any((root / "held").exists() for root in _roots(container)), "the command to run")
    return container, keeping


def opened(container: Container) -> None:
    """Let the command go on: from outside, whoever is there to ask."""
    next(iter(_roots(container))).joinpath("open").touch()


def _roots(container: Container) -> list[Path]:
    return [Path(f"/proc/{pid}/root") for pid in processes_of(container.uuid)]


def test_a_location_that_is_killed_has_it_once(remote: RemoteLocation, location: Location, tiny: str) -> None:
    container, keeping = being_kept(location, tiny)
    remote.kill("location")
    remote.start_location()
    remote.until_joined()
    opened(container)
    kept: Kept = keeping.result(SECONDS)
    assert [one.id for one in location.kept()] == [kept.id]
    resumed = location.resume("held", before_snapshot="true").wait_until_ready()
    assert said(resumed, "cat /file") == "1"
    kept.forget()


def test_one_that_was_done_while_the_location_was_away_is_there_once(
    remote: RemoteLocation, location: Location, tiny: str
) -> None:
    container, keeping = being_kept(location, tiny)
    remote.kill("location")
    opened(container)
    until(lambda: list((remote.node_directory / "storage" / "data").glob("x-*.s.*")), "it to be on the disk")
    remote.start_location()
    kept: Kept = keeping.result(SECONDS)
    assert [one.id for one in location.kept()] == [kept.id]
    kept.forget()


def test_an_agent_that_is_killed_has_none(remote: RemoteLocation, location: Location, tiny: str) -> None:
    container, keeping = being_kept(location, tiny)
    remote.node.kill_agent()
    assert isinstance(keeping.exception(SECONDS), TfError)
    remote.until_joined()
    until(lambda: location.kept() == [], "nothing to be kept")
    assert list((remote.node_directory / "storage" / "data").glob("x-*")) == []
    container.rebuild()
    said(container, "touch /open")
    kept = container.keep("held")
    kept.forget()
