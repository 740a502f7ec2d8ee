"""A new key for who is there already: all they have stays theirs, and the old key opens nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.location.world import FakeNode, World, location, run, until
from tfcore import invitations, keys
from tfcore.errors import UnknownKey
from tfcore.keys import KeyPair, text_of
from tfcore.rpc import enrol
from tfcore.wire import sessions as s
from tfcore.wire import volumes as v
from tflocation.cli import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


def command(root: Path, capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    capsys.readouterr()
    assert main([*arguments, "--dir", str(root)]) == status
    captured = capsys.readouterr()
    return captured.out if status == 0 else captured.err


async def with_a_volume(world: World) -> tuple[KeyPair, str]:
    """Alice's old key, and her persistent volume."""
    await world.node()
    alice = await world.client("alice")
    return world.pairs["alice"], await world.volume(alice, tag="data", persistent=True)


async def accept(world: World, text: str, pair: KeyPair) -> None:
    invited = invitations.parse(text.rsplit(maxsplit=1)[-1], role="client")
    assert invited.server_key == world.server_key
    await enrol.accept(invited, pair.public)


def test_an_accepted_invitation_takes_the_old_keys_place(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            old, volume = await with_a_volume(world)
            client = await world.client("alice")
            text = await asyncio.to_thread(command, root, capsys, "account", "rotate", "alice")
            await client.call(s.RenewLease())  # the old key is good until the new one is there
            new = keys.generate()
            await accept(world, text, new)
            assert (await client.hears(s.SessionLost)).ended, "sessions under the old key end at once"
            successor = world.party(new)
            welcome = await successor.hello()
            assert welcome.account == "alice"
            assert [offer.id for offer in welcome.volumes] == [volume]
            assert isinstance(await client.error_of(s.OpenSession(version="1")), UnknownKey)
            assert world.location.accounts.by_key(old.public) is None

    run(scenario)


def test_a_stolen_key_is_void_before_anybody_has_the_new_one(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            _, volume = await with_a_volume(world)
            thief = await world.client("alice")
            text = await asyncio.to_thread(command, root, capsys, "account", "rotate", "alice", "--now")
            assert (await thief.hears(s.SessionLost)).ended
            new = keys.generate()
            await accept(world, text, new)
            assert [offer.id for offer in (await world.party(new).hello()).volumes] == [volume]

    run(scenario)


def test_a_key_handed_over_replaces_at_once_and_voids_older_invitations(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await with_a_volume(world)
            invitation = await asyncio.to_thread(command, root, capsys, "account", "rotate", "alice")
            new, other = keys.generate(), keys.generate()
            said = await asyncio.to_thread(
                command, root, capsys, "account", "rotate", "alice", "--key", text_of(new.public)
            )
            assert "has a new key" in said
            await world.party(new).hello()
            with pytest.raises(UnknownKey, match="is none any more"):
                await accept(world, invitation, other)

    run(scenario)


def test_a_node_keeps_its_id_and_what_is_on_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            _, volume = await with_a_volume(world)
            known = next(iter(world.location.nodes))
            before, old = known.id, known.principal
            world.pairs["rack1"] = keys.generate()
            key = text_of(world.pairs["rack1"].public)
            await asyncio.to_thread(command, root, capsys, "node", "rotate", "rack1", "--key", key)
            await until(lambda: known.principal != old)
            machine = FakeNode(world.endpoint, world.server_key, world.pairs["rack1"], "rack1")
            world.parties.append(machine)
            machine.volumes = {volume: v.MakeVolume(volume=volume, session=volume, account="alice", persistent=True)}
            await machine.join()
            assert world.node_id() == before
            assert list(world.location.holdings.volumes) == [volume]

    run(scenario)


def test_the_operators_own_key(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with location(root):
            before = (root / "operator").read_text()
            await asyncio.to_thread(command, root, capsys, "account", "rotate", "operator")
            assert (root / "operator").read_text() != before
            assert "location test" in await asyncio.to_thread(command, root, capsys, "status")

    run(scenario)


def test_lists_for_programs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", "--dir", str(root), "--name", "lab"])
    pair = keys.generate()
    command(root, capsys, "account", "add", "alice", "--key", text_of(pair.public))
    command(root, capsys, "account", "add", "bob")
    command(root, capsys, "account", "rotate", "alice", "--key", text_of(keys.generate().public))
    listed = json.loads(command(root, capsys, "account", "list", "--json"))
    assert [(entry["name"], entry["state"]) for entry in listed] == [
        ("operator", "operator"), ("alice", "revoked"), ("alice", "active"), ("bob", "invited"),
    ]  # fmt: skip
    assert listed[1]["key"] == text_of(pair.public)
    assert listed[1]["revoked"].endswith("Z")
    assert "no account called carol" in command(root, capsys, "account", "rotate", "carol", status=1)
