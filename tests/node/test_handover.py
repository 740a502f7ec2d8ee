"""How a client's listening socket is handed in: for a ticket, once, and nothing else than such a socket."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.tcp import (
    Server,
    ask,
    client_of,
    echo,
    was_reset,
)
from tests.support.waiting import eventually
from tfnode.tunnels import handover
from tfnode.tunnels.handover import HandOver, Ticket
from tfnode.tunnels.relay import Relay
from tfnz.portal import Portal


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal("test")
    yield portal
    portal.close()


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tf-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def desk(portal: Portal, relay: Relay, short: Path) -> Iterator[HandOver]:
    """Where sockets are handed in."""
    made = HandOver(short / "s", relay)

    async def open_it() -> None:
        made.open()

    portal.call(open_it())
    yield made
    portal.call(made.close())


def ticket(portal: Portal, desk: HandOver, port: int, owner: str = "me") -> str:
    async def issue() -> str:
        return desk.issue(Ticket(owner=owner, address="127.0.0.1", port=port))

    return portal.call(issue())


def hand_in(desk: HandOver, word: str, *fds: int) -> socket.socket:
    agent = socket.socket(socket.AF_UNIX)
    agent.settimeout(20)
    agent.connect(os.fspath(desk.path))
    socket.send_fds(agent, [word.encode() + b"\n"], list(fds))
    return agent


def accepted(agent: socket.socket) -> bool:
    """What the desk says; a refusal is the end of the connection."""
    try:
        return agent.recv(3) == b"ok\n"
    except ConnectionResetError:
        return False


def test_a_socket_is_served_for_a_ticket(portal: Portal, desk: HandOver) -> None:
    with (
        Server(echo) as server,
        socket.create_server(("127.0.0.1", 0)) as listener,
        hand_in(desk, ticket(portal, desk, server.port), listener.fileno()) as agent,
    ):
        assert accepted(agent)
        with client_of(listener.getsockname()[1]) as client:
            assert ask(client, b"hello") == b"hello"


def test_a_ticket_is_good_once(portal: Portal, desk: HandOver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        word = ticket(portal, desk, 1)
        with hand_in(desk, word, listener.fileno()) as first, hand_in(desk, word, listener.fileno()) as second:
            assert accepted(first) != accepted(second)


def test_a_ticket_expires(portal: Portal, desk: HandOver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "PATIENCE", 0.02)
    word = ticket(portal, desk, 1)
    eventually(lambda: word not in desk._tickets)
    with socket.create_server(("127.0.0.1", 0)) as listener, hand_in(desk, word, listener.fileno()) as agent:
        assert not accepted(agent)


def test_who_says_nothing_is_sent_away(desk: HandOver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "PATIENCE", 0.02)
    with socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(20)
        agent.connect(os.fspath(desk.path))
        assert agent.recv(1) == b""


def connected(_short: Path) -> socket.socket:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return socket.create_connection(listener.getsockname())


def unconnected(_short: Path) -> socket.socket:
    return socket.socket()


def datagrams(_short: Path) -> socket.socket:
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def unix_listener(short: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(os.fspath(short / "mine"))
    sock.listen()
    return sock


@pytest.mark.parametrize("make", [connected, unconnected, datagrams, unix_listener])
def test_other_sockets_are_refused(
    portal: Portal, desk: HandOver, short: Path, make: Callable[[Path], socket.socket]
) -> None:
    with make(short) as sock, hand_in(desk, ticket(portal, desk, 1), sock.fileno()) as agent:
        assert not accepted(agent)


def test_files_are_refused(portal: Portal, desk: HandOver, short: Path) -> None:
    with (short / "file").open("w") as file, hand_in(desk, ticket(portal, desk, 1), file.fileno()) as agent:
        assert not accepted(agent)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_other_than_one_descriptor_is_refused(portal: Portal, desk: HandOver, count: int) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        hand_in(desk, ticket(portal, desk, 1), *[listener.fileno()] * count) as agent,
    ):
        assert not accepted(agent)


def test_a_client_that_ends_ends_its_tunnel(portal: Portal, desk: HandOver) -> None:
    with Server(echo) as server:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        agent = hand_in(desk, ticket(portal, desk, server.port), listener.fileno())
        assert accepted(agent)
        listener.close()
        with client_of(port) as client:
            ask(client, b"x")
            agent.close()
            assert was_reset(client)
        with pytest.raises(ConnectionRefusedError):
            client_of(port)


def test_the_node_lets_go_of_an_owners_tunnels(portal: Portal, desk: HandOver) -> None:
    async def drop(owner: str) -> None:
        desk.drop(owner)

    with (
        Server(echo) as server,
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        mine = hand_in(desk, ticket(portal, desk, server.port, "mine"), one.fileno())
        other = hand_in(desk, ticket(portal, desk, server.port, "other"), two.fileno())
        with mine, other:
            assert accepted(mine)
            assert accepted(other)
            portal.call(drop("mine"))
            assert mine.recv(1) == b""
            with client_of(two.getsockname()[1]) as client:
                assert ask(client, b"x") == b"x"


def test_what_is_handed_in_does_not_reach_other_programs(portal: Portal, desk: HandOver, relay: Relay) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        hand_in(desk, ticket(portal, desk, 1), listener.fileno()) as agent,
    ):
        assert accepted(agent)
        assert relay._listeners
        assert not any(os.get_inheritable(fd) for fd in relay._listeners)
