"""Clients and nodes of the protocol's version before and after ours, while a location is upgraded under them."""

from __future__ import annotations

from pathlib import Path

import pytest

import tfcore
from tests.location.world import location, run
from tfcore.errors import VersionMismatch
from tfcore.wire import nodes as n
from tfcore.wire import sessions as s


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


@pytest.mark.parametrize(
    ("oldest", "newest", "lowest", "highest", "spoken"),
    [
        (1, 1, 1, 1, 1),
        (1, 1, 1, 2, 1),  # a newer client that still speaks ours
        (1, 2, 1, 1, 1),  # an older client at a location that still speaks its
        (1, 2, 2, 3, 2),
        (1, 3, 1, 2, 2),
    ],
)
def test_the_newest_version_that_both_speak(
    root: Path, monkeypatch: pytest.MonkeyPatch, oldest: int, newest: int, lowest: int, highest: int, spoken: int
) -> None:
    monkeypatch.setattr(s, "OLDEST", oldest)
    monkeypatch.setattr(s, "PROTOCOL", newest)

    async def scenario() -> None:
        async with location(root) as world:
            client = world.party(world.pair_of("account", "alice"))
            assert (await client.hello(protocol_min=lowest, protocol_max=highest)).protocol == spoken
            node = world.party(world.pair_of("node", "rack1"))
            hello = n.JoinLocation(
                protocol_min=lowest, protocol_max=highest, version="x", name="rack1", incarnation="1",
                offer=s.NodeOffer(id="n-" + "0" * 22, name="rack1"),
            )  # fmt: skip
            assert (await node.call(hello)).protocol == spoken

    run(scenario)


@pytest.mark.parametrize(
    ("oldest", "newest", "lowest", "highest", "older"),
    [(1, 1, 2, 2, "the location, which is older"), (2, 3, 1, 1, "the client, which is older")],
)
def test_who_has_to_be_upgraded_is_said(
    root: Path, monkeypatch: pytest.MonkeyPatch, oldest: int, newest: int, lowest: int, highest: int, older: str
) -> None:
    monkeypatch.setattr(s, "OLDEST", oldest)
    monkeypatch.setattr(s, "PROTOCOL", newest)

    async def scenario() -> None:
        async with location(root) as world:
            client = world.party(world.pair_of("account", "alice"))
            refused = await client.error_of(s.OpenSession(protocol_min=lowest, protocol_max=highest, version="x"))
            assert isinstance(refused, VersionMismatch)
            assert f"upgrade pytest-tf at {older}" in refused.hint

    run(scenario)


def test_a_location_is_upgraded_under_an_old_client(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client and the node stay as they are; the location's next life speaks one version more."""

    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            alice = await world.client("alice", protocol_min=1, protocol_max=1)
            there = await world.container(alice)
            await world.stop()
            monkeypatch.setattr(s, "PROTOCOL", 2)
            monkeypatch.setattr(tfcore, "VERSION", "99.0")
            await world.start()
            await node.rejoin()
            welcome = await alice.hello(session=alice.welcome.session, protocol_min=1, protocol_max=1)
            assert welcome.resumed
            assert (welcome.protocol, welcome.version) == (1, "99.0")
            assert there in world.location.holdings.containers

    run(scenario)
