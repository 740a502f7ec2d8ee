"""The way out without an uplink: a node that nobody forwards for, a host it has left a thread in, and a world outside."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest

from tests.support.beyond import HOST, OUTSIDE, World, made_world
from tfnode.kernel.namespaces import in_netns
from tfnode.network.interface import Network
from tfnode.network.linux import LinuxNetwork
from tfnode.network.portal import Portal
from tfnode.network.wayout import WayOut
from tfnode.testing.netns import connect, connected, contents, datagrams, listen, refused, run_in
from tfnode.testing.network_suite import METADATA, NODE, Fixtures, MakePlace
from tfnode.tunnels.relay import Relay

IP_RECVERR = 11
"""linux/in.h: hear of every refusal, not only of final ones."""

RESOLVER = "127.0.0.53"
"""On the host's own loopback, as systemd has it."""


@pytest.fixture
def world() -> Iterator[World]:
    with made_world() as made:
        yield made


@pytest.fixture
def portal(world: World) -> Iterator[Portal]:
    made = in_netns(world.host, Portal)
    yield made
    made.close()


class Loop:
    """An event loop in a thread, as an agent's."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="agent's loop")
        self._thread.start()

    def open(self, way: WayOut) -> None:
        asyncio.run_coroutine_threadsafe(way.open(), self._loop).result(20)

    def call(self, function: Callable[[], None]) -> None:
        async def called() -> None:
            function()
            await asyncio.sleep(0)  # a transport is closed by the loop's next turn

        asyncio.run_coroutine_threadsafe(called(), self._loop).result(20)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextlib.contextmanager
def way_out(router: int, portal: Portal) -> Iterator[None]:
    with contextlib.closing(Relay()) as relay, contextlib.closing(Loop()) as loop:
        way = in_netns(router, lambda: WayOut(portal, relay.join, [RESOLVER]))
        loop.open(way)
        try:
            yield
        finally:
            loop.call(way.close)


class TestWayOut(Fixtures):
    @pytest.fixture
    def network(self, router: int) -> LinuxNetwork:
        return LinuxNetwork(router)

    @pytest.fixture
    def way(self, opened: Network, router: int, portal: Portal) -> Iterator[None]:
        with way_out(router, portal):
            yield

    def test_outside_sees_the_host(self, way: None, make_place: MakePlace, world: World) -> None:
        for place in (make_place(), make_place()):
            with connected(place.netns, world.outside, OUTSIDE) as (_, far):
                assert far.getpeername()[0] == HOST

    def test_an_end_of_one_direction_is_not_the_others(self, way: None, make_place: MakePlace, world: World) -> None:
        with connected(make_place().netns, world.outside, OUTSIDE) as (near, far):
            near.shutdown(socket.SHUT_WR)
            assert far.recv(1) == b""
            far.sendall(b"still here")
            assert near.recv(10) == b"still here"

    @pytest.mark.parametrize("address", [OUTSIDE, HOST], ids=["nobody_listens", "the_host_itself"])
    def test_what_cannot_be_reached_shows_at_once(
        self, way: None, make_place: MakePlace, world: World, address: str
    ) -> None:
        place = make_place()
        with listen(world.host, 80), pytest.raises(ConnectionResetError):
            connected_and_told(place.netns, address)

    def test_container_does_not_reach_metadata(self, way: None, make_place: MakePlace, world: World) -> None:
        run_in(world.outside, "ip", "address", "add", f"{METADATA}/32", "dev", "lo")
        run_in(world.host, "ip", "route", "add", f"{METADATA}/32", "via", OUTSIDE)
        with listen(world.outside, 80):
            refused(make_place().netns, METADATA, 80)

    def test_the_hosts_loopback_is_not_the_containers(self, portal: Portal, world: World) -> None:
        with listen(world.host, 80):
            for address in ("127.0.0.1", "127.1.2.3", "0.0.0.0", HOST, METADATA, "224.0.0.1"):
                with pytest.raises(PermissionError):
                    portal.dial(str(address), 80)

    def test_containers_stay_apart(self, way: None, make_place: MakePlace) -> None:
        here, there = make_place(), make_place()
        with listen(there.netns, 80):
            assert isinstance(refused(here.netns, there.address, 80), ConnectionRefusedError)

    def test_container_does_not_reach_the_node(self, way: None, make_place: MakePlace, router: int) -> None:
        with listen(router, 80):
            assert isinstance(refused(make_place().netns, NODE, 80), ConnectionRefusedError)

    def test_other_datagrams_are_refused(self, way: None, make_place: MakePlace, world: World) -> None:
        with datagrams(make_place().netns) as sender:
            sender.setsockopt(socket.SOL_IP, IP_RECVERR, 1)
            sender.connect((OUTSIDE, 123))
            sender.send(b"time?")
            with pytest.raises(OSError, match=r"unreachable"):
                sender.recv(10)

    @pytest.mark.parametrize("server", [NODE, IPv4Address("198.51.100.8")], ids=["the_node", "somebody_else"])
    def test_questions_for_names_are_the_hosts(
        self, way: None, make_place: MakePlace, world: World, server: IPv4Address
    ) -> None:
        with resolver(world.host) as answering, datagrams(make_place().netns) as asking:
            asking.sendto(b"question", (str(server), 53))
            question, whom = answering.recvfrom(20)
            answering.sendto(b"answer to " + question, whom)
            assert asking.recvfrom(20) == (b"answer to question", (str(server), 53))

    def test_questions_that_take_a_connection(self, way: None, make_place: MakePlace, world: World) -> None:
        with listen_resolver(world.host) as listener, connect(make_place().netns, NODE, 53) as asking:
            asking.sendall(b"a long question")
            with listener.accept()[0] as far:
                assert far.recv(20) == b"a long question"

    def test_closed_leaves_nothing(self, opened: Network, router: int, portal: Portal) -> None:
        before = contents(router)
        with way_out(router, portal):
            assert contents(router) != before
        assert contents(router) == before


def resolver(netns: int) -> socket.socket:
    made = in_netns(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    made.bind((RESOLVER, 53))
    made.settimeout(20)
    return made


def listen_resolver(netns: int) -> socket.socket:
    return listen(netns, 53, RESOLVER)


def connected_and_told(netns: int, address: str) -> None:
    """The reset may come while the connection is being made, or just after."""
    with connect(netns, address, 80) as near:
        near.recv(1)
