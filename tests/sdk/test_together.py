"""Several containers as one: what is asked of the location, and what each container learns of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sdk.conftest import Connect
from tests.sdk.fake_location import FakeLocation
from tests.sdk.fake_node import FakeNode
from tests.support.waiting import eventually
from tfcore.errors import BadRequest, NotFound
from tfcore.rpc.dispatcher import Call
from tfcore.wire import containers as wire
from tfcore.wire.message import Done
from tfnz.container import Container
from tfnz.location import Location


@pytest.fixture
def node(fake: FakeLocation, tmp_path: Path) -> Iterator[FakeNode]:
    made = FakeNode(fake, tmp_path, hands_over=False)
    yield made
    made.close()


@pytest.fixture
def location(fake: FakeLocation, node: FakeNode, connect: Connect) -> Location:
    return connect(fake)


@pytest.fixture
def pair(location: Location) -> tuple[Container, Container]:
    node = location.node()
    return node.spawn_container("postgres", no_image_check=True), node.spawn_container("nginx", no_image_check=True)


@pytest.fixture
def asked(fake: FakeLocation) -> list[tuple[str, tuple[str, ...]]]:
    """What was asked of the location: the target, and the snapshots."""
    found: list[tuple[str, tuple[str, ...]]] = []

    async def snapshot(call: Call, message: wire.SnapshotTogether) -> wire.Snapshotted:
        found.append((call.target, message.containers))
        return wire.Snapshotted(snapshot=message.name or "s1", seconds=0.1)

    async def roll_back(call: Call, message: wire.RollBackTogether) -> wire.RolledBackTogether:
        found.append((call.target, message.snapshots))
        rolled = (wire.RolledBack(generation=n, seconds=0.1, tier="spare") for n, _ in enumerate(message.containers))
        return wire.RolledBackTogether(rollbacks=tuple(rolled))

    async def alone(call: Call, message: wire.RollBackContainer) -> wire.RolledBack:
        found.append((call.target, (message.name,)))
        return wire.RolledBack(generation=2, seconds=0.1, tier="cold")

    fake.handlers |= {
        wire.SnapshotTogether: snapshot,
        wire.RollBackTogether: roll_back,
        wire.RollBackContainer: alone,
    }
    fake.forget()
    return found


def test_they_boot_in_the_order_in_which_they_were_spawned(
    location: Location, pair: tuple[Container, Container], asked: list[tuple[str, tuple[str, ...]]]
) -> None:
    db, web = pair
    assert location.snapshot([web, db]) == "s1"
    assert asked == [(db.uuid, (db.uuid, web.uuid))]
    done = location.rollback([web, db])
    assert (done[db].generation, done[web].generation) == (0, 1)


def test_what_they_go_back_to(
    location: Location, pair: tuple[Container, Container], asked: list[tuple[str, tuple[str, ...]]]
) -> None:
    db, web = pair
    location.rollback([db, web])
    location.snapshot([db, web], "base")
    location.rollback([db, web])
    location.rollback([db, web], "older")
    location.rollback([db, web], {web: "mine"})
    web.rollback()
    assert [names for _, names in asked[2:]] == [("base", "base"), ("older", "older"), ("older", "mine"), ("mine",)]
    assert asked[0] == (db.uuid, ("", "")), "whatever the node has"


def test_what_is_wrong_is_refused_before_anything_is_sent(
    location: Location, pair: tuple[Container, Container], asked: list[tuple[str, tuple[str, ...]]]
) -> None:
    db, web = pair
    with pytest.raises(BadRequest, match="no containers were given"):
        location.rollback([])
    with pytest.raises(ValueError, match="is not a Container"):
        location.snapshot([db, "web"])  # type: ignore[list-item]
    web.destroy()
    with pytest.raises(BadRequest, match=f"{web.uuid}: not of this session, or destroyed"):
        location.rollback([db, web])
    assert asked == []


def test_those_that_have_ended_have_not_after_it(
    location: Location,
    pair: tuple[Container, Container],
    fake: FakeLocation,
    asked: list[tuple[str, tuple[str, ...]]],
) -> None:
    db, web = pair
    fake.tell(wire.ContainerEnded(container=web.uuid, reason="it ended"))
    eventually(lambda: web.end)
    location.rollback([db, web])
    assert web.end is None

    async def refuse(_call: Call, _message: wire.RollBackTogether) -> wire.RolledBackTogether:
        raise NotFound("there is no snapshot")

    fake.handlers[wire.RollBackTogether] = refuse
    fake.forget()
    fake.tell(wire.ContainerEnded(container=web.uuid, reason="again"))
    eventually(lambda: web.end)
    with pytest.raises(NotFound):
        location.rollback([db, web])
    assert web.end is not None


def test_partners_are_those_it_may_talk_to(
    location: Location, pair: tuple[Container, Container], fake: FakeLocation
) -> None:
    async def done(_call: Call, _message: object) -> Done:
        return Done()

    fake.handlers |= {wire.AllowConnection: done, wire.DisallowConnection: done}
    fake.forget()
    db, web = pair
    db.allow_connection_from(web)
    assert (db.partners, web.partners) == ({web}, {db})
    web.disallow_connection_from(db)
    assert not db.partners | web.partners
