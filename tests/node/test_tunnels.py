"""The node's side of tunnels: the relay of handed-over sockets, how they are handed in, and carried connections."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import resource
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.tcp import (
    LINGER_RESET,
    Flood,
    Server,
    ask,
    both_ways,
    client_of,
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
from tfcore.errors import TfError, Unavailable
from tfcore.rpc.streams import INPUT, OUTPUT, Stream
from tfnode.tunnels import carried, handover, splicing
from tfnode.tunnels.carried import Carried
from tfnode.tunnels.handover import HandOver, Ticket
from tfnode.tunnels.pairs import Listener
from tfnode.tunnels.relay import Relay
from tfnz.portal import Portal


class Tunnel:
    """A listening socket that a relay serves."""

    def __init__(self, relay: Relay, port: int, owner: str = "me") -> None:
        sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = sock.getsockname()[1]
        self.listener: Listener = relay.listen(sock, owner=owner, address="127.0.0.1", port=port)

    def client(self) -> socket.socket:
        return client_of(self.port)


class Counting(Relay):
    """Knows how often it did something."""

    def __init__(self) -> None:
        self.turns = 0
        super().__init__()

    def _turn(self, fd: int) -> None:
        self.turns += 1
        super()._turn(fd)


@pytest.fixture
def relay() -> Iterator[Counting]:
    relay = Counting()
    yield relay
    relay.close()


def settled(relay: Counting) -> int:
    """How often it turned until it had nothing more to do. One that never rests keeps turning, and the test ends by its
    time limit."""
    before = -1
    while relay.turns != before:
        before = relay.turns
        time.sleep(0.1)
    return before


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


# handing in


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


# carried connections


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
