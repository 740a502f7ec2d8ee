"""A location that is killed and started again: no session, container, volume or request is lost (DESIGN D4)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.location.world import an_image, location, run, until
from tfcore.clock import JumpingClock
from tfcore.errors import WrongState
from tfcore.ids import new_id
from tfcore.wire import containers as c
from tfcore.wire import nodes as n
from tfcore.wire import sessions as s
from tfcore.wire import volumes as v
from tfcore.wire.header import Header, encode_header
from tfcore.wire.message import encode, op_of
from tflocation.daemon import Daemon
from tflocation.leases.machine import Terms
from tflocation.options import options_of, read


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


def test_clients_and_nodes_find_everything_as_it_was(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container, volume = await world.container(client), await world.volume(client)
            kept = await world.volume(client, tag="kept", persistent=True)
            before = world.location.holdings.containers[container]
            await world.restart()
            node.offers()
            await node.hears(n.NodeLost)
            await node.rejoin()
            assert (await client.take_up()).resumed
            assert world.location.holdings.containers == {container: before}
            assert set(world.location.holdings.volumes) == {volume, kept}
            assert str(next(iter(world.location.addresses.in_use()))) == before.address
            assert (await client.call(c.AskContainer(), target=container)).state == "ready"
            assert await client.call(v.SnapshotVolume(), target=volume)
            assert (await client.call(s.RenewLease())) is not None
            await client.call(s.CloseSession())
            assert node.containers == {}
            assert list(node.volumes) == [kept]

    run(scenario)


def test_a_request_that_comes_before_its_node_waits_for_it(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            await world.restart()
            await client.take_up()
            asking = asyncio.ensure_future(client.call(c.AskContainer(), target=container))
            spawning = asyncio.ensure_future(world.container(client))
            await until(lambda: len(world.location.forwarding) == 1)
            await node.rejoin()
            assert (await asking).state == "ready"
            assert await spawning in node.containers

    run(scenario)


def test_a_new_session_may_spawn_on_a_node_that_is_still_on_its_way(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            await (await world.client()).upload("web", an_image())
            await world.restart()
            newcomer = await world.client()
            assert [offer.alive for offer in newcomer.welcome.nodes] == [True]
            spawning = asyncio.ensure_future(world.container(newcomer))
            await until(lambda: len(world.location.holdings.containers) == 1)
            await node.rejoin()
            assert await spawning in node.containers

    run(scenario)


def test_a_node_that_never_comes_back_is_lost_after_its_lease(root: Path) -> None:
    async def scenario() -> None:
        clock = JumpingClock(1000.0)
        async with location(root, clock=clock, terms=Terms(session=80000)) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            await node.close()
            world.parties.remove(node)
            await world.restart()
            await client.take_up()
            asking = asyncio.ensure_future(client.error_of(c.AskContainer(), target=container))
            await until(lambda: len(world.location.forwarding) == 1)
            clock.jump(11.0)
            world.daemon.tick()
            assert "lost" in (await asking).message
            assert (await client.hears(c.ContainerEnded)).container == container

    run(scenario)


def test_leases_begin_anew(root: Path) -> None:
    async def scenario() -> None:
        clock = JumpingClock(1000.0)
        async with location(root, clock=clock) as world:
            client = await world.client()
            clock.jump(119.0)
            await world.restart()
            clock.jump(119.0)
            world.daemon.tick()
            assert (await client.take_up()).resumed
            clock.jump(121.0)
            world.daemon.tick()
            await until(lambda: len(world.location.sessions) == 0)

    run(scenario)


def test_a_spawn_asked_again_after_a_restart_is_the_same_container(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            await client.upload("web", an_image())
            wish = c.SpawnContainer(node=world.node_id(), wish=c.ContainerWish(image="web"))
            request = Header(kind="request", id=new_id("r"), op=op_of(wish), session=client.link.session, timeout=20)
            client.send_raw(encode_header(request), encode(wish))
            await until(lambda: len(node.containers) == 1)
            await world.restart()
            await node.rejoin()
            await client.take_up()
            before = len(client.raw)
            client.send_raw(encode_header(request), encode(wish))
            await until(lambda: len(client.raw) > before)
            assert len(node.containers) == len(world.location.holdings.containers) == 1

    run(scenario)


def test_a_session_that_ended_just_before_is_freed_to_the_end(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            await world.container(client)
            node.gate.clear()
            client.link.begin(s.CloseSession(), timeout=20)
            await until(lambda: node.ordered(n.FreeSession))
            await world.restart()
            assert len(world.location.sessions) == 0
            node.gate.set()
            await node.rejoin()
            await until(lambda: world.location.holdings.containers == {})
            await until(lambda: world.location.sessions.left_over() == [])
            assert node.containers == {}

    run(scenario)


def test_a_session_revoked_meanwhile_is_not_taken_up(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.client()
            world.location.accounts.revoke("account", "alice")
            await world.restart()
            await until(lambda: len(world.location.sessions) == 0)

    run(scenario)


def test_a_node_revoked_meanwhile_is_gone_with_all_it_had(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            client = await world.client()
            await world.container(client)
            await world.volume(client, persistent=True)
            world.location.accounts.revoke("node", "rack1")
            await world.restart()
            assert world.location.holdings.containers == world.location.holdings.volumes == {}
            assert world.location.addresses.in_use() == frozenset()
            assert (await client.take_up()).nodes == ()

    run(scenario)


def test_two_daemons_do_not_serve_one_directory(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            with pytest.raises(WrongState, match="another process"):
                Daemon(world.options())
            await world.client()

    run(scenario)


def test_a_network_that_no_longer_fits_is_refused_at_the_start(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            client = await world.client()
            await world.container(client)
            await world.stop()
            text = (root / "location.toml").read_text()
            (root / "location.toml").write_text(text.replace("10.117.0.0/16", "10.118.0.0/16"))
            changed = options_of(read(root / "location.toml"), directory=root, run=root / "run")
            with pytest.raises(WrongState, match="network was changed"):
                Daemon(changed)
            await world.start()

    run(scenario)
