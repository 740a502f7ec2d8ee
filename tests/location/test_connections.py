"""Who is cut, of connections that hold room: decided here without a daemon, on sockets that are ours."""

from __future__ import annotations

import fcntl
import itertools
import socket
import struct
import termios
from collections.abc import Iterator

import pytest

from tests.support.daemons import until
from tflocation import connections
from tflocation.connections import Connections

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[Iterator[Pair]]:
    """Connections as libzmq has them, and their other ends."""
    made: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:

        def make() -> Iterator[Pair]:
            while True:
                client = socket.create_connection(server.getsockname(), timeout=20)
                accepted, _ = server.accept()
                made.extend((client, accepted))
                yield accepted, client

        yield make()
    for one in made:
        one.close()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Connections:
    for name, value in (
        ("STRANGERS", 3),
        ("STRANGERS_ALL", 3),
        ("EACH", 3),
        ("UNFINISHED", 1000),
        ("UNFINISHED_ALL", 2500),
    ):
        monkeypatch.setattr(connections, name, value)
    return Connections(lambda: 0.0, most=6)


def is_cut(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def accepted(watched: Connections, pairs: Iterator[Pair], count: int, *, owner: str = "") -> list[Pair]:
    made = list(itertools.islice(pairs, count))
    for ours, _ in made:
        watched._accepted(ours.fileno())
        if owner:
            watched.heard(ours.fileno(), owner)
    watched.look()
    return made


def send(pair: Pair, size: int) -> None:
    """To our end, and until it is there."""
    ours, client = pair
    before = _waiting(ours)
    client.sendall(bytes(size))
    until(lambda: _waiting(ours) == before + size, "what was sent")


def _waiting(ours: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(ours, termios.FIONREAD, bytes(4)))[0])


def cut_of(made: list[Pair]) -> list[bool]:
    return [is_cut(client) for _, client in made]


def test_of_too_many_strangers_the_oldest_goes(watched: Connections, pairs: Iterator[Pair]) -> None:
    assert cut_of(accepted(watched, pairs, 5)) == [True, True, False, False, False]
    assert watched.counts() == {"open": 3, "strangers": 3, "cut": 2}


def test_of_one_keys_too_many_the_newest_goes(watched: Connections, pairs: Iterator[Pair]) -> None:
    assert cut_of(accepted(watched, pairs, 4, owner="account:x#1")) == [False, False, False, True]


def test_where_descriptors_run_short_whoever_has_most_loses_the_newest(
    watched: Connections, pairs: Iterator[Pair]
) -> None:
    greedy, modest = accepted(watched, pairs, 3, owner="account:x#1"), accepted(watched, pairs, 2, owner="account:y#2")
    late = accepted(watched, pairs, 2)
    assert (cut_of(greedy), cut_of(modest), cut_of(late)) == ([False, False, True], [False] * 2, [False] * 2)


def test_who_does_not_finish_a_message_is_cut(watched: Connections, pairs: Iterator[Pair]) -> None:
    """Who finishes one begins anew, however much it was."""
    one, other = made = accepted(watched, pairs, 2, owner="account:x#1")
    for _ in range(3):
        send(one, 900)
        send(other, 400)
        watched.heard(one[0].fileno(), "account:x#1")
        watched.look()
    assert cut_of(made) == [False, True]


def test_all_together_may_hold_no_more_than_so_much(watched: Connections, pairs: Iterator[Pair]) -> None:
    made = accepted(watched, pairs, 3, owner="account:x#1")
    for pair, size in zip(made, (900, 950, 800), strict=True):
        send(pair, size)
    watched.look()
    assert cut_of(made) == [False, True, False]


def test_other_descriptors_are_nobodys_connections(watched: Connections) -> None:
    """A unix socket's, a file's, one that is closed by now."""
    one, other = socket.socketpair()
    with one, other, open("/dev/null") as file:
        for descriptor in (one.fileno(), file.fileno(), 1 << 20):
            watched._accepted(descriptor)
        watched.look()
        assert watched.counts()["open"] == 0
        other.sendall(b"x")
        assert one.recv(1) == b"x"


def test_a_descriptor_that_is_anothers_by_now_is_left_alone(watched: Connections, pairs: Iterator[Pair]) -> None:
    ((ours, client),) = accepted(watched, pairs, 1)
    known = watched._open[ours.fileno()]
    known.peer = ("127.0.0.1", 1)
    watched._cut(known, "for a test")
    assert not is_cut(client)
