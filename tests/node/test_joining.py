"""Joining: attempts that fail, and hellos that nobody has heard."""

from __future__ import annotations

import asyncio

import pytest

from tests.rpc.pair import Pair, run, settled, until
from tfcore.errors import Exhausted
from tfcore.ids import new_id
from tfcore.rpc.dispatcher import Call
from tfcore.wire.nodes import JoinLocation, NodeWelcomed
from tfcore.wire.sessions import PROTOCOL, NodeOffer
from tfnode import joining
from tfnode.joining import Joining

NODE = new_id("n")


class Door:
    """A location's, which may be shut."""

    def __init__(self) -> None:
        self.hellos = 0
        self.shut = False

    async def join(self, _call: Call, message: JoinLocation) -> NodeWelcomed:
        self.hellos += 1
        if self.shut:
            raise Exhausted("no more nodes")
        return NodeWelcomed(protocol=PROTOCOL, node=message.offer.id, network="10.0.0.0/8", lease=10)


def hello() -> JoinLocation:
    return JoinLocation(version="0", name="rack1", incarnation="life", offer=NodeOffer(id=NODE, name="rack1"))


def test_a_hello_that_was_lost_is_said_again_as_soon_as_that_is_known() -> None:
    async def scenario() -> None:
        door = Door()
        pair = Pair({JoinLocation: door.join})
        way = Joining(pair.asker, hello)
        pair.there.loses = lambda _: True
        entering = asyncio.ensure_future(way.join())
        await settled()
        assert way.under_way
        pair.there.loses = lambda _: False
        way.unheard()
        assert (await entering).node == NODE
        assert not way.under_way
        way.unheard()
        await settled()
        assert door.hellos == 1
        assert [header.kind for header in pair.there.passed] == ["request", "request"]
        await pair.close()

    run(scenario)


def test_what_is_refused_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "JOIN_PAUSE", 0.0)

    async def scenario() -> None:
        door = Door()
        door.shut = True
        pair = Pair({JoinLocation: door.join})
        way = Joining(pair.asker, hello)
        entering = asyncio.ensure_future(way.join())
        await until(lambda: door.hellos >= 3)
        assert way.under_way
        way.unheard()
        door.shut = False
        assert (await entering).node == NODE
        await pair.close()

    run(scenario)
