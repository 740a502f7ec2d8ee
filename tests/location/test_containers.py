"""Containers and volumes as the location sees them: checked before anything changes, recorded, taken back when it fails."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.location.world import Client, FakeNode, World, an_image, location, run, until
from tfcore import ids
from tfcore.errors import BadRequest, BadTag, CommandFailed, Exhausted, ImageNotFound, NotFound, WrongState
from tfcore.wire import containers as c
from tfcore.wire import nodes as n
from tfcore.wire import sessions as s
from tfcore.wire import volumes as v
from tflocation.addresses import AddressBook
from tflocation.wishes import check_wish


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


def test_a_spawned_container_has_an_id_an_address_and_its_image(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client, env=(("A", "1"),), hostname="web")
            boot = node.containers[container]
            assert ids.is_id(container, "c")
            assert (boot.session, boot.account) == (client.welcome.session, "alice")
            assert boot.address == "10.117.0.1"
            assert (boot.wish.env, boot.wish.hostname) == ((("A", "1"),), "web")
            assert len(boot.layers) == 1
            assert b"diff_ids" in boot.config

    run(scenario)


def test_requests_reach_the_containers_node(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            one, two = await world.node("rack1"), await world.node("rack2")
            client = await world.client()
            on_one = await world.container(client, name="rack1")
            on_two = await world.container(client, name="rack2")
            await client.call(c.AskContainer(), target=on_two)
            assert [op for op, _ in one.asked] == ["node.boot-container"]
            assert [op for op, _ in two.asked] == ["node.boot-container", "container.ask"]
            assert on_one in one.containers

    run(scenario)


async def nothing_changed(world: World, node: FakeNode) -> None:
    assert world.location.holdings.containers == {}
    assert world.location.addresses.in_use() == frozenset()
    assert node.ordered(n.BootContainer) == []


WRONG: list[tuple[str, dict[str, Any], dict[str, Any], type[Exception]]] = [
    ("image", {"image": "nothing"}, {}, ImageNotFound),
    ("tag", {}, {"tag": "Not A Tag"}, BadTag),
    ("tag like an id", {}, {"tag": "c-0000000000000000000000"}, BadTag),
    ("node", {}, {"node": "n-0000000000000000000000"}, NotFound),
    ("volume", {"mounts": (c.Mount(volume="v-0000000000000000000000", path="/data"),)}, {}, NotFound),
    ("environment", {"env": (("A=B", "1"),)}, {}, BadRequest),
    ("file outside", {"pre_boot_files": (("/../etc/passwd", b""),)}, {}, BadRequest),
    ("relative file", {"pre_boot_files": (("etc/passwd", b""),)}, {}, BadRequest),
    ("hostname", {"hostname": "-x-"}, {}, BadRequest),
]


@pytest.mark.parametrize(("wish", "spawn", "error"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_wrong_wish_changes_nothing(
    root: Path, wish: dict[str, Any], spawn: dict[str, Any], error: type[Exception]
) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            await client.upload("web", an_image())
            request = {"node": world.node_id(), **spawn}
            asked = c.SpawnContainer(wish=c.ContainerWish(**{"image": "web", **wish}), **request)
            assert isinstance(await client.error_of(asked), error)
            await nothing_changed(world, node)

    run(scenario)


@pytest.mark.parametrize(
    "paths",
    [
        ("/data", "/data"),
        ("/data", "/data/sub"),
        ("/data/sub", "/data"),
        ("/data/", "/data"),
        ("/a/./b", "/a/b"),
        ("//a", "/a/b"),
    ],
)
def test_overlapping_mounts_are_refused(paths: tuple[str, str]) -> None:
    mounts = tuple(c.Mount(volume=ids.new_id("v"), path=path) for path in paths)
    with pytest.raises(BadRequest, match="overlap"):
        check_wish(c.ContainerWish(image="x", mounts=mounts), tag="")


@pytest.mark.parametrize(
    "path", ["data", "/a/../b", "/..", "/\0", "/", "//", "/proc", "/proc/sys", "/sys/fs", "/dev/shm"]
)
def test_mount_points_that_cannot_be_are_refused(path: str) -> None:
    with pytest.raises(BadRequest):
        check_wish(c.ContainerWish(image="x", mounts=(c.Mount(volume=ids.new_id("v"), path=path),)), tag="")


def test_mounts_side_by_side_are_fine() -> None:
    paths = ("/data", "/database", "/var/data", "/process", "/device", "/...")
    mounts = tuple(c.Mount(volume=ids.new_id("v"), path=path) for path in paths)
    check_wish(c.ContainerWish(image="x", mounts=mounts), tag="a-tag_1.2")


def test_one_volume_twice_in_a_container_is_refused() -> None:
    volume = ids.new_id("v")
    mounts = (c.Mount(volume=volume, path="/a"), c.Mount(volume=volume, path="/b"))
    with pytest.raises(BadRequest, match="more than once"):
        check_wish(c.ContainerWish(image="x", mounts=mounts), tag="")


def test_a_boot_the_node_refuses_is_taken_back(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            node.refusals[n.BootContainer] = CommandFailed("crun: no")
            with pytest.raises(CommandFailed, match="crun: no"):
                await world.container(client)
            await until(lambda: world.location.holdings.containers == {})
            assert world.location.addresses.in_use() == frozenset()
            assert len(node.ordered(n.EndContainer)) == 1

    run(scenario)


def test_a_spawn_that_is_given_up_is_taken_back(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            await client.upload("web", an_image())
            node.gate.clear()
            spawn = c.SpawnContainer(node=world.node_id(), wish=c.ContainerWish(image="web"))
            asking = client.link.begin(spawn, timeout=20)
            await until(lambda: node.ordered(n.BootContainer))
            asking.abandon()
            await until(lambda: node.ordered(n.EndContainer))
            node.gate.set()
            await until(lambda: world.location.holdings.containers == {})
            assert world.location.addresses.in_use() == frozenset()

    run(scenario)


def test_a_container_may_be_taken_back_while_its_session_is_freed(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            await client.upload("web", an_image())
            node.gated = (n.BootContainer, n.EndContainer)
            node.gate.clear()
            spawn = c.SpawnContainer(node=world.node_id(), wish=c.ContainerWish(image="web"))
            asking = client.link.begin(spawn, timeout=20)
            await until(lambda: node.ordered(n.BootContainer))
            asking.abandon()
            await until(lambda: node.ordered(n.EndContainer))
            await client.call(s.CloseSession())
            node.gate.set()
            await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name().startswith("taking back")])
            assert world.location.holdings.containers == {}
            assert world.location.addresses.in_use() == frozenset()

    run(scenario)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_no_address_left_is_said_with_the_numbers(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            await world.container(client)
            book: AddressBook = world.location.addresses
            book._fresh = iter(())
            with pytest.raises(Exhausted, match=r"10\.117\.0\.0/16"):
                await world.container(client)
            assert len(world.location.holdings.containers) == len(node.containers) == 1

    run(scenario)


def test_a_destroyed_container_is_gone_and_its_address_free(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            await client.call(c.DestroyContainer(), target=container)
            assert node.containers == {}
            assert world.location.addresses.in_use() == frozenset()
            assert isinstance(await client.error_of(c.AskContainer(), target=container), NotFound)

    run(scenario)


def test_a_container_that_cannot_be_ended_stays_its_sessions(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            node.refusals[n.EndContainer] = CommandFailed("it is stuck")
            assert isinstance(await client.error_of(c.DestroyContainer(), target=container), CommandFailed)
            await client.call(c.AskContainer(), target=container)
            del node.refusals[n.EndContainer]
            await client.call(c.DestroyContainer(), target=container)

    run(scenario)


# who may talk to whom


def test_connections_are_allowed_and_disallowed_on_the_nodes_concerned(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            one, two = await world.node("rack1"), await world.node("rack2")
            client = await world.client()
            web, db = await world.container(client, name="rack1"), await world.container(client, name="rack2")
            same = await world.container(client, name="rack1")
            await client.call(c.AllowConnection(source=web), target=db)
            await client.call(c.AllowConnection(source=same), target=web)
            addresses = {held.id: held.address for held in world.location.holdings.containers.values()}
            assert [{o.one, o.other} for o in two.ordered(n.ConnectContainers)] == [{addresses[web], addresses[db]}]
            assert len(one.ordered(n.ConnectContainers)) == 2
            await client.call(c.DisallowConnection(source=web), target=db)
            assert len(two.ordered(n.DisconnectContainers)) == len(one.ordered(n.DisconnectContainers)) == 1
            await client.call(c.AllowConnection(source=db), target=web)
            await client.call(c.DestroyContainer(), target=web)
            assert len(two.ordered(n.DisconnectContainers)) == 2, "its address may soon be somebody else's"

    run(scenario)


def test_only_containers_of_one_session_can_be_connected(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            alice, mallory = await world.client("alice"), await world.client("mallory")
            theirs, mine = await world.container(alice), await world.container(mallory)
            assert isinstance(await mallory.error_of(c.AllowConnection(source=theirs), target=mine), NotFound)
            assert isinstance(await mallory.error_of(c.AllowConnection(source=mine), target=theirs), NotFound)
            assert isinstance(await mallory.error_of(c.AllowConnection(source=mine), target=mine), BadRequest)
            assert node.ordered(n.ConnectContainers) == []

    run(scenario)


# volumes


def test_a_volume_is_made_where_it_is_wished(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            volume = await world.volume(client, tag="data")
            made = node.volumes[volume]
            assert (made.session, made.account, made.persistent) == (client.welcome.session, "alice", False)
            mounted = await world.container(client, mounts=(c.Mount(volume=volume, path="/data"),))
            assert world.location.holdings.containers[mounted].volumes == (volume,)

    run(scenario)


def test_a_volume_on_another_node_cannot_be_mounted(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node("rack1")
            await world.node("rack2")
            client = await world.client()
            volume = await world.volume(client, name="rack2")
            with pytest.raises(BadRequest, match="is on node"):
                await world.container(client, name="rack1", mounts=(c.Mount(volume=volume, path="/data"),))

    run(scenario)


def test_a_persistent_volume_is_the_accounts_and_outlives_the_session(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            first, beside = await world.client(), await world.client()
            stranger = await world.client("bob")
            volume = await world.volume(first, tag="pgdata", persistent=True)
            assert (await beside.hears(s.VolumeUpdated)).volume.id == volume
            await first.call(s.CloseSession())
            await beside.call(v.SnapshotVolume(), target=volume)
            later = await world.client()
            assert [(offer.id, offer.tag, offer.persistent) for offer in later.welcome.volumes] == [
                (volume, "pgdata", True)
            ]
            assert isinstance(await stranger.error_of(v.SnapshotVolume(), target=volume), NotFound)
            assert stranger.told(s.VolumeUpdated) == []
            await later.call(v.DestroyVolume(), target=volume)
            assert (await beside.hears(s.VolumeUpdated, that=lambda told: told.gone)).volume.id == volume

    run(scenario)


def test_a_tag_is_taken_once(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            alice, again, bob = await world.client(), await world.client(), await world.client("bob")
            await world.volume(alice, tag="pgdata", persistent=True)
            with pytest.raises(WrongState, match="pgdata"):
                await world.volume(again, tag="pgdata", persistent=True)
            with pytest.raises(BadTag):
                await world.volume(alice, tag="no/good")
            await world.volume(bob, tag="pgdata", persistent=True)
            assert len(node.volumes) == 2

    run(scenario)


def test_a_mounted_volume_cannot_be_destroyed(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            volume = await world.volume(client)
            container = await world.container(client, mounts=(c.Mount(volume=volume, path="/data"),))
            error = await client.error_of(v.DestroyVolume(), target=volume)
            assert isinstance(error, WrongState)
            assert container in error.message
            await client.call(c.DestroyContainer(), target=container)
            await client.call(v.DestroyVolume(), target=volume)
            assert node.volumes == {}
            assert isinstance(await client.error_of(v.DestroyVolume(), target=volume), NotFound)

    run(scenario)


def test_a_volume_whose_containers_have_all_ended_can_be_destroyed(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            volume = await world.volume(client)
            container = await world.container(client, mounts=(c.Mount(volume=volume, path="/data"),))
            node.restart_agent()
            await node.rejoin()
            await client.hears(c.ContainerEnded, that=lambda event: event.container == container)
            await client.call(v.DestroyVolume(), target=volume)
            assert node.volumes == {}

    run(scenario)


def test_a_volume_the_node_cannot_make_is_taken_back(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            node.refusals[v.MakeVolume] = Exhausted("the disk is full")
            with pytest.raises(Exhausted, match="disk"):
                await world.volume(client, tag="data", persistent=True)
            await until(lambda: world.location.holdings.volumes == {})
            node.refusals.clear()
            await world.volume(client, tag="data", persistent=True)

    run(scenario)


def test_many_spawns_at_once_get_addresses_of_their_own(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client: Client = await world.client()
            await world.container(client)
            await asyncio.gather(*(world.container(client) for _ in range(30)))
            assert len({boot.address for boot in node.containers.values()}) == 31

    run(scenario)
