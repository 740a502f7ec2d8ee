"""Tunnels from the client to the container's port and back, over both ways there are: handed over, and carried."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sdk.conftest import Connect, MakeFake
from tests.sdk.fake_location import FakeLocation
from tests.sdk.fake_node import FakeNode
from tests.support.tcp import (
    LINGER_RESET,
    SECONDS,
    Flood,
    Server,
    ask,
    both_ways,
    client_of,
    digest,
    echo,
    hang_up,
    is_turned_away,
    needs_ipv6,
    read,
    read_all,
    refusing_port,
    talk_first,
    was_reset,
)
from tests.support.waiting import eventually
from tfcore.errors import WrongState
from tfnz.container import Container
from tfnz.location import Location

WAYS = ("handed over", "carried")


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tf-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def fake(make_fake: MakeFake) -> FakeLocation:
    return make_fake()


@pytest.fixture
def node(fake: FakeLocation, short: Path, way: str) -> Iterator[FakeNode]:
    made = FakeNode(fake, short, hands_over=way == "handed over")
    yield made
    made.close()


@pytest.fixture
def location(fake: FakeLocation, node: FakeNode, connect: Connect) -> Location:
    return connect(fake.account_of(local=True))


def test_the_way_is_as_expected(container: Container, way: str) -> None:
    assert container.attach_tunnel(80).handed_over == (way == "handed over")


def test_many_connections_one_after_another(container: Container) -> None:
    with Server(echo) as server:
        port = container.attach_tunnel(server.port).localport
        for number in range(500):
            with client_of(port) as client:
                assert ask(client, b"%d" % number) == b"%d" % number


def test_hundreds_of_connections_at_once(container: Container) -> None:
    with Server(echo) as server:
        port = container.attach_tunnel(server.port).localport
        clients = [client_of(port) for _ in range(200)]
        for number, client in enumerate(clients):
            assert ask(client, b"%d" % number) == b"%d" % number
        for client in clients:
            client.close()


@pytest.mark.parametrize("size", [0, 1, 128 * 1024 + 1, 20_000_001])
def test_bytes_arrive_as_they_were(container: Container, size: int) -> None:
    data = os.urandom(size)
    with Server(digest) as server, client_of(container.attach_tunnel(server.port).localport) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == hashlib.sha256(data).digest()


def test_both_directions_at_once(container: Container) -> None:
    data = os.urandom(10_000_000)
    with Server(both_ways(10_000_000)) as server, client_of(container.attach_tunnel(server.port).localport) as client:
        sending = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sending.start()
        found = read_all(client)
        sending.join()
    assert found == bytes(10_000_000) + hashlib.sha256(data).digest()


def test_a_server_that_talks_first_and_finishes(container: Container) -> None:
    with Server(talk_first) as server, client_of(container.attach_tunnel(server.port).localport) as client:
        assert read_all(client) == b"welcome"
        client.sendall(b"late")


def test_where_nobody_listens_the_client_is_reset(container: Container) -> None:
    with refusing_port() as port:
        assert is_turned_away(container.attach_tunnel(port).localport)


def test_a_server_that_resets_resets_its_client(container: Container) -> None:
    with Server(hang_up) as server, client_of(container.attach_tunnel(server.port).localport) as client:
        client.sendall(b"x")
        assert was_reset(client)


def test_a_client_that_resets_resets_its_server(container: Container) -> None:
    with Server(echo) as server:
        client = client_of(container.attach_tunnel(server.port).localport)
        ask(client, b"x")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        client.close()
        eventually(lambda: server.errors)


def test_a_client_that_goes_while_it_is_flooded(container: Container) -> None:
    with Server(Flood()) as server:
        with client_of(container.attach_tunnel(server.port).localport) as client:
            read(client, 1_000_000)
        eventually(lambda: server.errors)


def test_a_slow_reader_stops_only_its_own_writer(container: Container) -> None:
    flood = Flood()
    with Server(flood) as flooding, Server(echo) as server:
        slow = client_of(container.attach_tunnel(flooding.port).localport)
        with client_of(container.attach_tunnel(server.port).localport) as quick:
            slow.recv(1)
            stuck = -1
            while stuck != flood.sent:
                stuck = flood.sent
                time.sleep(0.1)
            for _ in range(50):
                ask(quick, b"x")
            assert flood.sent == stuck
        slow.close()
        eventually(lambda: flooding.errors)


# what stays and what goes


def test_at_a_rollback_connections_are_reset_and_the_port_stays(container: Container, node: FakeNode) -> None:
    with Server(echo) as server:
        tunnel = container.attach_tunnel(server.port)
        idle = [client_of(tunnel.localport) for _ in range(10)]
        for client in idle:
            ask(client, b"x")
        node.cut_connections()
        assert all(was_reset(client) for client in idle)
        with client_of(tunnel.localport) as client:
            assert ask(client, b"x") == b"x"
        for client in idle:
            client.close()


def test_a_container_that_has_ended_resets_its_clients(container: Container, node: FakeNode) -> None:
    with Server(echo) as server:
        tunnel = container.attach_tunnel(server.port)
        with client_of(tunnel.localport) as client:
            ask(client, b"x")
            node.end(container.uuid)
            assert was_reset(client)
        eventually(lambda: not tunnel.handed_over)
        assert is_turned_away(tunnel.localport)


def test_clients_of_a_dead_agent_are_reset_and_never_hang(
    container: Container, node: FakeNode, fake: FakeLocation
) -> None:
    with Server(echo) as server:
        tunnel = container.attach_tunnel(server.port)
        with client_of(tunnel.localport) as client:
            ask(client, b"x")
            node.die()
            if tunnel.handed_over:
                assert was_reset(client)
        eventually(lambda: not tunnel.handed_over)
        assert is_turned_away(tunnel.localport)


def test_a_rebuilt_container_is_reached_by_the_same_port(
    container: Container, node: FakeNode, fake: FakeLocation, short: Path, way: str
) -> None:
    with Server(echo) as server:
        tunnel = container.attach_tunnel(server.port)
        node.die()
        again = FakeNode(fake, short, hands_over=way == "handed over")
        fake.forget()
        container.rebuild()
        assert tunnel.handed_over == (way == "handed over")
        with client_of(tunnel.localport) as client:
            assert ask(client, b"x") == b"x"
        container.destroy()
        again.close()


def test_a_destroyed_tunnel_refuses_and_resets(container: Container) -> None:
    with Server(echo) as server:
        tunnel = container.attach_tunnel(server.port)
        with client_of(tunnel.localport) as client:
            ask(client, b"x")
            container.destroy_tunnel(tunnel)
            assert was_reset(client)
        with pytest.raises(ConnectionRefusedError):
            client_of(tunnel.localport)
        with pytest.raises(WrongState, match=r"is not .* a tunnel of"):
            container.destroy_tunnel(tunnel)
        assert container.all_tunnels() == []


def test_a_port_can_be_taken_again_at_once(container: Container) -> None:
    with Server(echo) as server:
        port = container.attach_tunnel(server.port).localport
        for _ in range(20):
            with client_of(port) as client:
                ask(client, b"x")
            container.destroy_tunnel(container.all_tunnels()[0])
            assert container.attach_tunnel(server.port, localport=port).localport == port


def test_disconnecting_closes_all_tunnels(container: Container, location: Location) -> None:
    with Server(echo) as server:
        tunnels = [container.attach_tunnel(server.port) for _ in range(3)]
        clients = [client_of(tunnel.localport) for tunnel in tunnels]
        for client in clients:
            ask(client, b"x")
        location.disconnect()
        for client, tunnel in zip(clients, tunnels, strict=True):
            assert was_reset(client)
            with pytest.raises(ConnectionRefusedError):
                client_of(tunnel.localport)
            client.close()


def test_destroying_the_container_closes_its_tunnels(container: Container) -> None:
    tunnel = container.attach_tunnel(80)
    container.destroy()
    with pytest.raises(ConnectionRefusedError):
        client_of(tunnel.localport)
    with pytest.raises(WrongState, match="is destroyed"):
        container.attach_tunnel(80)


@pytest.mark.parametrize(
    "way", ["carried"], indirect=True
)  # the fake agent is of our own process and would be forked, too
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_port(container: Container) -> None:
    """A server that a test forked lives on; its parent's tunnels must not."""
    with Server(echo) as server:
        tunnel = container.attach_tunnel(server.port)
        goes_on, ends = os.pipe()
        forked, says_so = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ends)
            os.write(says_so, b"x")
            os.read(goes_on, 1)
            os._exit(0)
        os.read(forked, 1)
        with client_of(tunnel.localport) as client:
            ask(client, b"x")
            container.destroy_tunnel(tunnel)
        with pytest.raises(ConnectionRefusedError):
            client_of(tunnel.localport)
        for end in (goes_on, ends, forked, says_so):
            os.close(end)
        os.waitpid(child, 0)


# arguments


@pytest.mark.parametrize("way", ["carried"], indirect=True)
class TestArguments:
    def test_the_local_port_is_what_drivers_accept(self, container: Container) -> None:
        """`socket.getaddrinfo` and some drivers refuse subclasses of int."""
        tunnel = container.attach_tunnel(80)
        assert type(tunnel.localport) is int
        assert tunnel.url == f"http://127.0.0.1:{tunnel.localport}"

    def test_a_wanted_port_is_used(self, container: Container) -> None:
        with refusing_port() as free:
            pass
        assert container.attach_tunnel(80, localport=free).localport == free

    def test_a_taken_port_is_refused(self, container: Container) -> None:
        taken = container.attach_tunnel(80).localport
        with pytest.raises(WrongState, match=f"cannot listen on 127.0.0.1:{taken}"):
            container.attach_tunnel(80, localport=taken)

    def test_the_same_port_on_two_addresses(self, container: Container) -> None:
        one = container.attach_tunnel(80)
        two = container.attach_tunnel(80, localport=one.localport, bind="127.0.0.2")
        container.destroy_tunnel(one)
        assert container.all_tunnels() == [two]

    def test_any_address_has_a_url_to_connect_to(self, container: Container) -> None:
        assert container.attach_tunnel(80, bind="0.0.0.0").url.startswith("http://127.0.0.1:")

    @needs_ipv6
    def test_ipv6_is_written_in_brackets(self, container: Container) -> None:
        assert container.attach_tunnel(80, bind="::1").url.startswith("http://[::1]:")

    @pytest.mark.parametrize("port", [0, -1, 65536, "80", 80.0, True, None])
    def test_what_is_no_port_is_refused(self, container: Container, port: object) -> None:
        with pytest.raises(ValueError, match="is not a port"):
            container.attach_tunnel(port)  # type: ignore[arg-type]
        assert container.all_tunnels() == []

    def test_what_is_no_address_is_refused(self, container: Container) -> None:
        with pytest.raises(ValueError, match=r"cannot listen on 203\.0\.113\.1:0"):
            container.attach_tunnel(80, bind="203.0.113.1")

    def test_one_tunnel_onto_a_port(self, container: Container) -> None:
        assert container.tunnel(80) is container.tunnel(80)
        assert container.tunnel(80) is not container.tunnel(81)

    def test_threads_share_it(self, container: Container) -> None:
        found = []
        threads = [threading.Thread(target=lambda: found.append(container.tunnel(80))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert len(set(map(id, found))) == 1

    def test_a_session_knows_all_its_tunnels(self, container: Container, location: Location) -> None:
        assert location.tunnels == []
        tunnel = container.attach_tunnel(80)
        assert location.tunnels == [tunnel]
