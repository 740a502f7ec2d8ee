"""The relay of handed-over sockets: what passes, how it ends, and that it is fair."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import socket
import threading

import pytest

from tests.node.relaying import Counting, Tunnel, settled
from tests.support.tcp import (
    LINGER_RESET,
    Flood,
    Server,
    ask,
    both_ways,
    descriptors,
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
from tfnode.tunnels import splicing
from tfnode.tunnels.relay import Relay

# traffic


def test_thousands_of_connections_one_after_another(relay: Relay) -> None:
    with Server(echo) as server:
        tunnel = Tunnel(relay, server.port)
        before = descriptors()
        for number in range(2000):
            with tunnel.client() as client:
                assert ask(client, b"%d" % number) == b"%d" % number
        eventually(lambda: descriptors() <= before + 4)


def test_hundreds_of_connections_at_once(relay: Counting) -> None:
    with Server(echo) as server:
        tunnel = Tunnel(relay, server.port)
        clients = [tunnel.client() for _ in range(300)]
        for number, client in enumerate(clients):
            assert ask(client, b"%d" % number) == b"%d" % number
        assert len(relay._pairs) == 600
        for client in clients:
            client.close()
        eventually(lambda: not relay._pairs)
        assert not relay._watched


def test_connections_that_say_nothing_cost_no_pipes(relay: Counting) -> None:
    with Server(echo) as server:
        tunnel = Tunnel(relay, server.port)
        before = descriptors()
        clients = [tunnel.client() for _ in range(50)]
        for client in clients:
            ask(client, b"x")
        settled(relay)
        client, accepted_there, relayed = 1, 1, 2
        assert descriptors() - before <= 50 * (client + accepted_there + relayed) + 2 * splicing.SPARES
        for client in clients:
            client.close()


@pytest.mark.parametrize("size", [1, 4095, 1 << 20, 30_000_001])
def test_bytes_arrive_as_they_were(relay: Relay, size: int) -> None:
    data = os.urandom(size)
    with Server(digest) as server, Tunnel(relay, server.port).client() as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == hashlib.sha256(data).digest()


def test_both_directions_at_once(relay: Relay) -> None:
    data = os.urandom(20_000_000)
    with Server(both_ways(20_000_000)) as server, Tunnel(relay, server.port).client() as client:
        sending = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sending.start()
        found = read_all(client)
        sending.join()
    assert found == bytes(20_000_000) + hashlib.sha256(data).digest()


def test_a_client_that_has_finished_still_gets_its_answer(relay: Relay) -> None:
    with Server(digest) as server, Tunnel(relay, server.port).client() as client:
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == hashlib.sha256().digest()


def test_a_server_that_has_finished_still_listens(relay: Relay) -> None:
    heard = []

    def serve(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_WR)
        heard.append(read_all(connection))

    with Server(serve) as server:
        with Tunnel(relay, server.port).client() as client:
            assert client.recv(1) == b""
            client.sendall(b"late")
        eventually(lambda: heard)
    assert heard == [b"late"]


def test_a_server_that_talks_first(relay: Relay) -> None:
    with Server(talk_first) as server, Tunnel(relay, server.port).client() as client:
        assert read_all(client) == b"welcome"


@needs_ipv6
def test_a_connection_to_ipv6_loopback(relay: Relay) -> None:
    with Server(echo) as server:
        sock = socket.create_server(("::1", 0), family=socket.AF_INET6)
        relay.listen(sock, owner="me", address="127.0.0.1", port=server.port)
        with socket.create_connection(("::1", sock.getsockname()[1]), timeout=20) as client:
            assert ask(client, b"six") == b"six"


# ends


def test_where_nobody_listens_the_client_is_reset(relay: Counting) -> None:
    with refusing_port() as port:
        assert is_turned_away(Tunnel(relay, port).port)
    eventually(lambda: not relay._pairs)


def test_where_there_is_no_way_the_client_is_reset(relay: Counting) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    relay.listen(sock, owner="me", address="255.255.255.255", port=1)
    assert is_turned_away(sock.getsockname()[1])


def test_a_server_that_resets_resets_its_client(relay: Counting) -> None:
    with Server(hang_up) as server, Tunnel(relay, server.port).client() as client:
        client.sendall(b"x")
        assert was_reset(client)
    eventually(lambda: not relay._pairs)


def test_a_client_that_resets_resets_its_server(relay: Counting) -> None:
    with Server(echo) as server:
        client = Tunnel(relay, server.port).client()
        ask(client, b"x")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        client.close()
        eventually(lambda: server.errors)
        assert server.errors == ["ConnectionResetError"]
        eventually(lambda: not relay._pairs)


def test_a_client_that_goes_while_it_is_flooded(relay: Counting) -> None:
    with Server(Flood()) as server:
        with Tunnel(relay, server.port).client() as client:
            read(client, 1_000_000)
        eventually(lambda: server.errors)
        eventually(lambda: not relay._pairs)


def test_resetting_reaches_idle_clients_of_one_owner(relay: Relay) -> None:
    with Server(echo) as server:
        mine, other = Tunnel(relay, server.port, "mine"), Tunnel(relay, server.port, "other")
        clients = [mine.client() for _ in range(20)]
        for client in clients:
            ask(client, b"x")
        with other.client() as stranger:
            ask(stranger, b"x")
            assert relay.reset("mine") == 20
            assert all(was_reset(client) for client in clients)
            assert ask(stranger, b"still here") == b"still here"
        with mine.client() as again:
            assert ask(again, b"and again") == b"and again"
        for client in clients:
            client.close()
        assert relay.reset("nobody") == 0


def test_a_listener_that_is_stopped_refuses_and_resets(relay: Relay) -> None:
    with Server(echo) as server:
        tunnel = Tunnel(relay, server.port)
        with tunnel.client() as client:
            ask(client, b"x")
            relay.stop_listening(tunnel.listener)
            relay.stop_listening(tunnel.listener)
            assert was_reset(client)
        with pytest.raises(ConnectionRefusedError):
            tunnel.client()


def test_closing_ends_everything(relay: Relay) -> None:
    with Server(Flood()) as flood, Server(echo) as server:
        busy, idle = Tunnel(relay, flood.port).client(), Tunnel(relay, server.port).client()
        read(busy, 100)
        ask(idle, b"x")
        relay.close()
        assert was_reset(busy)
        assert was_reset(idle)
        busy.close()
        idle.close()
        relay.__init__()  # type: ignore[misc] # so that the fixture has something to close


# fairness


def test_a_slow_reader_stops_only_its_own_writer(relay: Counting) -> None:
    flood = Flood()
    with Server(flood) as flooding, Server(echo) as server:
        with Tunnel(relay, flooding.port).client() as slow, Tunnel(relay, server.port).client() as quick:
            slow.recv(1)
            settled(relay)
            stuck = flood.sent
            for _ in range(100):
                ask(quick, b"x")
            assert flood.sent == stuck
            assert len(read(slow, 50_000_000)) == 50_000_000
        eventually(lambda: not relay._pairs)


def test_a_busy_connection_leaves_room_for_others(relay: Counting) -> None:
    with Server(Flood()) as flooding, Server(echo) as server:
        busy = Tunnel(relay, flooding.port).client()
        over = threading.Event()

        def drain() -> None:
            while not over.is_set():
                busy.recv(1 << 20)

        draining = threading.Thread(target=drain)
        draining.start()
        tunnel = Tunnel(relay, server.port)
        for _ in range(50):
            with tunnel.client() as quick:
                assert ask(quick, b"x") == b"x"
        assert relay.reset("nobody") == 0
        over.set()
        draining.join()
        busy.close()


def test_connections_that_wait_for_something_cost_no_time(relay: Counting) -> None:
    """Half-closed from either side, blocked, or never answered: the thread sleeps."""
    silent = threading.Event()

    def finish_and_wait(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_WR)
        silent.wait()

    with (
        Server(Flood()) as flooding,
        Server(finish_and_wait) as finishing,
        Server(lambda _: silent.wait() and None) as deaf,
    ):
        clients = [Tunnel(relay, server.port).client() for server in (flooding, finishing, deaf, deaf)]
        clients[2].shutdown(socket.SHUT_WR)
        clients[3].setblocking(False)
        try:
            while True:
                clients[3].send(bytes(65536))
        except BlockingIOError:
            pass
        settled(relay)
        silent.set()
        for client in clients:
            client.close()


def test_resetting_some_never_touches_others(relay: Relay) -> None:
    """Descriptors are reused at once: what was said of a closed one must not be taken for its successor's."""
    with Server(echo) as server:
        mine, victim = Tunnel(relay, server.port, "mine"), Tunnel(relay, server.port, "victim")
        over = threading.Event()

        def be_reset() -> None:
            while not over.is_set():
                with contextlib.suppress(ConnectionError), victim.client() as client:
                    ask(client, b"x")

        def keep_resetting() -> None:
            while not over.wait(0.0005):
                relay.reset("victim")

        threads = [threading.Thread(target=work) for work in (be_reset, be_reset, keep_resetting)]
        for thread in threads:
            thread.start()
        try:
            for number in range(300):
                with mine.client() as client:
                    assert ask(client, b"%d" % number) == b"%d" % number
        finally:
            over.set()
            for thread in threads:
                thread.join()


# shortages


def test_without_descriptors_clients_wait_and_the_thread_sleeps(
    relay: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(echo) as server:
        tunnel = Tunnel(relay, server.port)
        clients = [socket.socket() for _ in range(5)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            for client in clients:
                client.settimeout(20)
                client.connect(("127.0.0.1", tunnel.port))
            eventually(lambda: relay._resting or relay.turns > 100)
            assert relay.turns < 100
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        outcomes = []
        for client in clients:
            with client:
                try:
                    outcomes.append(ask(client, b"x"))
                except ConnectionError:
                    outcomes.append(b"reset")
        assert outcomes[-1] == b"x"
        assert set(outcomes) <= {b"x", b"reset"}


def test_a_listener_can_be_stopped_while_it_rests(relay: Counting) -> None:
    with Server(echo) as server:
        tunnel = Tunnel(relay, server.port)
        with relay._turnstile:
            relay._rest(tunnel.listener, OSError("too many"))
        relay.stop_listening(tunnel.listener)
        with pytest.raises(ConnectionRefusedError):
            tunnel.client()
