"""A host's address as a container would find it; and callers that wait inside until they are taken."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import dns.message
import dns.rrset
import pytest

from tfcore.errors import NotFound
from tfnode.tunnels import callers, naming
from tfnode.tunnels.callers import Callers

HOSTS = "127.0.0.1\tlocalhost\n::1 six\n10.1.2.3 one.example One # not this\n10.1.2.4 other\n"


async def open_udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


def found(host: str, *, hosts: str = HOSTS, resolv_conf: str = "") -> str:
    return asyncio.run(naming.address_of(host, hosts=hosts, resolv_conf=resolv_conf, open_udp=open_udp))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A name server that knows `there.test` by another name; the names it is asked for."""
    asked: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        monkeypatch.setattr(naming, "PORT", listening.getsockname()[1])

        def serve() -> None:
            while query := listening.recvfrom(4096):
                if not query[0]:
                    return
                message = dns.message.from_wire(query[0])
                asked.append(message.question[0].name.to_text(omit_final_dot=True))
                answer = dns.message.make_response(message)
                if asked[-1] == "there.test":
                    answer.answer.append(dns.rrset.from_text("there.test.", 60, "IN", "CNAME", "real.test."))
                    answer.answer.append(dns.rrset.from_text("real.test.", 60, "IN", "A", "10.9.8.7"))
                listening.sendto(answer.to_wire(), query[1])

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
            ending.sendto(b"", listening.getsockname())
        thread.join(30)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.1", "10.0.0.1"), ("localhost", "127.0.0.1"), ("LOCALHOST.", "127.0.0.1"), ("::1", "127.0.0.1"),
        ("one", "10.1.2.3"), ("ONE.example", "10.1.2.3"), ("other", "10.1.2.4"), ("six", "127.0.0.1"),
    ],
)  # fmt: skip
def test_what_needs_no_name_server(host: str, address: str) -> None:
    assert found(host) == address


@pytest.mark.parametrize("host", ["not", "nowhere", "", "a" * 200])
def test_what_nobody_knows(host: str) -> None:
    with pytest.raises(NotFound, match="no host"):
        found(host)


def test_the_container_s_name_servers_are_asked(server: list[str]) -> None:
    conf = "# comment\nsearch test\nnameserver 127.0.0.1\n"
    assert found("there.test", resolv_conf=conf) == "10.9.8.7"
    assert server == ["there.test"]
    with pytest.raises(NotFound):
        found("not-there.test", resolv_conf=conf)


def test_only_three_servers_and_only_addresses() -> None:
    conf = "nameserver fe80::1\nnameserver name\n" + "".join(f"nameserver 10.0.0.{n}\n" for n in range(1, 6))
    assert naming.name_servers(conf) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


def pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname(), 30)
        far, _ = listener.accept()
    return near, far


def was_reset(near: socket.socket) -> bool:
    with near:
        try:
            return near.recv(1) != b"" and False
        except ConnectionResetError:
            return True


def test_callers_are_taken_once_and_by_their_own_listener_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        waiting = Callers()
        waiting.open(("c-1", "r-1"))
        waiting.open(("c-2", "r-1"))
        near, far = pair()
        number = waiting.add(("c-1", "r-1"), far)
        assert number is not None
        for wrong in (("c-2", "r-1"), ("c-1", "r-2")):
            with pytest.raises(NotFound):
                waiting.take(wrong, number)
        assert waiting.take(("c-1", "r-1"), number) is far
        with pytest.raises(NotFound):
            waiting.take(("c-1", "r-1"), number)
        far.close()
        near.close()

    asyncio.run(play())


def test_callers_that_are_not_taken_are_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "MOST", 1)

    async def play() -> None:
        waiting = Callers()
        waiting.open(("c-1", "r-1"))
        first, far = pair()
        assert waiting.add(("c-1", "r-1"), far) is not None
        second, far = pair()
        assert waiting.add(("c-1", "r-1"), far) is None, "too many"
        waiting.close(("c-1", "r-1"))
        assert was_reset(second)
        assert was_reset(first)
        monkeypatch.setattr(callers, "PATIENCE", 0.0)
        waiting.open(("c-1", "r-2"))
        third, far = pair()
        waiting.add(("c-1", "r-2"), far)
        assert await asyncio.get_running_loop().run_in_executor(None, was_reset, third)
        waiting.close(("c-1", "r-2"))

    asyncio.run(play())
