"""Requests for several containers: of each of them the location must know that it is the session's, and where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.location.world import location, run, until
from tfcore import ids
from tfcore.errors import BadRequest, NotFound
from tfcore.wire import containers as c


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


def test_they_are_forwarded_as_one(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            one, other = await world.container(client), await world.container(client)
            done = await client.call(c.RollBackTogether(containers=(one, other)), target=one)
            assert len(done.rollbacks) == 2
            assert [op for op, _ in node.asked].count("container.roll-back-together") == 1

    run(scenario)


def test_one_that_is_somebody_elses_is_refused_before_the_node_is_asked(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            alice, mallory = await world.client("alice"), await world.client("mallory")
            theirs, mine = await world.container(alice), await world.container(mallory)
            asked = len(node.asked)
            for wanted, target in [((mine, theirs), mine), ((theirs, mine), mine), ((mine, ids.new_id("c")), mine)]:
                for request in (c.RollBackTogether(containers=wanted), c.SnapshotTogether(containers=wanted)):
                    assert isinstance(await mallory.error_of(request, target=target), NotFound)
            assert isinstance(await mallory.error_of(c.RollBackTogether(containers=(mine,)), target=theirs), NotFound)
            assert len(node.asked) == asked

    run(scenario)


def test_those_of_two_nodes_are_refused(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node("rack1")
            await world.node("rack2")
            client = await world.client()
            one, other = await world.container(client, name="rack1"), await world.container(client, name="rack2")
            refused = await client.error_of(c.RollBackTogether(containers=(one, other)), target=one)
            assert isinstance(refused, BadRequest)
            assert f"{one} is on node rack1 and {other} on rack2" in refused.message

    run(scenario)


def test_that_one_has_ended_is_no_news_after_it(root: Path) -> None:
    """A client that was away is told what has ended meanwhile, but not of what it has booted anew since."""

    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            one, other = await world.container(client), await world.container(client)
            session = next(iter(world.location.sessions))
            node.ended(other)
            await until(lambda: session._endings)
            await client.call(c.RollBackTogether(containers=(one, other)), target=one)
            assert not session._endings

    run(scenario)
