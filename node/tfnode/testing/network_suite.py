"""What every network promises, whether it connects anybody (`NetworkSuite`) or not, and what one that does promises
besides (`ConnectingSuite`).

A test file of a network is a class that inherits the suites it must pass and overrides the fixture `network`.
Containers are namespaces without processes here: their sockets are opened inside by helper threads. Nothing leaves
the namespaces made here.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address

import pytest

from tfcore.errors import BadRequest, NotFound, WrongState
from tfnode.kernel.namespaces import in_netns
from tfnode.network.interface import Attachment, Network
from tfnode.testing.netns import (
    connect,
    connected,
    contents,
    datagrams,
    forge,
    fresh_netns,
    fresh_sandbox,
    listen,
    refused,
    run_in,
    run_unprivileged_in,
)

FIRST = IPv4Address("10.117.0.2")
NODE = IPv4Address("169.254.1.1")
METADATA = IPv4Address("169.254.169.254")


@dataclass(frozen=True)
class Place:
    """An attached sandbox."""

    netns: int
    attachment: Attachment

    @property
    def address(self) -> IPv4Address:
        """Where it is reached."""
        return self.attachment.address


MakePlace = Callable[[], Place]


class Fixtures:
    """What both suites stand on: a router namespace, a network in it, and as many attached sandboxes as a test asks
    for.
    """

    @pytest.fixture
    def router(self) -> Iterator[int]:
        """The router namespace."""
        with fresh_netns() as netns:
            run_in(netns, "ip", "link", "set", "lo", "up")
            yield netns

    @pytest.fixture
    def network(self) -> Network:
        """The network to be tried, not yet open; every test class brings its own."""
        raise TypeError(f"{type(self).__name__} must override the fixture `network`")

    @pytest.fixture
    def opened(self, network: Network) -> Iterator[Network]:
        """The network, open until the test ends."""
        network.open()
        yield network
        network.close()

    @pytest.fixture
    def make_sandbox(self) -> Iterator[Callable[[], int]]:
        """Makes sandboxes; hands out descriptors of their network namespaces."""
        with contextlib.ExitStack() as stack:
            yield lambda: stack.enter_context(fresh_sandbox()).net

    @pytest.fixture
    def make_place(self, opened: Network, make_sandbox: Callable[[], int]) -> MakePlace:
        """Makes attached sandboxes, each under the next address."""
        addresses = (FIRST + n for n in range(1000))

        def make() -> Place:
            netns = make_sandbox()
            return Place(netns, opened.attach(netns, next(addresses)))

        return make


class NetworkSuite(Fixtures):
    """What holds on every network."""

    def test_loopback_is_up(self, make_place: MakePlace) -> None:
        place = make_place()
        with connected(place.netns, place.netns, "127.0.0.1"):
            pass

    def test_own_address_of_ipv6_loopback_works(self, make_place: MakePlace) -> None:
        place = make_place()
        listen(place.netns, 80, "::1", socket.AF_INET6).close()

    def test_services_without_privilege_listen_below_1024(self, make_place: MakePlace) -> None:
        program = "import socket; print(socket.create_server(('127.0.0.1', 80)).getsockname()[1])"
        assert run_unprivileged_in(make_place().netns, program) == "80\n"

    def test_anybody_may_ping(self, make_place: MakePlace) -> None:
        program = "import socket; print(socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).proto)"
        assert run_unprivileged_in(make_place().netns, program) == "1\n"

    def test_containers_do_not_reach_each_other(self, make_place: MakePlace) -> None:
        here, there = make_place(), make_place()
        with listen(there.netns, 80):
            refused(here.netns, there.address, 80)

    def test_container_does_not_reach_the_node(self, make_place: MakePlace, router: int) -> None:
        with listen(router, 80):
            refused(make_place().netns, NODE, 80)

    def test_container_does_not_reach_link_local_addresses(self, make_place: MakePlace, router: int) -> None:
        run_in(router, "ip", "address", "add", f"{METADATA}/32", "dev", "lo")
        with listen(router, 80):
            refused(make_place().netns, METADATA, 80)

    def test_container_does_not_reach_outside_without_an_uplink(self, make_place: MakePlace) -> None:
        refused(make_place().netns, "192.0.2.9", 80)

    def test_address_is_attached_once(self, opened: Network, make_place: MakePlace) -> None:
        place = make_place()
        with pytest.raises(WrongState, match=f"{place.address} is attached already"):
            opened.attach(place.netns, place.address)

    def test_sandbox_may_close_its_descriptor(self, opened: Network) -> None:
        with fresh_sandbox() as sandbox:
            attachment = opened.attach(sandbox.net, FIRST)
        assert opened.reset_connections(attachment) == 0

    def test_allow_needs_one_of_the_two(self, opened: Network, make_place: MakePlace) -> None:
        place = make_place()
        opened.allow(place.address, FIRST + 500)
        opened.allow(FIRST + 500, place.address)
        with pytest.raises(NotFound, match="neither"):
            opened.allow(FIRST + 500, FIRST + 501)

    def test_allow_with_itself_is_refused(self, opened: Network, make_place: MakePlace) -> None:
        place = make_place()
        with pytest.raises(BadRequest, match="itself"):
            opened.allow(place.address, place.address)

    def test_disallow_of_what_was_never_allowed_is_no_error(self, opened: Network, make_place: MakePlace) -> None:
        opened.disallow(make_place().address, make_place().address)

    def test_reset_ends_connections_and_keeps_services(self, opened: Network, make_place: MakePlace) -> None:
        place = make_place()
        with listen(place.netns, 8080), connected(place.netns, place.netns, "127.0.0.1") as (near, far):
            assert opened.reset_connections(place.attachment) >= 1
            for end in (near, far):
                with pytest.raises(ConnectionError):
                    end.recv(1)
            connect(place.netns, "127.0.0.1", 8080).close()

    def test_detached_twice_is_once(self, opened: Network, make_place: MakePlace) -> None:
        place = make_place()
        opened.detach(place.attachment)
        opened.detach(place.attachment)
        with pytest.raises(NotFound, match=f"{place.address} is not attached"):
            opened.reset_connections(place.attachment)

    def test_address_is_free_after_detach(self, opened: Network, make_place: MakePlace) -> None:
        place = make_place()
        opened.detach(place.attachment)
        again = opened.attach(place.netns, place.address)
        assert opened.reset_connections(again) == 0

    def test_opened_once(self, opened: Network) -> None:
        with pytest.raises(WrongState, match="open already"):
            opened.open()

    def test_closed_twice_is_once(self, network: Network) -> None:
        network.open()
        network.close()
        network.close()

    def test_not_open_is_said(self, network: Network, router: int) -> None:
        with pytest.raises(WrongState, match="not open"):
            network.attach(router, FIRST)
        network.close()

    def test_close_leaves_nothing(self, network: Network, router: int, make_sandbox: Callable[[], int]) -> None:
        before = contents(router)
        network.open()
        for n in range(3):
            network.attach(make_sandbox(), FIRST + n)
        network.allow(FIRST, FIRST + 1)
        network.close()
        assert contents(router) == before

    def test_two_hundred_lives_leave_nothing(
        self, opened: Network, router: int, make_sandbox: Callable[[], int]
    ) -> None:
        neighbour = opened.attach(make_sandbox(), FIRST)
        sandboxes = [make_sandbox() for _ in range(10)]
        before = contents(router), threading.active_count(), len(os.listdir("/proc/self/fd"))
        for n in range(200):
            attachment = opened.attach(sandboxes[n % 10], FIRST + 1 + n)
            opened.allow(attachment.address, neighbour.address)
            opened.detach(attachment)
        assert (contents(router), threading.active_count(), len(os.listdir("/proc/self/fd"))) == before

    def test_many_threads_at_once(self, opened: Network, router: int, make_sandbox: Callable[[], int]) -> None:
        sandboxes = [make_sandbox() for _ in range(16)]
        before = contents(router)

        def live(n: int) -> None:
            attachment = opened.attach(sandboxes[n], FIRST + n)
            with contextlib.suppress(NotFound):  # the neighbour's life may be over
                opened.allow(FIRST + (n + 1) % 16, attachment.address)
            opened.disallow(attachment.address, FIRST + (n - 1) % 16)
            opened.detach(attachment)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(live, range(16)))
        assert contents(router) == before


class ConnectingSuite(Fixtures):
    """What holds on a network that connects containers, to each other and to their node."""

    def test_node_reaches_a_service_and_is_seen_as_the_gateway(self, make_place: MakePlace, router: int) -> None:
        place = make_place()
        with connected(router, place.netns, place.address) as (_, far):
            assert far.getpeername()[0] == str(NODE)

    def test_refusal_is_a_reset(self, make_place: MakePlace) -> None:
        here, there = make_place(), make_place()
        assert isinstance(refused(here.netns, there.address, 80), ConnectionRefusedError)
        assert isinstance(refused(here.netns, NODE, 80), ConnectionRefusedError)

    def test_allow_opens_both_directions(self, opened: Network, make_place: MakePlace) -> None:
        one, other = make_place(), make_place()
        opened.allow(one.address, other.address)
        opened.allow(other.address, one.address)
        for client, server in ((one, other), (other, one)):
            with connected(client.netns, server.netns, server.address) as (_, far):
                assert far.getpeername()[0] == str(client.address)

    def test_allow_opens_nothing_else(self, opened: Network, make_place: MakePlace, router: int) -> None:
        one, other, third = make_place(), make_place(), make_place()
        opened.allow(one.address, other.address)
        with listen(one.netns, 80), listen(other.netns, 80), listen(third.netns, 80), listen(router, 80):
            for client, server in ((one, third), (third, one), (other, third), (third, other)):
                refused(client.netns, server.address, 80)
            refused(one.netns, NODE, 80)

    def test_allow_may_come_before_the_other_is_attached(self, opened: Network, make_place: MakePlace) -> None:
        one = make_place()
        opened.allow(one.address, one.address + 1)
        other = make_place()
        with connected(other.netns, one.netns, one.address):
            pass

    def test_disallow_ends_idle_connections_and_refuses_new_ones(self, opened: Network, make_place: MakePlace) -> None:
        one, other = make_place(), make_place()
        opened.allow(one.address, other.address)
        with connected(one.netns, other.netns, other.address) as ends:
            opened.disallow(other.address, one.address)
            for end in ends:
                with pytest.raises(ConnectionError):
                    end.recv(1)
        with listen(other.netns, 80), listen(one.netns, 80):
            refused(one.netns, other.address, 80)
            refused(other.netns, one.address, 80)

    def test_disallow_ends_flows_that_have_no_connection(self, opened: Network, make_place: MakePlace) -> None:
        one, other = make_place(), make_place()
        opened.allow(one.address, other.address)
        with datagrams(one.netns) as near, datagrams(other.netns, 53) as far:
            near.connect((str(other.address), 53))
            near.send(b"first")
            data, address = far.recvfrom(10)
            far.sendto(data, address)
            assert near.recv(10) == b"first"
            opened.disallow(one.address, other.address)
            near.send(b"second")
            with pytest.raises(OSError, match="No route to host"):
                near.recv(10)
            far.setblocking(False)
            with pytest.raises(BlockingIOError):
                far.recv(10)

    def test_disallow_leaves_other_pairs_alone(self, opened: Network, make_place: MakePlace) -> None:
        one, other, third = make_place(), make_place(), make_place()
        opened.allow(one.address, other.address)
        opened.allow(one.address, third.address)
        with connected(third.netns, one.netns, one.address) as (near, far):
            opened.disallow(one.address, other.address)
            near.sendall(b"still")
            assert far.recv(5) == b"still"

    def test_forged_source_goes_nowhere(self, opened: Network, make_place: MakePlace) -> None:
        """The forger sends a genuine packet afterwards on the same way, so what is received first tells."""
        victim, friend, forger = make_place(), make_place(), make_place()
        opened.allow(victim.address, friend.address)
        opened.allow(victim.address, forger.address)
        with datagrams(victim.netns, 53) as receiver:
            for source in (friend.address, victim.address, NODE, METADATA, IPv4Address("192.0.2.9")):
                forge(forger.netns, source, victim.address, 53, b"forged")
            forge(forger.netns, forger.address, victim.address, 53, b"genuine")
            assert receiver.recvfrom(10) == (b"genuine", (str(forger.address), 1))

    def test_datagrams_do_not_reach_the_node(self, opened: Network, make_place: MakePlace, router: int) -> None:
        place, other = make_place(), make_place()
        opened.allow(place.address, other.address)
        with datagrams(router, 53) as receiver, datagrams(other.netns, 53) as after:
            forge(place.netns, place.address, NODE, 53, b"to the node")
            forge(place.netns, place.address, other.address, 53, b"after")
            assert after.recv(10) == b"after"
            receiver.setblocking(False)
            with pytest.raises(BlockingIOError):
                receiver.recv(20)

    def test_reset_reaches_idle_peers(self, opened: Network, make_place: MakePlace, router: int) -> None:
        place, client = make_place(), make_place()
        opened.allow(place.address, client.address)
        with (
            connected(router, place.netns, place.address, 80) as (node_side, _),
            connected(client.netns, place.netns, place.address, 81) as (client_side, _),
            connected(place.netns, client.netns, client.address, 82) as (_, server_side),
        ):
            assert opened.reset_connections(place.attachment) == 3
            for peer in (node_side, client_side, server_side):
                with pytest.raises(ConnectionResetError):
                    peer.recv(1)

    def test_reset_reaches_clients_of_a_service_on_both_families(
        self, opened: Network, make_place: MakePlace, router: int
    ) -> None:
        place = make_place()
        listener = in_netns(
            place.netns, lambda: socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
        )
        with listener, connect(router, place.address, 80) as near, listener.accept()[0]:
            assert opened.reset_connections(place.attachment) == 1
            with pytest.raises(ConnectionResetError):
                near.recv(1)
            connect(router, place.address, 80).close()

    def test_reset_touches_nobody_else(self, opened: Network, make_place: MakePlace, router: int) -> None:
        place, other = make_place(), make_place()
        with connected(router, other.netns, other.address) as (near, far):
            opened.reset_connections(place.attachment)
            near.sendall(b"still")
            assert far.recv(5) == b"still"

    def test_detach_tells_the_peers(self, opened: Network, make_place: MakePlace, router: int) -> None:
        place, client = make_place(), make_place()
        opened.allow(place.address, client.address)
        with (
            connected(router, place.netns, place.address, 80) as (node_side, _),
            connected(client.netns, place.netns, place.address, 81) as (client_side, _),
        ):
            opened.detach(place.attachment)
            for peer in (node_side, client_side):
                with pytest.raises(ConnectionResetError):
                    peer.recv(1)

    def test_next_at_an_address_inherits_no_leave(
        self, opened: Network, make_place: MakePlace, make_sandbox: Callable[[], int]
    ) -> None:
        place, other = make_place(), make_place()
        opened.allow(place.address, other.address)
        opened.detach(place.attachment)
        successor = make_sandbox()
        opened.attach(successor, place.address)
        with listen(other.netns, 80), listen(successor, 80):
            refused(successor, other.address, 80)
            refused(other.netns, place.address, 80)

    def test_attached_is_reached_at_once(self, opened: Network, make_sandbox: Callable[[], int], router: int) -> None:
        """A datagram is not sent again, so this one fails if the link drops what comes first."""
        for n in range(20):
            sandbox = make_sandbox()
            with datagrams(sandbox, 53) as receiver, datagrams(router) as sender:
                attachment = opened.attach(sandbox, FIRST + n)
                sender.sendto(b"first", (str(attachment.address), 53))
                assert receiver.recvfrom(10)[0] == b"first"
