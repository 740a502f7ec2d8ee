"""Requests with a stream through a real location, whose parts are cut off or restarted: each goes on, and is done once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.location.world import SOON, Client, FakeNode, World, location, run, until
from tfcore.errors import Unavailable
from tfcore.rpc import streams
from tfcore.rpc.link import Ongoing
from tfcore.rpc.streams import INPUT, OUTPUT
from tfcore.wire import containers as c
from tfcore.wire.header import Header, encode_header
from tflocation import forwarding

PIECE = bytes(range(256)) * 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CROWDED", 0.01)


@dataclass(frozen=True)
class Scene:
    """A location with a node, and a client that has a container on it."""

    world: World
    node: FakeNode
    client: Client
    container: str


def play(root: Path, scenario: Callable[[Scene], Awaitable[None]]) -> None:
    """Run `scenario` on a scene of its own."""

    async def main() -> None:
        async with location(root) as world:
            node, client = await world.node(), await world.client()
            await scenario(Scene(world, node, client, await world.container(client)))

    run(main)


class Talk:
    """A process that echoes: what is said to it, and what it says."""

    def __init__(self, on: Scene) -> None:
        self.ongoing: Ongoing[c.ProcessEnded] = on.client.link.begin(
            c.RunProcess(command="cat"), target=on.container, timeout=2 * SOON
        )
        self.heard = bytearray()
        self._saying: list[asyncio.Task[None]] = []
        self._listening = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        async for chunk in self.ongoing.stream.chunks(OUTPUT):
            self.heard += chunk

    def say(self, data: bytes) -> None:
        """Without waiting until it is on its way."""
        before = self._saying[-1:]

        async def saying() -> None:
            await asyncio.gather(*before)
            await self.ongoing.stream.write(INPUT, data)

        self._saying.append(asyncio.ensure_future(saying()))

    async def hears(self, size: int) -> None:
        await until(lambda: len(self.heard) == size)

    async def end(self) -> int:
        """Nothing more is said; how it ended."""
        await asyncio.gather(*self._saying)
        self.ongoing.stream.finish(INPUT)
        code = (await self.ongoing.reply()).exit_code
        await self._listening
        return code


async def client_cut(on: Scene, talk: Talk) -> None:
    on.client.cut()
    talk.say(PIECE)
    on.client.reconnect()
    await on.client.take_up()


async def node_cut(on: Scene, talk: Talk) -> None:
    on.node.cut()
    talk.say(PIECE)
    on.node.reconnect()
    await on.node.rejoin()


async def both_cut(on: Scene, talk: Talk) -> None:
    on.node.cut()
    on.client.cut()
    talk.say(PIECE)
    on.client.reconnect()
    await on.client.take_up()
    on.node.reconnect()
    await on.node.rejoin()


async def restarted_client_first(on: Scene, talk: Talk) -> None:
    await on.world.stop()
    talk.say(PIECE)
    await on.world.start()
    await on.client.take_up()
    await until(lambda: len(on.world.location.forwarding) > 0)
    await on.node.rejoin()


async def restarted_node_first(on: Scene, talk: Talk) -> None:
    await on.world.stop()
    talk.say(PIECE)
    await on.world.start()
    await on.node.rejoin()
    await on.client.take_up()


async def restarted_twice(on: Scene, talk: Talk) -> None:
    await restarted_client_first(on, talk)
    await on.world.restart()
    await on.node.rejoin()
    await on.client.take_up()


CUTS = (client_cut, node_cut, both_cut, restarted_client_first, restarted_node_first, restarted_twice)
Cut = Callable[[Scene, Talk], Awaitable[None]]
each_cut = pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.__name__)


@each_cut
def test_a_cut_in_the_middle(root: Path, cut: Cut) -> None:
    async def scenario(on: Scene) -> None:
        talk = Talk(on)
        talk.say(PIECE)
        await talk.hears(len(PIECE))
        await cut(on, talk)
        await talk.hears(2 * len(PIECE))
        talk.say(PIECE)
        assert await talk.end() == 0
        assert talk.heard == 3 * PIECE
        assert [op for op, _ in on.node.asked].count("container.run-process") == 1
        assert len(on.world.location.forwarding) == 0

    play(root, scenario)


@each_cut
def test_a_cut_right_after_the_request_went_out(root: Path, cut: Cut) -> None:
    """Whether it arrived before, nobody knows."""

    async def scenario(on: Scene) -> None:
        talk = Talk(on)
        talk.say(PIECE)
        await cut(on, talk)
        assert await talk.end() == 0
        assert talk.heard == 2 * PIECE
        assert [op for op, _ in on.node.asked].count("container.run-process") == 1

    play(root, scenario)


@each_cut
def test_all_was_said_before_the_cut(root: Path, cut: Cut) -> None:
    """The answer may be on its way, or lost."""

    async def scenario(on: Scene) -> None:
        talk = Talk(on)
        talk.say(PIECE)
        ending = asyncio.ensure_future(talk.end())
        await until(lambda: any(op == "container.run-process" for op, _ in on.node.asked))
        nothing = Talk(on)
        await cut(on, nothing)
        assert await ending == 0
        assert talk.heard == PIECE
        assert await nothing.end() == 0
        assert nothing.heard == PIECE
        assert [op for op, _ in on.node.asked].count("container.run-process") == 2

    play(root, scenario)


def test_answered_while_the_client_was_away(root: Path) -> None:
    async def scenario(on: Scene) -> None:
        pouring = on.client.link.begin(c.FetchFile(path="/1000000"), target=on.container, timeout=SOON)
        on.client.cut()
        await until(lambda: not on.world.location.forwarding or not on.node.asked or not on.node.link._served)
        on.client.reconnect()
        await on.client.take_up()
        assert (await pouring.reply()).size == 1_000_000
        assert len(b"".join([bytes(chunk) async for chunk in pouring.stream.chunks(OUTPUT)])) == 1_000_000

    play(root, scenario)


def test_answered_while_the_location_was_away(root: Path) -> None:
    async def scenario(on: Scene) -> None:
        talk = Talk(on)
        talk.say(PIECE)
        await talk.hears(len(PIECE))
        call = on.node.asked[-1][1]
        await on.world.stop()
        call.stream.on_data(INPUT, len(PIECE), b"", True)  # as if the end had arrived at the last moment
        await until(lambda: not on.node.link._served)
        await on.world.start()
        await on.client.take_up()
        await on.node.rejoin()
        assert await talk.end() == 0
        assert talk.heard == PIECE
        assert len([op for op, _ in on.node.asked if op == "container.run-process"]) == 1

    play(root, scenario)


def test_a_large_request_is_not_asked_again_and_fails_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "KEPT", 100)

    async def scenario(on: Scene) -> None:
        large = c.RunProcess(command="cat" + 100 * " ")
        asked = on.client.link.begin(large, target=on.container, timeout=1000)
        await until(lambda: on.node.link._served)
        on.node.cut()
        on.node.reconnect()
        await on.node.rejoin()
        with pytest.raises(Unavailable, match=r"rack1 was cut during container\.run-process") as failed:
            await asked.reply()
        assert failed.value.retryable
        assert failed.value.hint
        await until(lambda: not on.node.link._served)
        on.node.cut()
        error = await on.client.error_of(large, target=on.container)
        assert isinstance(error, Unavailable)
        assert len(on.world.location.forwarding) == 0
        on.node.reconnect()

    play(root, scenario)


# giving up


def test_a_cancellation_that_was_lost_with_the_nodes_connection(root: Path) -> None:
    async def scenario(on: Scene) -> None:
        talk = Talk(on)
        await until(lambda: on.node.link._served)
        on.node.cut()
        talk.ongoing.abandon()
        await until(lambda: len(on.world.location.forwarding) == 0)
        on.node.reconnect()
        await on.node.rejoin()
        await until(lambda: not on.node.link._served)

    play(root, scenario)


@pytest.mark.parametrize("first", ["client", "node"])
def test_a_cancellation_during_a_restart(root: Path, first: str) -> None:
    async def scenario(on: Scene) -> None:
        talk = Talk(on)
        await until(lambda: on.node.link._served)
        await on.world.stop()
        talk.ongoing.abandon()
        await on.world.start()
        if first == "node":
            await on.node.rejoin()
        await on.client.take_up()
        if first == "client":
            await on.node.rejoin()
        await until(lambda: not on.node.link._served)

    play(root, scenario)


def test_parts_of_what_is_not_ones_own_go_nowhere(root: Path) -> None:
    async def scenario(on: Scene) -> None:
        stranger = await on.world.client("mallory")
        Talk(on)
        await until(lambda: on.node.link._served)
        call = on.node.asked[-1][1]
        for kind in ("data", "credit", "cancel"):
            part = Header(kind=kind, id=call.id, target=on.container, session=call.session)  # type: ignore[arg-type]
            stranger.send_raw(encode_header(part), b"")
        await until(lambda: on.world.location.broker.counters.dropped == 3)
        assert on.node.link._served

    play(root, scenario)
