"""Nodes that come, stay silent, come back, and come back as somebody else; and who is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.location.world import FakeNode, location, run, until
from tfcore import ids
from tfcore.clock import JumpingClock
from tfcore.errors import BadRequest, NotFound, Unavailable, VersionMismatch
from tfcore.wire import containers as c
from tfcore.wire import nodes as n
from tfcore.wire import sessions as s
from tfcore.wire import volumes as v
from tflocation.leases.machine import Terms
from tflocation.offers import notable


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


def test_a_node_is_told_its_id_network_and_lease(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            welcomed = await node.join()
            assert (welcomed.node, welcomed.network, welcomed.lease) == (world.node_id(), "10.117.0.0/16", 10.0)

    run(scenario)


def test_a_new_node_is_offered_to_the_sessions_there_are(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            assert client.welcome.nodes == ()
            await world.node()
            offer = (await client.hears(s.NodeUpdated)).node
            assert (offer.name, offer.id, offer.alive) == ("rack1", world.node_id(), True)

    run(scenario)


def test_a_node_cannot_join_under_another_name_or_version(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            node.name = "rack2"
            with pytest.raises(BadRequest, match="rack1"):
                await node.join()
            old = n.JoinLocation(
                protocol_min=0, protocol_max=0, version="0", name="rack1", incarnation="x", offer=node.offer()
            )
            error = await node.error_of(old)
            assert isinstance(error, VersionMismatch)
            assert "node rack1" in error.message

    run(scenario)


def test_an_account_cannot_join_as_a_node(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = FakeNode(world.endpoint, world.server_key, world.pair_of("account", "alice"), "alice")
            world.parties.append(node)
            with pytest.raises(ValueError, match="is for nodes"):
                await node.join()

    run(scenario)


def test_small_news_are_told_every_two_seconds_and_great_news_at_once(root: Path) -> None:
    async def scenario() -> None:
        clock = JumpingClock(1000.0)
        async with location(root, clock=clock, terms=Terms(node=80000)) as world:
            client = await world.client()
            node = await world.node()
            await client.hears(s.NodeUpdated)
            node.offers(cpu=0.89)
            node.offers(cpu=0.30)
            await client.hears(s.NodeUpdated, that=lambda told: told.node.cpu == 0.30)
            assert [told.node.cpu for told in client.told(s.NodeUpdated)] == [0.9, 0.30]
            node.offers(cpu=0.31)
            await until(lambda: next(iter(world.location.nodes)).offer.cpu == 0.31)
            clock.jump(2.0)
            node.offers(cpu=0.32)
            await client.hears(s.NodeUpdated, that=lambda told: told.node.cpu == 0.32)
            assert [told.node.cpu for told in client.told(s.NodeUpdated)] == [0.9, 0.30, 0.32]

    run(scenario)


def test_what_counts_as_great_news() -> None:
    offer = s.NodeOffer(id=ids.new_id("n"), name="x", cpu=0.5, memory=500, memory_total=1000)

    def after(**change: object) -> bool:
        return notable(offer, s.NodeOffer(**{**{f: getattr(offer, f) for f in offer.__struct_fields__}, **change}))

    assert not after()
    assert not after(cpu=0.59, memory=410, io=1e9)
    assert after(cpu=0.61)
    assert after(memory=399)
    assert after(containers=1)
    assert after(alive=False)
    assert after(notes=("disk is full",))


def test_a_silent_node_is_lost_and_everybody_is_told_at_once(root: Path) -> None:
    async def scenario() -> None:
        clock = JumpingClock(1000.0)
        async with location(root, clock=clock, terms=Terms(session=80000)) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            node.gate.clear()
            waiting = asyncio.ensure_future(client.error_of(c.WaitReady(), target=container))
            await until(lambda: any(op == "container.wait-ready" for op, _ in node.asked))
            clock.jump(11.0)
            world.daemon.tick()
            error = await waiting
            assert isinstance(error, Unavailable)
            assert "node rack1 was lost" in error.message
            ended = await client.hears(c.ContainerEnded)
            assert (ended.container, ended.exit_code) == (container, None)
            assert "rack1" in ended.reason
            gone = await client.hears(s.NodeUpdated, that=lambda told: not told.node.alive)
            assert (gone.node.cpu, gone.node.memory) == (0.0, 0), "it shows no spare capacity"
            later = await client.error_of(c.AskContainer(), target=container)
            assert isinstance(later, Unavailable)
            spawn = c.SpawnContainer(node=world.node_id(), wish=c.ContainerWish(image="web"))
            assert isinstance(await client.error_of(spawn), Unavailable)

    run(scenario)


def test_a_lost_node_that_comes_back_still_has_its_containers(root: Path) -> None:
    async def scenario() -> None:
        clock = JumpingClock(1000.0)
        async with location(root, clock=clock, terms=Terms(session=80000)) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            clock.jump(11.0)
            world.daemon.tick()
            node.offers()
            await node.hears(n.NodeLost)
            await node.rejoin()
            await client.hears(s.NodeUpdated, that=lambda told: told.node.alive)
            assert (await client.call(c.AskContainer(), target=container)).state == "ready"
            assert node.ordered(n.EndContainer) == []
            client.events.clear()
            clock.jump(11.0)
            world.daemon.tick()
            assert (await client.hears(c.ContainerEnded)).container == container, "lost again is news again"

    run(scenario)


def test_a_restarted_agent_has_none_of_its_containers_and_their_owners_know(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container, volume = await world.container(client), await world.volume(client)
            node.gate.clear()
            waiting = asyncio.ensure_future(client.error_of(c.WaitReady(), target=container))
            await until(lambda: any(op == "container.wait-ready" for op, _ in node.asked))
            node.restart_agent()
            await node.rejoin()
            error = await waiting
            assert isinstance(error, Unavailable)
            assert "restarted" in error.message
            assert (await client.hears(c.ContainerEnded)).container == container
            node.gate.set()
            assert (await client.call(v.SnapshotVolume(), target=volume)).snapshot == "baseline"
            assert client.told(v.VolumeLost) == []

    run(scenario)


def test_a_container_of_a_restarted_agent_can_be_booted_again(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            one, other = await world.container(client), await world.container(client)
            await client.call(c.AllowConnection(source=other), target=one)
            before = world.location.holdings.containers[one].address
            node.restart_agent()
            await node.rejoin()
            await client.hears(c.ContainerEnded, that=lambda event: event.container == one)
            again = c.SpawnContainer(
                node=world.node_id(), wish=c.ContainerWish(image="web"), again=one, snapshot="baseline"
            )
            accepted = await client.call(again)
            assert (accepted.container, accepted.address) == (one, before)
            assert node.ordered(n.BootContainer)[-1].snapshot == "baseline"
            assert len(node.ordered(n.ConnectContainers)) == 2, "the new agent is told again who may talk to whom"
            await client.call(c.AskContainer(), target=one)
            await client.call(s.CloseSession())
            assert (node.containers, node.dormant) == ({}, set()), "what had not been booted again is gone, too"

    run(scenario)


def test_nobody_elses_container_can_be_booted_again(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            alice, mallory = await world.client("alice"), await world.client("mallory")
            theirs = await world.container(alice)
            await world.container(mallory)
            again = c.SpawnContainer(node=world.node_id(), wish=c.ContainerWish(image="web"), again=theirs)
            assert isinstance(await mallory.error_of(again), NotFound)

    run(scenario)


def test_a_short_cut_of_the_node_is_not_noticed(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            node.gate.clear()
            asked_before = asyncio.ensure_future(client.call(c.WaitReady(), target=container))
            await until(lambda: any(op == "container.wait-ready" for op, _ in node.asked))
            node.cut()
            asked_during = asyncio.ensure_future(client.call(c.AskContainer(), target=container))
            await until(lambda: len(world.location.forwarding) == 2)
            node.reconnect()
            await node.rejoin()
            node.gate.set()
            assert (await asked_before).generation == 1
            assert (await asked_during).state == "ready"
            assert [op for op, _ in node.asked].count("container.wait-ready") == 1
            assert client.told(c.ContainerEnded) == []

    run(scenario)


def test_a_spawn_waits_for_a_node_whose_connection_is_cut(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            await world.container(client)
            node.cut()
            spawning = asyncio.ensure_future(world.container(client))
            await until(lambda: len(world.location.holdings.containers) == 2)
            node.reconnect()
            await node.rejoin()
            assert await spawning in node.containers
            assert client.told(c.ContainerEnded) == [], "not yet made is not ended"

    run(scenario)


def test_a_node_that_misses_a_volume_or_has_an_unknown_container(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            volume = await world.volume(client)
            stranger, dormant, data = ids.new_id("c"), ids.new_id("c"), ids.new_id("v")
            node.volumes = {data: v.MakeVolume(volume=data, session="", account="?", persistent=True)}
            node.containers[stranger] = None  # type: ignore[assignment]
            node.dormant.add(dormant)
            await node.rejoin()
            await until(lambda: node.containers == {} and node.dormant == set())
            assert {order.container for order in node.ordered(n.EndContainer)} == {stranger, dormant}
            lost = await client.hears(v.VolumeLost)
            assert lost.volume == volume
            assert list(node.volumes) == [data], "data nobody knows is left alone"
            assert isinstance(await client.error_of(v.SnapshotVolume(), target=volume), NotFound)

    run(scenario)


def test_what_a_session_had_on_a_node_that_was_away_is_freed_when_it_is_back(root: Path) -> None:
    async def scenario() -> None:
        clock = JumpingClock(1000.0)
        async with location(root, clock=clock, terms=Terms(session=80000, retry=80000)) as world:
            node = await world.node()
            client = await world.client()
            await world.container(client)
            kept = await world.volume(client, persistent=True, tag="kept")
            await world.volume(client)
            clock.jump(11.0)
            world.daemon.tick()
            await client.call(s.CloseSession())
            assert len(world.location.sessions) == 0
            assert len(world.location.holdings.containers) == 1, "the node still owes it"
            node.restart_agent()
            await node.rejoin()
            await until(lambda: world.location.holdings.containers == {})
            assert (node.containers, node.dormant, list(node.volumes)) == ({}, set(), [kept])
            assert world.location.addresses.in_use() == frozenset()
            await until(lambda: world.location.leases.machine.sessions == {})

    run(scenario)


def test_the_end_of_a_main_process_is_told_to_its_owner_only(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            owner, other = await world.client("alice"), await world.client("bob")
            container = await world.container(owner)
            node.ended(container, exit_code=3)
            node.ended(ids.new_id("c"))
            told = await owner.hears(c.ContainerEnded)
            assert (told.container, told.exit_code, told.log) == (container, 3, "last words")
            await other.call(s.RenewLease())
            assert other.told(c.ContainerEnded) == []
            assert (await owner.call(c.AskContainer(), target=container)).state == "ready", "it can be looked into"

    run(scenario)


def test_a_node_cannot_tell_the_end_of_another_nodes_container(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            liar = await world.node("rack2")
            client = await world.client()
            container = await world.container(client)
            liar.ended(container)
            before = world.location.broker.counters.received
            liar.offers()
            await until(lambda: world.location.broker.counters.received > before)
            await client.call(s.RenewLease())
            assert client.told(c.ContainerEnded) == []

    run(scenario)


def test_an_ending_missed_during_a_cut_is_told_again_unless_it_is_no_news(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            dead, revived = await world.container(client), await world.container(client)
            node.ended(revived)
            await client.hears(c.ContainerEnded, that=lambda event: event.container == revived)
            await client.call(c.RebootContainer(), target=revived)
            client.cut()
            session = world.location.sessions.get(client.welcome.session)
            node.ended(dead)
            await until(lambda: session._endings)
            client.events.clear()
            client.reconnect()
            await client.take_up()
            await client.hears(c.ContainerEnded, that=lambda event: event.container == dead)
            assert [event.container for event in client.told(c.ContainerEnded)] == [dead]

    run(scenario)


def test_a_node_that_has_not_said_hello_is_told_to(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = FakeNode(world.endpoint, world.server_key, world.pair_of("node", "rack1"), "rack1")
            world.parties.append(node)
            node.offers()
            assert "hello" in (await node.hears(n.NodeLost)).reason
            await node.join()

    run(scenario)
