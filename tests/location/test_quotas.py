"""What an account may have at most: refused with the numbers, before anything happens, whoever else asks at that moment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.location.world import Client, World, an_image, location, run, until
from tfcore.errors import BadRequest, Exhausted, QuotaExceeded, TfError
from tfcore.rpc.streams import INPUT
from tfcore.wire import containers as c
from tfcore.wire import images as i
from tfcore.wire import kept as k
from tfcore.wire import nodes as n
from tfcore.wire import sessions as s
from tfcore.wire import volumes as v
from tfcore.wire.inside import ConnectInside
from tflocation.cli import main
from tflocation.quotas.kinds import KINDS, parse_all, told, written

GIB = 1 << 30


def limited(world: World, account: str = "alice", **most: float | None) -> None:
    world.location.guard.book.change(account, most)


def refused(error: TfError, kind: str, **numbers: float) -> None:
    """It is this quota's refusal, with these numbers for people and for programs."""
    assert isinstance(error, QuotaExceeded), error
    assert error.details["quota"] == kind
    assert {name: float(error.details[name]) for name in numbers} == numbers
    for number in numbers.values():
        assert told(kind, number) in error.message
    assert f"quota alice {kind}=" in error.hint


# --- one kind after the other


def test_containers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            node, alice, second = await world.node(), await world.client(), await world.client()
            limited(world, containers=2)
            mine = await world.container(alice)
            await world.container(second)
            spawn = c.SpawnContainer(node=world.node_id(), wish=c.ContainerWish(image="web"))
            refused(await alice.error_of(spawn), "containers", limit=2, used=2, asked=1)
            assert len(node.ordered(n.BootContainer)) == 2
            assert len(world.location.addresses.in_use()) == 2
            await alice.call(c.DestroyContainer(), target=mine)
            await world.container(second)

    run(scenario)


def test_of_many_at_once_only_as_many_as_there_is_room_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            node, alice, other = await world.node(), await world.client(), await world.client("bob")
            await alice.upload("web", an_image())
            limited(world, containers=3)
            node.gate.clear()
            spawn = c.SpawnContainer(node=world.node_id(), wish=c.ContainerWish(image="web"))
            asked = [asyncio.ensure_future(alice.call(spawn)) for _ in range(10)]
            await until(lambda: sum(one.done() for one in asked) == 7)
            node.gate.set()
            done = await asyncio.gather(*asked, return_exceptions=True)
            assert sum(isinstance(one, c.ContainerAccepted) for one in done) == 3
            assert {type(one) for one in done} == {c.ContainerAccepted, QuotaExceeded}
            await world.container(other)

    run(scenario)


def test_what_could_not_be_booted_does_not_count(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            node, alice = await world.node(), await world.client()
            limited(world, containers=1)
            node.refusals[n.BootContainer] = Exhausted("full")
            with pytest.raises(Exhausted, match="full"):
                await world.container(alice)
            node.refusals.clear()
            await until(lambda: not world.location.holdings.containers)
            await world.container(alice)

    run(scenario)


@pytest.mark.parametrize(
    ("kind", "most", "limits", "asked", "share"),
    [
        ("memory", 4 * GIB, c.Limits(memory=3 * GIB), 3 * GIB, c.Limits(memory=GIB // 2)),
        ("cpu", 3.5, c.Limits(cpus=2.0), 2.0, c.Limits(cpus=1.0)),
    ],
)
def test_memory_and_processor(
    tmp_path: Path, kind: str, most: float, limits: c.Limits, asked: float, share: c.Limits
) -> None:
    """Who wishes nothing is given a share, and the node is told so."""

    async def scenario() -> None:
        async with location(tmp_path) as world:
            node, alice = await world.node(), await world.client()
            limited(world, **{kind: most})
            first = await world.container(alice, limits=limits)
            spawn = c.SpawnContainer(node=world.node_id(), wish=c.ContainerWish(image="web", limits=limits))
            refused(await alice.error_of(spawn), kind, limit=most, used=asked, asked=asked)
            small = await world.container(alice)
            assert node.containers[small].wish.limits == share
            await alice.call(c.DestroyContainer(), target=first)
            await alice.call(spawn)

    run(scenario)


def test_a_container_cannot_grow_by_being_booted_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            node, alice = await world.node(), await world.client()
            limited(world, memory=GIB)
            mine = await world.container(alice, limits=c.Limits(memory=GIB // 4))
            wish = c.ContainerWish(image="web", limits=c.Limits(memory=2 * GIB))
            again = c.SpawnContainer(node=world.node_id(), wish=wish, again=mine)
            refused(await alice.error_of(again), "memory", limit=GIB, used=GIB // 4, asked=2 * GIB - GIB // 4)
            await alice.call(replace(again, wish=replace(wish, limits=c.Limits(memory=GIB))))
            assert node.containers[mine].wish.limits.memory == GIB
            await world.restart()
            await node.rejoin()
            await alice.take_up()
            spawn = c.SpawnContainer(node=world.node_id(), wish=c.ContainerWish(image="web", limits=c.Limits(memory=1)))
            refused(await alice.error_of(spawn), "memory", limit=GIB, used=GIB, asked=1)

    run(scenario)


@pytest.mark.parametrize("cpus", [-1.0, float("nan"), float("inf")])
def test_a_wish_cannot_make_room(tmp_path: Path, cpus: float) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            await world.node()
            alice = await world.client()
            with pytest.raises(BadRequest, match="make no sense"):
                await world.container(alice, limits=c.Limits(cpus=cpus))

    run(scenario)


def test_volumes(tmp_path: Path) -> None:
    """Persistent ones and those of every session, and those a kept snapshot brings."""

    async def scenario() -> None:
        async with location(tmp_path) as world:
            node, alice, second = await world.node(), await world.client(), await world.client()
            kept_volume = await world.volume(alice, persistent=True)
            mine = await world.volume(second)
            mounts = (c.Mount(volume=mine, path="/data"),)
            container = await world.container(second, mounts=mounts)
            kept = (await second.call(k.KeepSnapshot(), target=container)).kept.id
            limited(world, volumes=2)
            refused(await alice.error_of(v.CreateVolume(node=world.node_id())), "volumes", limit=2, used=2, asked=1)
            spawn = c.SpawnContainer(node=world.node_id(), wish=c.ContainerWish(image="web"), kept=kept)
            refused(await alice.error_of(spawn), "volumes", limit=2, used=2, asked=1)
            assert set(node.volumes) == {kept_volume, mine}
            await alice.call(v.DestroyVolume(), target=kept_volume)
            await alice.call(spawn)

    run(scenario)


def test_sessions(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            first = await world.client()
            limited(world, sessions=1)
            party = world.party(world.pair_of("account", "alice"))
            hello = s.OpenSession(version="0", program="another")
            refused(await party.error_of(hello), "sessions", limit=1, used=1, asked=1)
            assert (await first.take_up()).resumed, "taking up one's own is not one more"
            await first.call(s.CloseSession())
            await party.hello()

    run(scenario)


def test_connections_through_tunnels(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            node, alice = await world.node(), await world.client()
            mine = await world.container(alice)
            limited(world, tunnels=2)
            node.gate.clear()
            open_one = c.OpenConnection(port=80)
            held = [asyncio.ensure_future(alice.call(open_one, target=mine)) for _ in range(2)]
            await until(lambda: world.location.forwarding.connections("alice") == 2)
            refused(await alice.error_of(open_one, target=mine), "tunnels", limit=2, used=2, asked=1)
            inside = ConnectInside(host="localhost", port=80)
            refused(await alice.error_of(inside, target=mine), "tunnels", limit=2, used=2, asked=1)
            node.gate.set()
            await asyncio.gather(*held)
            await alice.call(open_one, target=mine)

    run(scenario)


# --- disk


async def _put(client: Client, layer: bytes, diff_id: str, config: bytes) -> None:
    await client.call(i.OfferImage(name="more", config=config, diff_ids=(diff_id,)))
    sending = client.link.begin(i.PutLayer(diff_id=diff_id), timeout=20)
    await sending.stream.write(INPUT, layer)
    sending.stream.finish(INPUT)
    await sending.reply()


def test_images_take_disk(tmp_path: Path) -> None:
    """A layer is refused while it arrives, and nothing of it is left."""

    async def scenario() -> None:
        async with location(tmp_path) as world:
            alice = await world.client()
            config, diff_id, layer = an_image(bytes(300_000))
            limited(world, disk=len(layer) - 1)
            with pytest.raises(QuotaExceeded) as told_so:
                await _put(alice, layer, diff_id, config)
            refused(told_so.value, "disk", limit=len(layer) - 1)
            assert world.location.images.usage().size == 0
            limited(world, disk=len(layer))
            await _put(alice, layer, diff_id, config)
            refused(await alice.error_of(i.OfferImage(name="x", config=config, diff_ids=(diff_id,))), "disk")

    run(scenario)


def test_kept_snapshots_take_disk(tmp_path: Path) -> None:
    """Each of the fake node's takes ten MiB."""

    async def scenario() -> None:
        async with location(tmp_path) as world:
            node, alice = await world.node(), await world.client()
            mine = await world.container(alice)
            layers = world.location.images.possessed("alice")
            limited(world, disk=layers + 25 * (1 << 20))
            first = (await alice.call(k.KeepSnapshot(), target=mine)).kept.id
            both = [alice.error_of(k.KeepSnapshot(), target=mine), alice.call(k.KeepSnapshot(), target=mine)]
            node.gate.clear()
            asked = [asyncio.ensure_future(one) for one in both]
            await until(lambda: len(node.ordered(k.KeepMoment)) == 3)
            node.gate.set()
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
            assert sum(isinstance(one, QuotaExceeded) for one in outcomes) == 1, outcomes
            await until(lambda: len(node.kept) == 2)
            assert first in node.kept

    run(scenario)


# --- who may see and change them


def test_everybody_sees_their_own_and_the_operator_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            await world.node()
            alice, bob = await world.client(), await world.client("bob")
            limited(world, containers=3, disk=5 * GIB)
            limited(world, "bob", volumes=1)
            await world.container(alice)
            seen = json.loads((await alice.call(s.AskStatus())).report)["quotas"]
            assert seen["alice"]["containers"] == {"used": 1, "limit": 3}
            assert seen["alice"]["disk"]["used"] > 0
            assert seen.keys() == {"alice"}
            assert set(json.loads((await bob.call(s.AskStatus())).report)["quotas"]) == {"bob"}
            assert await world.location.guard.report("nobody", world.location.disk) == {}

    run(scenario)


def test_a_lowered_limit_takes_nothing_away(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            await world.node()
            alice = await world.client()
            mine = await world.container(alice)
            limited(world, containers=0)
            await alice.call(c.AskContainer(), target=mine)
            with pytest.raises(QuotaExceeded, match="limited to 0 containers: 1 in use, and 1 more"):
                await world.container(alice)
            limited(world, containers=None)
            await world.container(alice)

    run(scenario)


def test_the_operator_sets_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--dir", str(tmp_path / "it"))

    def said(*words: str, status: int = 0) -> str:
        assert main([*words, *place]) == status
        captured = capsys.readouterr()
        return captured.out if status == 0 else captured.err

    said("init", "--name", "lab")
    said("account", "add", "alice")
    assert said("account", "quota", "alice") == "alice: -\n"
    assert "QUOTA" not in said("account", "list")
    assert said("account", "quota", "alice", "memory=8G", "containers=20") == "alice: containers=20 memory=8G\n"
    assert said("account", "quota", "alice", "containers=none", "cpu=2.5") == "alice: memory=8G cpu=2.5\n"
    assert "memory=8G cpu=2.5" in said("account", "list")
    assert "no account called carol" in said("account", "quota", "carol", "cpu=1", status=1)
    for wrong in ("memory", "memory=", "memory=-1", "cpu=1G", "containers=many", "bogus=3", "disk=9999999T"):
        said("account", "quota", "alice", "sessions=1", wrong, status=1)
    assert said("account", "quota", "alice") == "alice: memory=8G cpu=2.5\n", "all of a command, or nothing"


def test_what_is_written_reads_back() -> None:
    words = ["containers=20", "memory=8G", "cpu=2.5", "disk=1536M", "tunnels=0"]
    limits: Mapping[str, float | None] = parse_all(words)
    assert set(written({kind: most for kind, most in limits.items() if most is not None}).split()) == set(words)
    assert set(KINDS) == {"sessions", "containers", "memory", "cpu", "volumes", "tunnels", "disk"}
