"""What is being drained takes nothing new on and loses nothing; who drains is told what is left."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.location.world import location, run, until
from tfcore.errors import Unavailable
from tfcore.wire import containers as c
from tfcore.wire import sessions as s
from tfcore.wire import volumes as v
from tflocation.cli import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


def command(root: Path, capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    capsys.readouterr()
    ended = main([*arguments, "--dir", str(root)])
    captured = capsys.readouterr()
    assert ended == status, captured.err
    return captured.out + captured.err


def test_a_drained_node_keeps_what_it_has_and_gets_nothing_new(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            alice = await world.client("alice")
            there = await world.container(alice)
            said = await asyncio.to_thread(command, root, capsys, "drain", "rack1")
            assert "1 left" in said
            assert there in said
            await alice.hears(s.NodeUpdated, that=lambda news: news.node.draining)

            spawn = c.SpawnContainer(node=world.node_id(), wish=c.ContainerWish(image="web"))
            refused = await alice.error_of(spawn)
            assert isinstance(refused, Unavailable)
            assert "rack1 is being drained" in refused.message
            assert isinstance(await alice.error_of(v.CreateVolume(node=world.node_id())), Unavailable)
            await alice.call(c.WaitReady(), target=there)
            again = c.SpawnContainer(node=world.node_id(), wish=c.ContainerWish(image="web"), again=there)
            assert (await alice.call(again)).container == there, "what is there may be booted again"

            status = await asyncio.to_thread(command, root, capsys, "status")
            assert re.search(r"^rack1 +draining ", status, re.M)

            await asyncio.to_thread(command, root, capsys, "undrain", "rack1")
            await alice.hears(s.NodeUpdated, that=lambda news: not news.node.draining)
            await alice.call(spawn)

    run(scenario)


def test_who_waits_is_done_when_the_last_container_is_gone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            alice = await world.client("alice")
            there = await world.container(alice)
            late = await asyncio.to_thread(
                command, root, capsys, "drain", "rack1", "--wait", "--timeout", "0", status=1
            )
            assert there in late
            waiting = asyncio.ensure_future(asyncio.to_thread(command, root, capsys, "drain", "rack1", "--wait"))
            await alice.call(c.DestroyContainer(), target=there)
            assert "nothing is left of node rack1" in await waiting

    run(scenario)


def test_a_drained_location_opens_no_new_sessions(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            alice = await world.client("alice")
            said = await asyncio.to_thread(command, root, capsys, "drain")
            assert alice.welcome.session in said
            stranger = world.party(world.pair_of("account", "bob"))
            refused = await stranger.error_of(s.OpenSession(version="1"))
            assert isinstance(refused, Unavailable)
            assert "no new sessions" in refused.message
            alice.cut()
            alice.reconnect()
            assert (await alice.take_up()).resumed, "a session that is there goes on"
            await world.restart()
            await until(lambda: len(world.location.sessions) == 1)
            assert isinstance(await stranger.error_of(s.OpenSession(version="1")), Unavailable), (
                "a restart forgets nothing"
            )
            await asyncio.to_thread(command, root, capsys, "undrain")
            await stranger.hello()

    run(scenario)


def test_what_is_not_there_cannot_be_drained(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with location(root):
            unknown = await asyncio.to_thread(command, root, capsys, "drain", "rack9", status=1)
            assert "no node called rack9" in unknown
            assert "not being drained" in await asyncio.to_thread(command, root, capsys, "undrain", status=1)

    run(scenario)
