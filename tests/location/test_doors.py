"""Who gets in: keys known, unknown and revoked, invitations, wrong server keys; seen from the sockets of both sides."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zmq

from tests.location.world import location, run, until
from tfcore import invitations, keys
from tfcore.errors import BadRequest, Unavailable, UnknownKey, WrongServerKey, WrongState
from tfcore.rpc import enrol
from tfcore.wire import containers as c
from tfcore.wire import nodes as n
from tfcore.wire import sessions as s
from tflocation.auth.invitations import Address
from tflocation.auth.zap import Doorkeeper


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


def test_an_unknown_key_is_refused_in_the_handshake(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            stranger = world.party(keys.generate())
            await until(lambda: zmq.EVENT_HANDSHAKE_FAILED_AUTH in stranger.connection_events)
            assert world.location.doorkeeper.refused >= 1
            assert world.location.broker.counters.received == 0
            await world.client()

    run(scenario)


def test_a_server_with_another_key_gets_nothing_from_a_client(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = world.party(world.pair_of("account", "alice"), server_key=keys.generate().public)
            client.send_raw(b"secret", b"secret")
            await until(lambda: zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL in client.connection_events)
            assert world.location.broker.counters.received == 0
            await world.client("bob")

    run(scenario)


def test_without_a_doorkeeper_nobody_gets_in(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            pair = world.pair_of("account", "alice")
            world.location.doorkeeper.close()
            client = world.party(pair)
            await until(lambda: zmq.EVENT_DISCONNECTED in client.connection_events)
            assert zmq.EVENT_HANDSHAKE_SUCCEEDED not in client.connection_events

    run(scenario)


def test_a_doorkeeper_ignores_what_is_no_question() -> None:
    async def scenario() -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        keeper = Doorkeeper(context, lambda _: "account:x#1", clock=time.monotonic)
        asker = context.socket(zmq.DEALER)
        asker.connect("inproc://zeromq.zap.01")
        asker.send_multipart([b"", b"2.0", b"?"])
        asker.send_multipart([b"", b"1.0", b"7", b"tf", b"somewhere", b"", b"PLAIN", b"user", b"password"])
        asker.send_multipart([b"", b"1.0", b"8", b"tf", b"somewhere", b"", b"PLAIN", b"k" * 32])
        asker.send_multipart([b"", b"1.0", b"9", b"tf", b"somewhere", b"", b"CURVE", b"k" * 32])
        answers = []
        while len(answers) < 2:
            await asyncio.sleep(0.001)
            if asker.poll(0):
                answers.append(asker.recv_multipart())
        assert [(answer[2], answer[3]) for answer in answers] == [(b"8", b"400"), (b"9", b"200")]
        asker.close(linger=0)
        keeper.close()
        context.term()

    run(scenario)


def revoke(root: Path, role: str, name: str) -> None:
    """As the operator does it: by another process."""
    command = [sys.executable, "-m", "tflocation.cli", role, "revoke", "--dir", str(root), name]
    subprocess.run(command, check=True, capture_output=True)


def test_a_revoked_account_is_out_at_once_and_its_things_are_freed(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            alice, bob = await world.client("alice"), await world.client("bob")
            await world.container(alice)
            await asyncio.to_thread(revoke, root, "account", "alice")
            lost = await alice.hears(s.SessionLost)
            assert lost.ended
            assert "revoked" in lost.reason
            await until(lambda: node.containers == {})
            assert isinstance(await alice.error_of(s.OpenSession(version="1")), UnknownKey)
            again = world.party(world.pairs["alice"])
            await until(lambda: zmq.EVENT_HANDSHAKE_FAILED_AUTH in again.connection_events)
            await bob.call(s.RenewLease())

    run(scenario)


def test_a_revoked_accounts_connection_is_not_its_successors(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            old = await world.client("alice")
            world.location.accounts.revoke("account", "alice")
            new = keys.generate()
            world.location.accounts.add("account", "alice", new.public)
            assert isinstance(await old.error_of(s.OpenSession(version="1")), UnknownKey)
            successor = world.party(new)
            assert (await successor.hello(session=old.welcome.session)).session != old.welcome.session

    run(scenario)


def test_a_revoked_node_is_lost_with_everything_on_it(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            client = await world.client()
            container = await world.container(client)
            node_id = world.node_id()
            await asyncio.to_thread(revoke, root, "node", "rack1")
            await client.hears(c.ContainerEnded, that=lambda event: event.container == container)
            gone = await client.hears(s.NodeUpdated, that=lambda event: not event.node.alive)
            assert gone.node.id == node_id
            assert list(world.location.nodes) == []
            assert world.location.holdings.containers == {}

    run(scenario)


def test_a_revoked_node_cannot_join_by_its_old_connection(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            await asyncio.to_thread(revoke, root, "node", "rack1")
            await until(lambda: list(world.location.nodes) == [])
            node.offers()
            assert "revoked" in (await node.hears(n.NodeLost)).reason
            with pytest.raises(UnknownKey):
                await node.join()

    run(scenario)


# invitations


def invite(world: object, role: str = "account", name: str = "carol", **options: float) -> str:
    parts = world.location  # type: ignore[attr-defined]
    address = Address(location="test", endpoint=world.endpoint, server_key=parts.server_key)  # type: ignore[attr-defined]
    return str(parts.invitations.make(role, name, address, **options))


def test_an_invitation_makes_an_account_of_a_key_that_never_travelled(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            invitation = invitations.parse(invite(world), role="client")
            own = keys.generate()
            await enrol.accept(invitation, own.public)
            client = world.party(own)
            assert (await client.hello()).account == "carol"

    run(scenario)


def test_an_invitation_makes_a_node(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            invitation = invitations.parse(invite(world, "node", "rack9"), role="node")
            own = keys.generate()
            await enrol.accept(invitation, own.public)
            world.pairs["rack9"] = own
            await world.node("rack9")

    run(scenario)


def test_an_invitation_is_good_for_one_key(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            invitation = invitations.parse(invite(world), role="client")
            await enrol.accept(invitation, keys.generate().public)
            with pytest.raises(UnknownKey, match="used or withdrawn"):
                await enrol.accept(invitation, keys.generate().public)

    run(scenario)


def test_accepting_again_with_the_same_key_on_the_same_connection_is_harmless(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            guest = world.party(invitations.parse(invite(world), role="client").keys)
            own, other = keys.generate(), keys.generate()
            await guest.call(s.AcceptInvitation(key=own.public))
            await guest.call(s.AcceptInvitation(key=own.public))
            assert isinstance(await guest.error_of(s.AcceptInvitation(key=other.public)), UnknownKey)

    run(scenario)


def test_an_invitation_opens_nothing_else(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            guest = world.party(invitations.parse(invite(world), role="client").keys)
            assert isinstance(await guest.error_of(s.OpenSession(version="1")), UnknownKey)
            assert isinstance(await guest.error_of(s.AskStatus()), UnknownKey)

    run(scenario)


def test_an_invitation_for_a_key_that_is_known_is_refused_and_stays_good(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            alice = world.pair_of("account", "alice")
            invitation = invitations.parse(invite(world), role="client")
            with pytest.raises(WrongState, match="in use already"):
                await enrol.accept(invitation, alice.public)
            await enrol.accept(invitation, keys.generate().public)

    run(scenario)


def test_an_expired_invitation_is_void_on_both_sides(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            text = invite(world, lifetime=-1.0)
            with pytest.raises(BadRequest, match="expired"):
                invitations.parse(text, role="client")
            honest_clock = invitations._decoded(text)
            with pytest.raises(UnknownKey):
                await enrol.accept(honest_clock, keys.generate().public)
            assert world.location.doorkeeper.refused >= 1, "it did not even get in"

    run(scenario)


def test_a_newer_invitation_withdraws_the_older(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            old = invitations.parse(invite(world), role="client")
            new = invitations.parse(invite(world), role="client")
            with pytest.raises(UnknownKey):
                await enrol.accept(old, keys.generate().public)
            await enrol.accept(new, keys.generate().public)

    run(scenario)


def test_accepting_at_the_wrong_server_is_refused_by_the_guest(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            parts = world.location
            wrong = Address(location="test", endpoint=world.endpoint, server_key=keys.generate().public)
            text = parts.invitations.make("account", "carol", wrong)
            with pytest.raises(WrongServerKey):
                await enrol.accept(invitations.parse(text, role="client"), keys.generate().public)

    run(scenario)


def test_accepting_where_nobody_listens_says_what_was_seen(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            invitation = invitations.parse(invite(world), role="client")
            parts = world.location
            nowhere = Address(location="test", endpoint=f"ipc://{root}/nowhere.sock", server_key=parts.server_key)
            text = parts.invitations.make("account", "dora", nowhere)
            with pytest.raises(Unavailable, match="nobody listens there"):
                await enrol.accept(invitations.parse(text, role="client"), keys.generate().public, timeout=0.3)
            assert invitation.location == "test"

    run(scenario)


def test_accounts_and_invitations_are_named_sensibly(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            accounts = world.location.accounts
            for name in ("", "a b", "a\n", "a:b", "a#1", "é", "x" * 101):
                with pytest.raises(BadRequest):
                    accounts.add("account", name, keys.generate().public)
            accounts.add("account", "alice", keys.generate().public)
            with pytest.raises(WrongState, match="already"):
                invite(world, "account", "alice")
            assert invite(world, "node", "alice"), "an account and a node may share a name"

    run(scenario)
