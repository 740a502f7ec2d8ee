"""Visits at the location: who may look into what, over real sockets, with a node that believes everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.location.world import Client, World, location, run
from tests.wire.vocabulary import sample
from tfcore.errors import NotFound
from tfcore.ids import new_id
from tfcore.rpc.streams import INPUT
from tfcore.wire import containers as c
from tfcore.wire import links
from tfcore.wire import nodes as n
from tfcore.wire.message import op_of
from tfcore.wire.visits import ListContainers

FORWARDED = set(map(op_of, links.CLIENT_TO_NODE))
OWNERS_ONLY = tuple(cls for cls in links.CLIENT_TO_NODE if cls not in links.VISITS)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


async def listed(client: Client) -> list[tuple[str, str, bool]]:
    found = (await client.call(ListContainers())).containers
    return [(one.id, one.program, one.lost) for one in found]


def test_an_account_sees_what_it_has_in_all_its_sessions(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            one, other, bob = await world.client(), await world.client(), await world.client("bob")
            first, second = await world.container(one), await world.container(other)
            await world.container(bob)
            assert await listed(one) == [(first, "a test", False), (second, "a test", False)]
            world.location.holdings.ended.add(first)
            assert await listed(other) == [(first, "a test", True), (second, "a test", False)]
            await one.call(c.DestroyContainer(), target=first)
            assert await listed(other) == [(second, "a test", False)]

    run(scenario)


def test_a_visitor_may_look_into_the_containers_of_its_accounts_other_sessions(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            suite, visitor = await world.client(), await world.client(visiting=True)
            container = await world.container(suite)
            assert (await visitor.call(c.AskContainer(), target=container)).state == "ready"
            assert await echoed(visitor, container, b"hello") == b"hello"
            (op, call) = node.asked[-1]
            assert op == op_of(c.RunProcess)
            assert (call.session, call.account) == (visitor.welcome.session, "alice")

    run(scenario)


async def echoed(client: Client, container: str, data: bytes) -> bytes:
    running = client.link.begin(c.RunProcess(command="cat"), target=container, timeout=20)
    await running.stream.write(INPUT, data)
    running.stream.finish(INPUT)
    found = b"".join([bytes(chunk) async for chunk in running.stream.chunks(1)])
    await running.reply()
    return found


@pytest.mark.parametrize("request_type", OWNERS_ONLY, ids=op_of)
def test_what_becomes_of_it_is_for_its_own_session_to_say(root: Path, request_type: type) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            suite, visitor = await world.client(), await world.client(visiting=True)
            container = await world.container(suite)
            await _reads_like_nothing(visitor, request_type, container)
            assert [op for op, _ in node.asked if op in FORWARDED] == []

    run(scenario)


@pytest.mark.parametrize("request_type", [c.DestroyContainer, c.AllowConnection, c.DisallowConnection], ids=op_of)
def test_nor_does_a_visitor_destroy_it_or_connect_it(root: Path, request_type: type) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            suite, visitor = await world.client(), await world.client(visiting=True)
            container = await world.container(suite)
            await _reads_like_nothing(visitor, request_type, container)
            assert (node.ordered(n.EndContainer), node.ordered(n.ConnectContainers)) == ([], [])

    run(scenario)


@pytest.mark.parametrize("request_type", links.VISITS, ids=op_of)
def test_another_accounts_visitor_finds_nothing(root: Path, request_type: type) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            alice, bob = await world.client(), await world.client("bob", visiting=True)
            container = await world.container(alice)
            await _reads_like_nothing(bob, request_type, container)
            assert await listed(bob) == []
            assert [op for op, _ in node.asked if op in FORWARDED] == []

    run(scenario)


async def _reads_like_nothing(client: Client, request_type: type, container: str) -> None:
    """The answer is the one for an id that never was."""
    nobodys = new_id("c")
    hidden, missing = [await client.error_of(_about(request_type, one), target=one) for one in (container, nobodys)]
    assert isinstance(hidden, NotFound)
    assert str(hidden).replace(container, "it") == str(missing).replace(nobodys, "it")


def _about(request_type: Any, target: str) -> Any:
    request = sample(request_type)
    if "containers" in request.__struct_fields__:
        return request_type(containers=(target,))
    return request_type(source=target) if "source" in request.__struct_fields__ else request


def test_a_visit_goes_on_after_a_restart_of_the_location(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            suite, visitor = await world.client(), await world.client(visiting=True)
            container = await world.container(suite)
            await _restarted(world, node)
            await visitor.hello(session=visitor.welcome.session, visiting=True)
            assert (await visitor.call(c.AskContainer(), target=container)).state == "ready"
            await visitor.hello(session=visitor.welcome.session)
            assert isinstance(await visitor.error_of(c.AskContainer(), target=container), NotFound)

    run(scenario)


async def _restarted(world: World, node: Any) -> None:
    await world.restart()
    node.offers()
    await node.hears(n.NodeLost)
    await node.rejoin()
