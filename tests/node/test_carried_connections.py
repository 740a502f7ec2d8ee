"""Connections carried through a stream, of clients on other machines."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Callable

import pytest

from tests.support.tcp import (
    Flood,
    Server,
    digest,
    echo,
    hang_up,
    refusing_port,
)
from tests.support.waiting import eventually
from tfcore.errors import TfError, Unavailable
from tfcore.rpc.streams import INPUT, OUTPUT, Stream
from tfnode.tunnels import carried
from tfnode.tunnels.carried import Carried


class Ends:
    """Two ends of a stream in one loop, as the link would join them."""

    def __init__(self) -> None:
        self.node = Stream(lambda *part: self.client.on_data(*part), lambda *part: self.client.on_credit(*part))
        self.client = Stream(lambda *part: self.node.on_data(*part), lambda *part: self.node.on_credit(*part))


async def drained(stream: Stream) -> bytes:
    return b"".join([bytes(chunk) async for chunk in stream.chunks(OUTPUT)])


def carry(port: int, work: Callable[[Ends, Carried], object]) -> TfError | None:
    """Carry one connection to `port` while `work(ends, carried)` plays the client; what the client is told."""

    async def main() -> TfError | None:
        ends, all_carried = Ends(), Carried()
        carrying = asyncio.ensure_future(all_carried.carry(ends.node, owner="me", address="127.0.0.1", port=port))
        playing = asyncio.ensure_future(work(ends, all_carried))  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(20):
                await carrying
        except Unavailable as told:
            ends.client.abort(told)
            return told
        else:
            return None
        finally:
            assert not all_carried._open
            await asyncio.gather(playing, return_exceptions=True)

    return asyncio.run(main())


def test_a_carried_connection_keeps_half_closes() -> None:
    async def play(ends: Ends, _carried: Carried) -> None:
        await ends.client.write(INPUT, b"x" * 10_000_000)
        ends.client.finish(INPUT)
        assert await drained(ends.client) == hashlib.sha256(b"x" * 10_000_000).digest()

    with Server(digest) as server:
        assert carry(server.port, play) is None


def test_a_carried_connection_to_nobody() -> None:
    async def play(ends: Ends, _carried: Carried) -> None:
        await drained(ends.client)

    with refusing_port() as port:
        told = carry(port, play)
    assert told is not None
    assert "Connection refused" in str(told) or "Connect call failed" in str(told)


def test_a_carried_connection_that_is_reset_by_its_server() -> None:
    async def play(ends: Ends, _carried: Carried) -> None:
        await ends.client.write(INPUT, b"x")

    with Server(hang_up) as server:
        assert "reset" in str(carry(server.port, play)).lower()


def test_a_carried_connection_that_is_reset_by_the_node() -> None:
    async def play(ends: Ends, all_carried: Carried) -> None:
        await ends.client.write(INPUT, b"x")
        assert bytes(await ends.client.read(OUTPUT)) == b"x"
        assert all_carried.reset("somebody else") == 0
        assert all_carried.reset("me") == 1

    with Server(echo) as server:
        assert "was reset" in str(carry(server.port, play))
        eventually(lambda: server.errors)


def test_a_carried_connection_whose_client_is_gone_resets_its_server() -> None:
    async def play(ends: Ends, _carried: Carried) -> None:
        await ends.client.write(INPUT, b"x")
        await ends.client.read(OUTPUT)
        ends.node.abort(Unavailable("the client has gone"))

    with Server(echo) as server:
        assert "has gone" in str(carry(server.port, play))
        eventually(lambda: server.errors)


def test_a_carried_connection_that_is_never_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(_ends: Ends, _carried: Carried) -> None:
        return

    monkeypatch.setattr(carried, "CONNECT_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:  # the kernel accepts one or two without being asked
            client.setblocking(False)
            client.connect_ex(deaf.getsockname())
        told = carry(deaf.getsockname()[1], play)
        for client in waiting:
            client.close()
    assert "was not accepted within 0.1 s" in str(told)


def test_a_carried_slow_reader_stops_its_writer() -> None:
    flood = Flood()

    async def play(ends: Ends, _carried: Carried) -> None:
        await ends.client.read(OUTPUT)
        before = -1
        while flood.sent != before:
            before = flood.sent
            await asyncio.sleep(0.1)
        assert ends.client._inlets[OUTPUT].received <= 4 * 1024 * 1024 + (256 * 1024)
        ends.node.abort(Unavailable("enough"))

    with Server(flood) as server:
        assert "enough" in str(carry(server.port, play))
