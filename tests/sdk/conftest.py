"""A fake location for each test, with a node and a container if asked for, and what is needed to play with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.sdk.fake_location import FakeLocation
from tests.sdk.fake_node import FakeNode
from tfnz import accounts
from tfnz.accounts import Account
from tfnz.container import Container
from tfnz.location import Location


def start_collector_of_pyzmq() -> None:
    """The first large message starts it, a thread for the rest of the process: no test shall seem to have left it."""
    with zmq.Context() as context, context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as other:
        one.bind("inproc://warm-up")
        other.connect("inproc://warm-up")
        one.send(bytes(1 << 20), copy=False)
        other.recv()


start_collector_of_pyzmq()

MakeFake = Callable[..., FakeLocation]
Connect = Callable[..., Location]


@pytest.fixture
def make_fake() -> Iterator[MakeFake]:
    """Fake locations, closed at the end."""
    made: list[FakeLocation] = []

    def make(*args: Any, **kwargs: Any) -> FakeLocation:
        made.append(FakeLocation(*args, **kwargs))
        return made[-1]

    yield make
    for fake in made:
        fake.close()


@pytest.fixture
def fake(make_fake: MakeFake) -> FakeLocation:
    """A fake location that answers what every location does."""
    return make_fake()


@pytest.fixture
def connect(make_fake: MakeFake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """`connect(fake)` or `connect(account)` is a `Location`, disconnected at the end (before the fakes are closed)."""
    opened: list[Location] = []

    def open_location(where: FakeLocation | Account, **options: Any) -> Location:
        account = where.account_of() if isinstance(where, FakeLocation) else where
        monkeypatch.setattr(accounts, "resolve", lambda _name, *, address=None: account)
        opened.append(Location(**options))
        return opened[-1]

    yield open_location
    for location in opened:
        location.disconnect()


@pytest.fixture
def node(fake: FakeLocation, tmp_path: Path) -> Iterator[FakeNode]:
    """The fake location's node; a test file with other wishes has a fixture of its own by this name."""
    made = FakeNode(fake, tmp_path, hands_over=False)
    yield made
    made.close()


@pytest.fixture
def location(fake: FakeLocation, node: FakeNode, connect: Connect) -> Location:
    """Connected to the fake one."""
    return connect(fake)


@pytest.fixture
def container(location: Location) -> Container:
    """One container on the fake node."""
    return location.node().spawn_container("nginx", no_image_check=True)
