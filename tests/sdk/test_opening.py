"""Opening a session, and every way in which it is refused: each with its own error and a way out, soon."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sdk.conftest import Connect, MakeFake
from tests.sdk.fake_location import FakeLocation
from tests.support.tcp import needs_ipv6
from tfcore.errors import Unavailable, UnknownKey, VersionMismatch, WrongServerKey
from tfcore.keys import generate
from tfcore.wire.sessions import NodeOffer, VolumeOffer
from tfnz import accounts, connection
from tfnz.location import Location

NODE = NodeOffer(id="n-" + "1" * 22, name="one", cpu=0.5, memory=1 << 30, memory_total=2 << 30)
VOLUME = VolumeOffer(id="v-" + "1" * 22, node=NODE.id, tag="data", persistent=True)


def test_a_session_is_opened_and_closed_in_order(fake: FakeLocation, connect: Connect) -> None:
    location = connect(fake)
    assert location.account == "tester"
    assert list(fake.sessions) == [location.session]
    location.disconnect()
    assert fake.closed == [location.session]
    assert not fake.sessions


def test_leaving_the_block_disconnects(fake: FakeLocation, connect: Connect) -> None:
    with connect(fake) as location:
        assert fake.sessions
    assert fake.closed == [location.session]


def test_disconnecting_twice_is_once(fake: FakeLocation, connect: Connect) -> None:
    location = connect(fake)
    location.disconnect()
    location.disconnect()
    assert fake.closed == [location.session]


def test_what_is_offered_is_there_at_once(fake: FakeLocation, connect: Connect) -> None:
    fake.nodes, fake.volumes = (NODE,), (VOLUME,)
    location = connect(fake)
    assert location.node().name == "one"
    assert location.nodes[NODE.id].stats.cpu == 0.5
    assert location.volume("data").uuid == VOLUME.id
    assert location.volume("data").node is location.node()


def test_several_sessions_with_one_location(fake: FakeLocation, connect: Connect) -> None:
    assert connect(fake).session != connect(fake).session
    assert len(fake.sessions) == 2


def test_an_unknown_key(fake: FakeLocation, connect: Connect) -> None:
    with pytest.raises(UnknownKey, match="does not know this account's key") as refused:
        connect(fake.account_of(keys=generate()))
    assert "tf account accept" in refused.value.hint


def test_another_server_key_than_the_pinned_one(fake: FakeLocation, connect: Connect) -> None:
    with pytest.raises(WrongServerKey, match="does not hold the key pinned for fake"):
        connect(fake.account_of(server_key=generate().public))


def test_another_version(make_fake: MakeFake, connect: Connect) -> None:
    with pytest.raises(VersionMismatch, match="version 99"):
        connect(make_fake(protocol=99))


def test_a_refusal_is_a_value_error(fake: FakeLocation, connect: Connect) -> None:
    """Seed 001 promises those."""
    with pytest.raises(ValueError, match="key"):
        connect(fake.account_of(keys=generate()))


def test_nobody_listens(fake: FakeLocation, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "OPEN_TIMEOUT", 0.3)
    fake.stop()
    with pytest.raises(Unavailable, match="last seen: nobody listens there") as gone:
        connect(fake)
    assert gone.value.retryable


def test_a_location_that_comes_up_meanwhile_is_waited_for(fake: FakeLocation, connect: Connect) -> None:
    fake.stop()
    threading.Timer(0.2, fake.start).start()
    assert connect(fake).session in fake.sessions


def test_a_location_that_restarts_before_it_has_answered(fake: FakeLocation, connect: Connect) -> None:
    heard = threading.Event()
    answer = fake._receive

    def hear_nothing(frames: object) -> None:
        heard.set()

    def restart() -> None:
        heard.wait(10)
        fake.stop()
        fake._receive = answer
        fake.start()

    fake.stop()
    fake._receive = hear_nothing
    fake.start()
    restarting = threading.Thread(target=restart)
    restarting.start()
    location = connect(fake)
    restarting.join()
    assert list(fake.sessions) == [location.session]


def test_a_name_without_an_address(fake: FakeLocation, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unavailable, match="Name or service not known"):
        connect(fake.account_of(endpoint="tcp://nowhere.example:5555"))


@contextlib.contextmanager
def listening(says: bytes, *, hangs_up: bool) -> Iterator[str]:
    """Something that is no location."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        clients: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                client.sendall(says)
                clients.append(client)
                if hangs_up:
                    client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for client in clients:
                client.close()


@pytest.mark.parametrize(
    ("says", "hangs_up"),
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", False, id="sshd"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", True, id="a web server"),
    ],
)
def test_something_else_listens(says: bytes, hangs_up: bool, fake: FakeLocation, connect: Connect) -> None:
    with listening(says, hangs_up=hangs_up) as endpoint, pytest.raises(Unavailable, match="is not a location"):
        connect(fake.account_of(endpoint=endpoint))


def test_something_listens_and_hangs_up(fake: FakeLocation, connect: Connect) -> None:
    """Nothing tells it from a location of another key."""
    with listening(b"", hangs_up=True) as endpoint, pytest.raises(WrongServerKey):
        connect(fake.account_of(endpoint=endpoint))


def test_something_listens_and_is_silent(fake: FakeLocation, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "OPEN_TIMEOUT", 5.0)
    with listening(b"", hangs_up=False) as endpoint, pytest.raises(Unavailable, match="connected, but no handshake"):
        connect(fake.account_of(endpoint=endpoint))


def test_a_private_location_that_has_gone_is_looked_for_again(
    fake: FakeLocation, make_fake: MakeFake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = fake.account_of(endpoint=f"ipc://{tmp_path}/gone", local=True)
    found = [gone, fake.account_of(local=True)]
    monkeypatch.setattr(accounts, "resolve", lambda _name, *, address=None: found.pop(0))
    with Location() as location:
        assert location.session in fake.sessions
    assert not found


def test_a_private_location_that_is_never_there(fake: FakeLocation, connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="has gone"):
        connect(fake.account_of(endpoint=f"ipc://{tmp_path}/gone", local=True))


@needs_ipv6
def test_a_location_on_ipv6(make_fake: MakeFake, connect: Connect) -> None:
    fake = make_fake(endpoint="tcp://[::1]:*")
    assert fake.endpoint.startswith("tcp://[::1]:")
    assert connect(fake).session in fake.sessions
