"""Sessions: opened, taken up, renewed, closed, expired, vanished; and what each of them frees."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import tfcore
from tests.location.world import Client, World, location, run, until
from tfcore.clock import JumpingClock
from tfcore.errors import NotFound, Refused, SessionLost, VersionMismatch
from tfcore.wire import containers as c
from tfcore.wire import nodes as n
from tfcore.wire import sessions as s
from tflocation.leases.machine import Terms


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


def test_a_session_is_welcomed_with_what_there_is(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            welcome = client.welcome
            assert (welcome.account, welcome.resumed, welcome.lease) == ("alice", False, 120.0)
            assert [(offer.name, offer.alive, offer.cores) for offer in welcome.nodes] == [(node.name, True, 2)]
            assert welcome.nodes[0].id == world.node_id()
            assert welcome.live == "", "nobody asked for the liveness socket"

    run(scenario)


def test_two_sessions_of_one_account_are_apart(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            one, other = await world.client(), await world.client()
            assert one.welcome.session != other.welcome.session
            container = await world.container(one)
            assert isinstance(await other.error_of(c.AskContainer(), target=container), NotFound)

    run(scenario)


def test_a_version_range_without_ours_is_refused_naming_both(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = world.party(world.pair_of("account", "alice"))
            error = await client.error_of(s.OpenSession(protocol_min=7, protocol_max=9, version="9.9"))
            assert isinstance(error, VersionMismatch)
            assert "version 1" in error.message
            assert "7 to 9" in error.message
            assert len(world.location.sessions) == 0

    run(scenario)


def test_a_node_key_opens_no_session(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = world.party(world.pair_of("node", "rack1"))
            assert isinstance(await node.error_of(s.OpenSession(version="1")), Refused)

    run(scenario)


def test_whoever_says_nothing_before_hello_is_told_to(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = world.party(world.pair_of("account", "alice"))
            pending = asyncio.ensure_future(client.call(s.RenewLease()))
            assert not (await client.hears(s.SessionLost)).ended
            await client.take_up()
            assert await pending is not None, "the request was asked again and answered"

    run(scenario)


def test_a_session_survives_a_cut(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            node.gate.clear()
            waiting = asyncio.ensure_future(client.call(c.WaitReady(), target=container))
            await until(lambda: any(op == "container.wait-ready" for op, _ in node.asked))
            client.cut()
            client.reconnect()
            welcome = await client.take_up()
            assert welcome.resumed
            node.gate.set()
            assert (await waiting).generation == 1
            assert len([op for op, _ in node.asked if op == "container.wait-ready"]) == 1, "asked twice, done once"

    run(scenario)


def test_the_same_hello_twice_opens_one_session(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = world.party(world.pair_of("account", "alice"))
            asking = client.link.begin(s.OpenSession(version=tfcore.VERSION), timeout=20)
            await until(lambda: len(world.location.sessions) == 1)
            first = await asking.reply()
            client.cut()
            client.reconnect()
            client._send(asking.header, client_body(asking.request))
            await until(lambda: len(client.raw) == 2)
            assert len(world.location.sessions) == 1
            assert first.session == next(iter(world.location.sessions)).id

    run(scenario)


def client_body(request: object) -> bytes:
    from tfcore.wire.message import encode

    return encode(request)  # type: ignore[arg-type]


def test_nobody_takes_up_somebody_elses_session(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            alice = await world.client("alice")
            mallory = await world.client("mallory", session=alice.welcome.session)
            assert mallory.welcome.session != alice.welcome.session
            assert not mallory.welcome.resumed
            await alice.call(s.RenewLease())

    run(scenario)


def test_closing_frees_everything_and_answers_then(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            await world.container(client)
            await world.volume(client)
            kept = await world.volume(client, tag="kept", persistent=True)
            await client.call(s.CloseSession())
            assert node.containers == {}
            assert list(node.volumes) == [kept]
            assert world.location.holdings.containers == {}
            assert list(world.location.holdings.volumes) == [kept]
            assert world.location.addresses.in_use() == frozenset()
            assert len(world.location.sessions) == 0
            assert client.told(s.SessionLost) == []

    run(scenario)


def test_closing_twice_is_harmless(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            await client.call(s.CloseSession())
            await client.call(s.CloseSession())

    run(scenario)


def test_nobody_closes_somebody_elses_session(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            alice, mallory = await world.client("alice"), await world.client("mallory")
            mallory.link.session = alice.welcome.session
            await mallory.call(s.CloseSession())
            await alice.call(s.RenewLease())

    run(scenario)


def silent_client_is_given_up(world: World, clock: JumpingClock, seconds: float) -> None:
    clock.jump(seconds)
    world.daemon.tick()


def test_a_silent_session_is_freed_after_its_lease(root: Path) -> None:
    async def scenario() -> None:
        clock = JumpingClock(1000.0)
        async with location(root, clock=clock, terms=Terms(session=120.0, node=80000.0)) as world:
            node = await world.node()
            client = await world.client()
            await world.container(client)
            silent_client_is_given_up(world, clock, 119.0)
            assert len(world.location.sessions) == 1
            silent_client_is_given_up(world, clock, 2.0)
            await until(lambda: node.containers == {} and world.location.holdings.containers == {})
            lost = await client.hears(s.SessionLost)
            assert lost.ended
            assert "120 s" in lost.reason

    run(scenario)


def test_every_message_is_a_sign_of_life(root: Path) -> None:
    async def scenario() -> None:
        clock = JumpingClock(1000.0)
        async with location(root, clock=clock, terms=Terms(session=120.0, node=80000.0)) as world:
            await world.node()
            client = await world.client()
            container = await world.container(client)
            for _ in range(3):
                silent_client_is_given_up(world, clock, 100.0)
                await client.call(c.AskContainer(), target=container)
            assert len(world.location.sessions) == 1

    run(scenario)


def test_a_client_that_comes_back_too_late_is_told_that_all_is_gone(root: Path) -> None:
    async def scenario() -> None:
        clock = JumpingClock(1000.0)
        async with location(root, clock=clock) as world:
            client = await world.client()
            client.cut()
            silent_client_is_given_up(world, clock, 121.0)
            client.reconnect()
            asking = asyncio.ensure_future(client.error_of(s.RenewLease(), timeout=1))
            assert (await client.hears(s.SessionLost)).ended
            client.link.lost(SessionLost("gone"))
            assert isinstance(await asking, SessionLost)

    run(scenario)


async def hold_liveness(client: Client) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_unix_connection(client.welcome.live)
    writer.write(client.welcome.session.encode() + b"\n")
    await writer.drain()
    return writer


def test_the_end_of_a_local_client_is_known_at_once(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client(local=True)
            await world.container(client)
            life = await hold_liveness(client)
            await until(lambda: world.location.liveness._holders)
            life.close()
            await until(lambda: node.containers == {} and len(world.location.sessions) == 0)

    run(scenario)


def test_a_second_liveness_connection_takes_over_from_the_first(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client(local=True)
            first = await hold_liveness(client)
            await until(lambda: world.location.liveness._holders)
            holder = world.location.liveness._holders[client.welcome.session]
            second = await hold_liveness(client)
            await until(lambda: world.location.liveness._holders[client.welcome.session] is not holder)
            first.close()
            await until(lambda: len(world.location.liveness._connections) == 1)
            await client.call(s.RenewLease())
            second.close()
            await until(lambda: len(world.location.sessions) == 0)

    run(scenario)


@pytest.mark.parametrize("line", [b"s-0000000000000000000000\n", b"\xff\xfe\n", b"x" * 5000, b"", b"\n"])
def test_nonsense_on_the_liveness_socket_changes_nothing(root: Path, line: bytes) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client(local=True)
            reader, writer = await asyncio.open_unix_connection(client.welcome.live)
            writer.write(line)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await client.call(s.RenewLease())

    run(scenario)


def test_a_remote_session_cannot_be_ended_by_the_liveness_socket(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            local = await world.client(local=True)
            remote = await world.client("bob")
            reader, writer = await asyncio.open_unix_connection(local.welcome.live)
            writer.write(remote.welcome.session.encode() + b"\n")
            assert await reader.read() == b"", "the location hangs up"
            writer.close()
            await remote.call(s.RenewLease())

    run(scenario)


def test_what_a_node_does_not_free_is_tried_again(root: Path) -> None:
    async def scenario() -> None:
        clock = JumpingClock(1000.0)
        async with location(root, clock=clock, terms=Terms(session=120.0, node=80000.0, retry=30.0)) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            node.refusals[n.FreeSession] = Refused("not now")
            await client.call(s.CloseSession())
            assert list(world.location.holdings.containers) == [container]
            del node.refusals[n.FreeSession]
            clock.jump(31.0)
            world.daemon.tick()
            await until(lambda: node.containers == {} and world.location.holdings.containers == {})
            assert world.location.addresses.in_use() == frozenset()

    run(scenario)
