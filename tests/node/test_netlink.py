"""The netlink protocol against the real kernel: framing, refusals in its own words, objects that come and go."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from tfnode.kernel.namespaces import in_netns
from tfnode.network.netlink import (
    HEADER,
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NetlinkRefused,
    NetlinkSocket,
    attribute,
    attributes,
)
from tfnode.network.rtnetlink import End, Rtnetlink, mac_bytes
from tfnode.network.sockdiag import SockDiag
from tfnode.testing.netns import connected, fresh_netns, listen, run_in

NEAR, FAR = mac_bytes("02:00:00:00:00:01"), mac_bytes("02:00:00:00:00:02")
LOOPBACK = 1


@pytest.fixture
def netns() -> Iterator[int]:
    with fresh_netns() as made:
        run_in(made, "ip", "link", "set", "lo", "up")
        yield made


@pytest.fixture
def routes(netns: int) -> Iterator[Rtnetlink]:
    made = in_netns(netns, Rtnetlink)
    yield made
    made.close()


@pytest.fixture
def connections(netns: int) -> Iterator[SockDiag]:
    made = in_netns(netns, SockDiag)
    yield made
    made.close()


@pytest.fixture
def pair(routes: Rtnetlink, netns: int) -> tuple[int, int]:
    """The indices of a veth pair, both ends in the namespace."""
    routes.create_veth(End("near", NEAR, netns, group=7), End("far", FAR, netns))
    return routes.link_index("near"), routes.link_index("far")


@pytest.mark.parametrize(("value", "length"), [(b"", 4), (b"abc", 7), ("abc", 8), (5, 8)])
def test_attribute_is_padded_but_says_its_length(value: bytes | str | int, length: int) -> None:
    packed = attribute(3, value)
    assert len(packed) % 4 == 0
    assert struct.unpack_from("=HH", packed) == (length, 3)


def test_attributes_are_found_again() -> None:
    packed = attribute(1, b"abc") + attribute(2 | 0x8000, "name") + attribute(3, 7)
    assert attributes(packed) == {1: b"abc", 2: b"name\0", 3: struct.pack("=I", 7)}


def test_broken_attributes_end_the_list() -> None:
    assert attributes(attribute(1, b"abc") + b"\0\0\0\0\1") == {1: b"abc"}


def test_veth_has_what_it_was_given(pair: tuple[int, int], netns: int) -> None:
    shown = run_in(netns, "ip", "-oneline", "link")
    assert "near@far" in shown
    assert "group 7" in shown
    assert "02:00:00:00:00:02" in shown


def test_peer_is_made_where_it_belongs(routes: Rtnetlink, netns: int) -> None:
    with fresh_netns() as elsewhere:
        routes.create_veth(End("near", NEAR, netns), End("eth0", FAR, elsewhere))
        assert "eth0@" in run_in(elsewhere, "ip", "link")
        assert routes.link_names() == ["lo", "near"]
        routes.delete_link("near")
        assert "eth0" not in run_in(elsewhere, "ip", "link")


def test_links_go_by_group(routes: Rtnetlink, pair: tuple[int, int], netns: int) -> None:
    routes.create_veth(End("other", NEAR, netns, group=8), End("end", FAR, netns))
    routes.delete_group(7)
    assert sorted(routes.link_names()) == ["end", "lo", "other"]
    with pytest.raises(NetlinkRefused) as caught:
        routes.delete_group(7)
    assert caught.value.errno == errno.ENODEV


def test_refusal_has_what_was_done_and_the_kernels_words(routes: Rtnetlink) -> None:
    with pytest.raises(NetlinkRefused) as caught:
        routes.route_via(IPv4Network("192.0.2.0/24"), IPv4Address("198.51.100.1"), LOOPBACK)
    assert caught.value.errno == errno.ENETUNREACH
    assert caught.value.strerror == "route 192.0.2.0/24: Network is unreachable (Nexthop has invalid gateway)"


def test_socket_works_on_after_a_refusal(routes: Rtnetlink) -> None:
    with pytest.raises(NetlinkRefused, match="No such device"):
        routes.link_index("nowhere")
    assert routes.link_index("lo") == LOOPBACK


def test_addresses_come_and_go(routes: Rtnetlink) -> None:
    address = IPv4Interface("192.0.2.1/24")
    routes.add_address(LOOPBACK, address)
    routes.add_address(LOOPBACK, address)
    assert address in routes.addresses()
    routes.delete_address(LOOPBACK, address)
    assert routes.addresses() == [IPv4Interface("127.0.0.1/8")]


def test_route_is_replaced_in_place(routes: Rtnetlink, pair: tuple[int, int], netns: int) -> None:
    for index in pair:
        routes.set_up(index)
    routes.add_address(LOOPBACK, IPv4Interface("192.0.2.1/32"))
    target = IPv4Network("192.0.2.77/32")
    routes.route_to_link(target, pair[0])
    routes.route_to_link(target, pair[1], source=IPv4Address("192.0.2.1"))
    assert routes.routes().count(target) == 1
    shown = run_in(netns, "ip", "route", "show", "192.0.2.77").split()
    assert " ".join(shown) == "192.0.2.77 dev far scope link src 192.0.2.1"


def test_neighbour_is_permanent(routes: Rtnetlink, pair: tuple[int, int], netns: int) -> None:
    routes.set_up_without_arp(pair[0])
    routes.add_neighbour(pair[0], IPv4Address("192.0.2.77"), FAR)
    shown = run_in(netns, "ip", "neighbour", "show", "nud", "permanent").split()
    assert " ".join(shown) == "192.0.2.77 dev near lladdr 02:00:00:00:00:02 PERMANENT"


def test_listing_longer_than_one_message(routes: Rtnetlink) -> None:
    for n in range(2000):
        routes.add_address(LOOPBACK, IPv4Interface((IPv4Address("10.0.0.0") + n, 32)))
    assert len(routes.addresses()) == 2001


class Kernel:
    """Answers every request with a listing of one object; the first `disturbed` listings say that something changed."""

    def __init__(self, disturbed: int) -> None:
        self.disturbed = disturbed
        self.asked = 0

    def send(self, request: bytes) -> None:
        self.asked += 1
        self.sequence = HEADER.unpack_from(request)[3]

    def recv(self, _: int) -> bytes:
        flags = NLM_F_DUMP_INTR if self.asked <= self.disturbed else 0
        stale = HEADER.pack(20, 16, 0, self.sequence - 1, 0) + b"old!"
        item = HEADER.pack(20, 16, flags, self.sequence, 0) + b"item"
        return stale + item + HEADER.pack(20, NLMSG_DONE, flags, self.sequence, 0) + bytes(4)

    def close(self) -> None:
        pass


def ask(kernel: Kernel) -> list[bytes]:
    with contextlib.closing(NetlinkSocket(0)) as netlink:
        netlink._socket.close()
        netlink._socket = kernel  # type: ignore[assignment]
        return netlink.dump(18, b"", doing="list the objects")


def test_listing_is_what_answers_the_request() -> None:
    assert ask(Kernel(disturbed=0)) == [b"item"]


def test_disturbed_listing_is_asked_for_again() -> None:
    kernel = Kernel(disturbed=2)
    assert ask(kernel) == [b"item"]
    assert kernel.asked == 3


def test_listing_that_is_always_disturbed_is_refused() -> None:
    with pytest.raises(NetlinkRefused, match="list the objects: the listing changed while it was read, ten times"):
        ask(Kernel(disturbed=99))


def test_threads_share_a_socket(routes: Rtnetlink) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: routes.link_index("lo"), range(200))) == {LOOPBACK}


def test_link_without_its_other_end_has_no_carrier(
    routes: Rtnetlink, pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfnode.network.rtnetlink.CARRIER_ATTEMPTS", 3)
    routes.set_up(pair[0])
    with pytest.raises(NetlinkRefused, match="does not come up: its operational state is still"):
        routes.await_carrier(pair[0])


def test_connections_say_who_is_at_the_other_end(connections: SockDiag, netns: int) -> None:
    with connected(netns, netns, "127.0.0.1"):
        assert {str(connection.peer) for connection in connections.connections()} == {"127.0.0.1"}


def test_ipv4_behind_an_ipv6_socket_is_seen_as_ipv4(connections: SockDiag, netns: int) -> None:
    with listen_on_both(netns, 80), in_netns(netns, lambda: socket.create_connection(("127.0.0.1", 80))):
        found = list(connections.connections())
        assert {connection.family for connection in found} == {socket.AF_INET, socket.AF_INET6}
        assert {str(connection.peer) for connection in found} == {"127.0.0.1"}


def listen_on_both(netns: int, port: int) -> socket.socket:
    return in_netns(netns, lambda: socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True))


def test_reset_with_one_peer_leaves_the_others(connections: SockDiag, netns: int) -> None:
    with connected(netns, netns, "127.0.0.2", 80) as cut, connected(netns, netns, "127.0.0.3", 81) as left:
        assert connections.reset_with(IPv4Address("127.0.0.2")) == 1
        with pytest.raises(ConnectionError):
            cut[0].recv(1)
        left[0].sendall(b"still")
        assert left[1].recv(5) == b"still"


def test_service_that_waited_after_its_end_can_listen_again_after_a_reset(connections: SockDiag, netns: int) -> None:
    """The side that closes first keeps its port busy for a minute (TIME_WAIT) unless it is reset."""
    with listen(netns, 80) as listener:
        near = in_netns(netns, lambda: socket.create_connection(("127.0.0.1", 80)))
        listener.accept()[0].close()
        near.recv(1)
        near.close()
    connections.reset_all()
    in_netns(netns, lambda: bind_plainly(80))


def bind_plainly(port: int) -> None:
    with socket.socket() as service:
        service.bind(("0.0.0.0", port))


def test_kernel_is_asked_whether_it_can_reset(connections: SockDiag) -> None:
    assert connections.can_reset()
