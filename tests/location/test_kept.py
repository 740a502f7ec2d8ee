"""Kept snapshots at a location: whose they are, when they go, what a restart and a node's absence change. The node is a
fake: what it keeps it has in a set."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.location.world import Client, World, an_image, location, run, until
from tfcore.clock import JumpingClock
from tfcore.errors import BadRequest, Exhausted, NotFound, Unavailable, WrongState
from tfcore.ids import new_id
from tfcore.wire import containers as c
from tfcore.wire import kept as k
from tfcore.wire import nodes as n
from tfcore.wire import sessions as s
from tfcore.wire import volumes as v
from tfcore.wire.header import Header, encode_header
from tfcore.wire.message import encode, op_of

MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


async def keep(client: Client, container: str, **wish: Any) -> k.KeptSnapshot:
    found: k.KeptSnapshot = (await client.call(k.KeepSnapshot(**wish), target=container)).kept
    return found


async def listed(client: Client) -> list[str]:
    return [kept.id for kept in (await client.call(k.ListKept())).kept]


async def resumed(world: World, client: Client, kept: k.KeptSnapshot) -> c.ContainerAccepted:
    spawn = c.SpawnContainer(node=kept.node, wish=c.ContainerWish(image=kept.image), kept=kept.id)
    accepted: c.ContainerAccepted = await client.call(spawn)
    return accepted


def test_it_belongs_to_its_account(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            alice, bob = await world.client("alice"), await world.client("bob")
            container = await world.container(alice)
            kept = await keep(alice, container, name="seeded", labels={"why": "test"})
            assert (kept.name, kept.labels, kept.image) == ("seeded", {"why": "test"}, "web")
            assert node.kept == {kept.id}
            second = await world.client("alice")
            assert await listed(second) == [kept.id]
            assert await listed(bob) == []
            assert isinstance(await bob.error_of(k.ForgetKept(kept=kept.id)), NotFound)
            own = await keep(bob, await world.container(bob), name="seeded")
            assert await listed(bob) == [own.id]
            await alice.call(s.CloseSession())
            await resumed(world, second, kept)
            await second.call(k.ForgetKept(kept=kept.id))
            assert node.kept == {own.id}

    run(scenario)


def test_a_container_from_it_is_wished_as_then(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            mortal, lasting = await world.volume(client), await world.volume(client, persistent=True)
            mounts = (c.Mount(volume=mortal, path="/mortal"), c.Mount(volume=lasting, path="/lasting"))
            container = await world.container(client, env=(("A", "1"),), mounts=mounts)
            kept = await keep(client, container)
            accepted = await resumed(world, client, kept)
            boot = node.containers[accepted.container]
            assert (boot.kept, boot.wish.env) == (kept.id, (("A", "1"),))
            assert boot.config == node.containers[container].config == accepted.config
            assert boot.layers == node.containers[container].layers
            assert [(mount.path, mount.volume == lasting) for mount in accepted.mounts] == [
                ("/mortal", False), ("/lasting", True),
            ]  # fmt: skip
            made = node.volumes[accepted.mounts[0].volume]
            assert (made.kept, made.origin, made.session) == (kept.id, mortal, client.welcome.session)
            await client.call(s.CloseSession())
            assert set(node.volumes) == {lasting}

    run(scenario)


def test_an_image_that_is_removed_or_renamed_makes_no_difference(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            kept = await keep(client, container := await world.container(client))
            before = node.containers[container]
            await client.upload("web", an_image(b"another\n"))
            await client.call(c.DestroyContainer(), target=container)
            world.location.images.evict(0)
            accepted = await resumed(world, client, kept)
            assert node.containers[accepted.container].layers == before.layers
            assert world.location.images.has(before.layers[0].diff_id)
            await client.call(c.DestroyContainer(), target=accepted.container)
            await client.call(k.ForgetKept(kept=kept.id))
            await until(lambda: _evicted(world, before.layers[0].diff_id))

    run(scenario)


def _evicted(world: World, diff_id: str) -> bool:
    world.location.images.evict(0)
    return not world.location.images.has(diff_id)


@pytest.mark.parametrize("forgotten", [False, True])
def test_one_that_is_booted_again_needs_only_the_record(root: Path, forgotten: bool) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client, mounts=(c.Mount(volume=await world.volume(client), path="/d"),))
            kept = await keep(client, container)
            accepted = await resumed(world, client, kept)
            if forgotten:
                await client.call(k.ForgetKept(kept=kept.id))
                world.daemon.tick()
                await world.restart()
                await client.take_up()
            node.restart_agent()
            await node.rejoin()
            again = c.SpawnContainer(
                node=kept.node, wish=c.ContainerWish(image="web"), again=accepted.container, kept=kept.id
            )
            assert (await client.call(again)).mounts == accepted.mounts
            assert node.containers[accepted.container].wish.mounts == accepted.mounts
            await client.call(c.DestroyContainer(), target=accepted.container)
            world.daemon.tick()
            assert (world.location.kept.find(kept.id) is None) == forgotten

    run(scenario)


def test_it_expires_by_the_locations_clock(root: Path) -> None:
    async def scenario() -> None:
        wall = JumpingClock(5000.0)
        async with location(root, wall=wall) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            kept = await keep(client, container, seconds=200000.0)
            assert (kept.created, kept.expires) == (5000.0, 205000.0)
            forever = await keep(client, container)
            wall.jump(199999.0)
            world.daemon.tick()
            assert await listed(client) == [kept.id, forever.id]
            wall.jump(1.0)
            world.daemon.tick()
            assert await listed(client) == [forever.id]
            await until(lambda: node.kept == {forever.id})

    run(scenario)


def test_the_oldest_evictable_ones_go_beyond_the_limit(root: Path) -> None:
    async def scenario() -> None:
        wall = JumpingClock(5000.0)
        async with location(root, wall=wall, kept_space=25 * MIB) as world:
            node = await world.node()
            client, other = await world.client(), await world.client("bob")
            container = await world.container(client)
            made = []
            for number in range(4):
                wall.jump(1.0)
                made.append(await keep(client, container, name=f"n{number}", evictable=number != 1))
            theirs = await keep(other, await world.container(other), evictable=True)
            world.daemon.tick()
            assert await listed(client) == [made[1].id, made[3].id]
            await until(lambda: node.kept == {made[1].id, made[3].id, theirs.id})

    run(scenario)


def test_tidying_tells_what_went(root: Path) -> None:
    async def scenario() -> None:
        wall = JumpingClock(5000.0)
        async with location(root, wall=wall, kept_space=15 * MIB) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            expired = await keep(client, container, seconds=1.0)
            wall.jump(1.0)
            oldest = await keep(client, container, evictable=True)
            newest = await keep(client, container)
            tidied = await client.call(k.TidyKept())
            assert [kept.id for kept in tidied.gone] == [expired.id, oldest.id]
            assert (tidied.size, tidied.limit) == (newest.size, 15 * MIB)
            assert node.kept == {newest.id}
            assert (await client.call(k.TidyKept())).gone == ()

    run(scenario)


def test_eviction_leaves_alone_what_is_being_spawned_from(root: Path) -> None:
    async def scenario() -> None:
        async with location(root, kept_space=1) as world:
            node = await world.node()
            client = await world.client()
            node.gated = (n.BootContainer,)
            kept = await keep(client, await world.container(client), evictable=True)
            node.gate.clear()
            spawning = asyncio.ensure_future(resumed(world, client, kept))
            await until(lambda: len(node.ordered(n.BootContainer)) == 2)
            world.daemon.tick()
            assert await listed(client) == [kept.id]
            node.gate.set()
            await spawning
            world.daemon.tick()
            assert await listed(client) == []

    run(scenario)


def test_a_name_is_taken_once(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            node.gated = (k.KeepMoment,)
            node.gate.clear()
            first = asyncio.ensure_future(keep(client, container, name="one"))
            await until(lambda: node.ordered(k.KeepMoment))
            for request in (k.KeepSnapshot(name="one"), k.KeepSnapshot(name="one", replace=True)):
                refused = await client.error_of(request, target=container)
                assert isinstance(refused, WrongState)
                assert "just being kept" in refused.message
            node.gate.set()
            kept = await first
            assert isinstance(await client.error_of(k.KeepSnapshot(name="one"), target=container), WrongState)
            node.gate.clear()
            replacing = asyncio.ensure_future(keep(client, container, name="one", replace=True))
            await until(lambda: len(node.ordered(k.KeepMoment)) == 2)
            assert await listed(client) == [kept.id]
            node.gate.set()
            second = await replacing
            assert await listed(client) == [second.id]
            await until(lambda: node.kept == {second.id})

    run(scenario)


def test_one_that_cannot_be_kept_leaves_nothing(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            node.refusals[k.KeepMoment] = Exhausted("the disk is full")
            assert isinstance(await client.error_of(k.KeepSnapshot(name="one"), target=container), Exhausted)
            await until(lambda: node.ordered(k.DropKept))
            node.refusals.clear()
            await keep(client, container, name="one")
            for wrong in (k.KeepSnapshot(name=new_id("x")), k.KeepSnapshot(labels={"a": "b" * 2000})):
                assert isinstance(await client.error_of(wrong, target=container), BadRequest)

    run(scenario)


@pytest.mark.parametrize("order", [v.MakeVolume, n.BootContainer])
def test_a_container_that_cannot_be_spawned_leaves_nothing(root: Path, order: type) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            mounts = [c.Mount(volume=await world.volume(client), path=path) for path in ("/a", "/b")]
            kept = await keep(client, await world.container(client, mounts=tuple(mounts)))
            before = set(node.volumes), set(node.containers)
            node.refusals[order] = Exhausted("the disk is full")
            spawn = c.SpawnContainer(node=kept.node, wish=c.ContainerWish(image="web"), kept=kept.id)
            assert isinstance(await client.error_of(spawn), Exhausted)
            node.refusals.clear()
            await until(lambda: (set(node.volumes), set(node.containers)) == before)
            await until(lambda: set(world.location.holdings.volumes) == before[0])
            await until(lambda: set(world.location.holdings.containers) == before[1])

    run(scenario)


def test_what_cannot_be_spawned_is_refused_before_anything_happens(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node, _ = await world.node(), await world.node("rack2")
            client = await world.client()
            lasting = await world.volume(client, persistent=True)
            mortal = await world.volume(client)
            mounts = (c.Mount(volume=mortal, path="/a"), c.Mount(volume=lasting, path="/b"))
            container = await world.container(client, mounts=mounts)
            kept = await keep(client, container)
            spawn = c.SpawnContainer(node=kept.node, wish=c.ContainerWish(image="web"), kept=kept.id)
            elsewhere = replace(spawn, node=world.node_id("rack2"))
            assert "is on node" in (await client.error_of(elsewhere)).message
            with_more = replace(spawn, wish=replace(spawn.wish, mounts=(c.Mount(volume=mortal, path="/c"),)))
            assert isinstance(await client.error_of(with_more), BadRequest)
            await client.call(c.DestroyContainer(), target=container)
            await client.call(v.DestroyVolume(), target=lasting)
            refused = await client.error_of(spawn)
            assert isinstance(refused, WrongState)
            assert lasting in refused.message
            assert "/b" in refused.message
            assert set(node.volumes) == {mortal}

    run(scenario)


# --- restarts and absences


def test_a_restarted_location_knows_them(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client, env=(("A", "1"),))
            before = await keep(client, container, name="one", labels={"a": "b"}, seconds=86400.0 * 30, evictable=True)
            await world.restart()
            await node.rejoin()
            await client.take_up()
            assert (await client.call(k.ListKept())).kept == (before,)
            assert node.kept == {before.id}
            await resumed(world, client, before)

    run(scenario)


def test_one_asked_for_again_after_a_restart_is_the_same(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            node.gated = (k.KeepMoment,)
            node.gate.clear()
            wish = k.KeepSnapshot(name="one")
            request = Header(
                kind="request",
                id=new_id("r"),
                op=op_of(wish),
                target=container,
                session=client.link.session,
                timeout=20,
            )
            client.send_raw(encode_header(request), encode(wish))
            await until(lambda: node.ordered(k.KeepMoment))
            await world.restart()
            node.gate.set()
            await node.rejoin()
            await client.take_up()
            before = len(client.raw)
            client.send_raw(encode_header(request), encode(wish))
            await until(lambda: len(client.raw) > before)
            (only,) = await listed(client)
            await until(lambda: node.kept == {only})

    run(scenario)


def test_one_that_nobody_asks_for_again_goes(root: Path) -> None:
    async def scenario() -> None:
        wall = JumpingClock(5000.0)
        async with location(root, wall=wall) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            node.gated = (k.KeepMoment,)
            node.gate.clear()
            client.link.begin(k.KeepSnapshot(name="one"), target=container, timeout=20)
            await until(lambda: node.ordered(k.KeepMoment))
            await world.restart()
            node.gate.set()
            await until(lambda: node.kept)
            await node.rejoin()
            wall.jump(1000.0)
            world.daemon.tick()
            await until(lambda: node.kept == set())
            assert list(world.location.kept) == []

    run(scenario)


def test_one_forgotten_while_its_node_was_away_goes_when_it_is_back(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            kept = await keep(client, await world.container(client))
            node.cut()
            world.location.freeing.lose(next(iter(world.location.nodes)), "it is away")
            spawn = c.SpawnContainer(node=kept.node, wish=c.ContainerWish(image="web"), kept=kept.id)
            assert isinstance(await client.error_of(spawn), Unavailable)
            await client.call(k.ForgetKept(kept=kept.id))
            assert await listed(client) == []
            assert node.kept == {kept.id}
            node.reconnect()
            await node.rejoin()
            await until(lambda: node.kept == set())

    run(scenario)


def test_what_a_node_has_lost_is_not_listed(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            lost, here = [await keep(client, await world.container(client)) for _ in range(2)]
            node.kept.discard(lost.id)
            await node.rejoin()
            await until(lambda: len(world.location.kept.of("alice")) == 1)
            assert await listed(client) == [here.id]

    run(scenario)


@pytest.mark.parametrize(("role", "name"), [("account", "alice"), ("node", "rack1")])
def test_with_its_account_or_its_node_it_goes(root: Path, role: Any, name: str) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            await keep(client, await world.container(client))
            world.location.accounts.revoke(role, name)
            await world.restart()
            assert [kept for kept in world.location.kept if kept.state == "kept"] == []
            if role == "account":
                await node.rejoin()
                await until(lambda: node.kept == set())

    run(scenario)
