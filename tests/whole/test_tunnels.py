"""Tunnels to real containers, by both ways: the listening socket handed over, and carried through a location over TCP."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import requests

from tests.support.daemons import PrivateLocation, RemoteLocation
from tests.support.line import PORT, Spawn, private_location, remote_location
from tests.support.tcp import ask, client_of, read, read_all
from tfcore.errors import WrongState
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

SHORT, LONG, TUNNELS, AT_ONCE = 2000, 300, 3, 16


@pytest.fixture(scope="module", params=["handed over", "carried"])
def place(request: pytest.FixtureRequest) -> Iterator[PrivateLocation | RemoteLocation]:
    with private_location() if request.param == "handed over" else remote_location() as made:
        yield made


def test_thousands_of_connections_by_several_tunnels_onto_one_port(location: Location, serve: Spawn) -> None:
    container = serve(pids=2 * LONG)
    tunnels = [container.attach_tunnel(PORT) for _ in range(TUNNELS)]
    assert set(container.all_tunnels()) >= set(tunnels)
    assert set(location.tunnels) >= set(tunnels)
    ports = [tunnel.localport for tunnel in tunnels]
    assert len(set(ports)) == TUNNELS

    def short(number: int) -> bytes:
        with client_of(ports[number % TUNNELS]) as client:
            said = ask(client, b"%d" % number)
            client.shutdown(socket.SHUT_WR)
            return said + read_all(client)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert list(pool.map(short, range(SHORT))) == [b"%d" % number for number in range(SHORT)]

    with ExitStack() as all_open:
        clients = [all_open.enter_context(client_of(ports[number % TUNNELS])) for number in range(LONG)]
        for number, client in enumerate(clients):
            assert ask(client, b"%d" % number) == b"%d" % number
        gone, *others = tunnels
        container.destroy_tunnel(gone)
        assert container.all_tunnels() == [*others]
        for number, client in enumerate(clients):
            if number % TUNNELS:
                assert ask(client, b"still here") == b"still here"
            else:
                with contextlib.suppress(ConnectionError):
                    assert read_all(client) == b""
    with pytest.raises(ConnectionRefusedError):
        client_of(ports[0])
    with pytest.raises(WrongState):
        location.destroy_tunnel(gone)
    location.destroy_tunnel(others[0])


def test_who_does_not_read_holds_up_nobody_else(serve: Spawn) -> None:
    port = serve().attach_tunnel(PORT).localport
    with client_of(port) as slow, client_of(port) as quick:
        slow.sendall(b"flood")
        read(slow, 1)
        for number in range(200):
            assert ask(quick, b"%d" % number) == b"%d" % number
        assert read(slow, 5_000_000) == b"x" * 5_000_000


def test_addresses_and_ports_that_are_wished(location: Location, serve: Spawn) -> None:
    container = serve()
    tunnel = location.tunnel_onto(container, PORT, bind="127.0.0.2")
    with socket.create_connection(("127.0.0.2", tunnel.localport), timeout=30) as client:
        assert ask(client, b"well") == b"well"
    with pytest.raises(WrongState, match=f"{tunnel.localport}.*in use.*leave localport out"):
        container.attach_tunnel(PORT, localport=tunnel.localport, bind="127.0.0.2")
    location.wait_tcp(container, PORT)


def test_pages_are_waited_for(location: Location, tiny: str) -> None:
    """What is served only after a while, and only to those who ask for the right host."""
    page = (
        'socket(S,2,1,0); bind(S,pack("Sna4x8",2,80,"\\0"x4)); listen(S,9);'
        ' for (;;) { accept(C,S); $_ = ""; sysread(C,$_,999,length) || last until /\\r\\n\\r\\n/;'
        ' $ok = m{^GET /deep/er HTTP} && /^Host: www[.]atomicdroplet[.]com/m && -e "/ready";'
        ' syswrite(C, $ok ? "HTTP/1.0 200 OK\\r\\n\\r\\nhere" : "HTTP/1.0 404 No\\r\\n\\r\\n"); close C }'
    )
    container = location.node().spawn_container(tiny, command=["perl", "-e", page]).wait_until_ready()
    made = threading.Timer(0.3, container.put, ("/ready", b""))
    made.start()
    tunnel = location.wait_http_200(container, fqdn="www.atomicdroplet.com", path="deep/er")
    made.join()
    found = requests.get(f"{tunnel.url}/deep/er", headers={"Host": "www.atomicdroplet.com"}, timeout=30)
    assert found.text == "here"
