"""Containers with a tag: found by the account's other sessions, and by nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.location.world import location, run
from tfcore.errors import CommandFailed, NotFound, WrongState
from tfcore.wire import containers as c
from tfcore.wire import nodes as n
from tfcore.wire import sessions as s


def test_the_accounts_other_sessions_can_find_it_and_connect_with_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            node = await world.node()
            owner, beside = await world.client(), await world.client()
            tagged = await world.container(owner, tag="db")
            told = (await beside.hears(s.ExternalUpdated)).external
            assert (told.id, told.tag) == (tagged, "db")
            assert owner.told(s.ExternalUpdated) == []
            mine = await world.container(beside)
            await beside.call(c.AllowConnection(source=mine), target=tagged)
            await beside.call(c.DisallowConnection(source=tagged), target=mine)
            assert len(node.ordered(n.ConnectContainers)) == len(node.ordered(n.DisconnectContainers)) == 1

    run(scenario)


def test_it_is_nobody_elses(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            await world.node()
            owner, beside, stranger = await world.client(), await world.client(), await world.client("bob")
            tagged, other = await world.container(owner, tag="db"), await world.container(owner, tag="cache")
            theirs, mine = await world.container(stranger), await world.container(beside)
            for who, request, target in (
                (stranger, c.AllowConnection(source=theirs), tagged),
                (stranger, c.AllowConnection(source=tagged), theirs),
                (stranger, c.DisallowConnection(source=theirs), tagged),
                (beside, c.AllowConnection(source=other), tagged),
                (beside, c.AllowConnection(source=mine), theirs),
                (beside, c.DestroyContainer(), tagged),
                (beside, c.AskContainer(), tagged),
            ):
                assert isinstance(await who.error_of(request, target=target), NotFound), request
            assert stranger.told(s.ExternalUpdated) == []
            assert (await world.client("bob")).welcome.externals == ()

    run(scenario)


def test_it_is_told_when_it_goes_and_to_those_who_come_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            await world.node()
            owner, beside = await world.client(), await world.client()
            first, second = await world.container(owner, tag="db"), await world.container(owner, tag="cache")
            later = await world.client()
            assert {offer.id: offer.tag for offer in later.welcome.externals} == {first: "db", second: "cache"}
            await owner.call(c.DestroyContainer(), target=first)
            assert (await beside.hears(s.ExternalUpdated, that=lambda told: told.gone)).external.id == first
            await owner.call(s.CloseSession())
            gone = await later.hears(s.ExternalUpdated, that=lambda told: told.gone and told.external.id == second)
            assert gone.external.tag == "cache"

    run(scenario)


def test_a_tag_is_one_containers_of_an_account(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            await world.node()
            first, second, stranger = await world.client(), await world.client(), await world.client("bob")
            tagged = await world.container(first, tag="db")
            with pytest.raises(WrongState, match=f"tagged 'db' already: {tagged}"):
                await world.container(second, tag="db")
            await world.container(stranger, tag="db")
            await first.call(c.DestroyContainer(), target=tagged)
            await world.container(second, tag="db")

    run(scenario)


def test_it_goes_at_once_with_its_session_though_its_node_cannot_be_asked(tmp_path: Path) -> None:
    """Nobody finds it any more, and its tag is free, while the node still has it."""

    async def scenario() -> None:
        async with location(tmp_path) as world:
            node, _ = await world.node("rack1"), await world.node("rack2")
            owner, beside = await world.client(), await world.client()
            tagged = await world.container(owner, tag="db")
            node.refusals[n.FreeSession] = CommandFailed("it is stuck")
            await owner.call(s.CloseSession())
            assert (await beside.hears(s.ExternalUpdated, that=lambda told: told.gone)).external.id == tagged
            assert tagged in world.location.holdings.containers
            assert (await world.client()).welcome.externals == ()
            mine = await world.container(beside, tag="db", name="rack2")
            assert isinstance(await beside.error_of(c.AllowConnection(source=mine), target=tagged), NotFound)

    run(scenario)


def test_a_node_that_knew_only_its_address_forgets_it(tmp_path: Path) -> None:
    """The address may soon be somebody else's."""

    async def scenario() -> None:
        async with location(tmp_path) as world:
            await world.node("rack1")
            far = await world.node("rack2")
            owner, beside = await world.client(), await world.client()
            tagged = await world.container(owner, tag="db", name="rack1")
            mine = await world.container(beside, name="rack2")
            both = {world.location.holdings.containers[one].address for one in (tagged, mine)}
            await beside.call(c.AllowConnection(source=tagged), target=mine)
            assert [{order.one, order.other} for order in far.ordered(n.ConnectContainers)] == [both]
            await owner.call(s.CloseSession())
            assert [{order.one, order.other} for order in far.ordered(n.DisconnectContainers)] == [both]

    run(scenario)


def test_after_a_restart_of_the_location_it_is_still_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            node = await world.node()
            owner, beside = await world.client(), await world.client()
            tagged, mine = await world.container(owner, tag="db"), await world.container(beside)
            await world.restart()
            await beside.take_up()
            assert [(one.id, one.tag) for one in beside.welcome.externals] == [(tagged, "db")]
            node.offers()
            await node.hears(n.NodeLost)
            await node.rejoin()
            await beside.call(c.AllowConnection(source=mine), target=tagged)

    run(scenario)
