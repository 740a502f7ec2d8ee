"""The real network, held to what every network promises, and to what only it has: links, rules, IPv6."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tfcore.errors import CommandFailed, WrongState
from tfnode.kernel.namespaces import in_netns
from tfnode.network.interface import Network
from tfnode.network.linux import LinuxNetwork
from tfnode.network.router import MAC
from tfnode.network.rules import ROUTER_TABLE
from tfnode.network.sandbox import mac_of
from tfnode.testing.netns import PATIENCE, connected, contents, forge, run_in
from tfnode.testing.network_suite import FIRST, NODE, ConnectingSuite, Fixtures, MakePlace, NetworkSuite
from tfnode.testing.switch_suite import BesideSuite, SwitchSuite
from tfnode.testing.united_suite import UnitedSuite, UnitedTrafficSuite

NODE_V6 = "fe80::1"
DROP_TABLE = ROUTER_TABLE.delete().split()


class LinuxFixtures(Fixtures):
    @pytest.fixture
    def network(self, router: int) -> LinuxNetwork:
        return LinuxNetwork(router)


class TestLinux(LinuxFixtures, NetworkSuite, ConnectingSuite):
    pass


class TestLinuxSwitch(LinuxFixtures, BesideSuite, SwitchSuite):
    pass


class TestLinuxUnited(LinuxFixtures, UnitedSuite, UnitedTrafficSuite):
    pass


def dropped(router: int) -> int:
    """How many packets from containers the rules have dropped before anything else saw them."""
    listed = json.loads(run_in(router, "nft", "-j", "list", "chain", "inet", "tf", "from_container"))["nftables"]
    expressions = [part for item in listed if "rule" in item for part in item["rule"]["expr"]]
    return sum(part["counter"]["packets"] for part in expressions if "counter" in part)


def ipv6_setting(link: str) -> Path:
    return Path(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6")


def turn_on_ipv6(netns: int, link: str, address: str) -> None:
    in_netns(netns, lambda: ipv6_setting(link).write_text("0"))
    run_in(netns, "ip", "address", "add", f"{address}/64", "dev", link, "nodad")


@contextlib.contextmanager
def datagrams_v6(netns: int, port: int) -> Iterator[socket.socket]:
    with in_netns(netns, lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as receiver:
        receiver.bind(("::", port))
        receiver.settimeout(PATIENCE)
        yield receiver


def send_v6(netns: int, port: int, payload: bytes) -> None:
    def send() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            sender.sendto(payload, (NODE_V6, port, 0, socket.if_nametoindex("eth0")))

    in_netns(netns, send)


class TestLinks(LinuxFixtures):
    def test_links_have_no_ipv6(self, make_place: MakePlace, router: int) -> None:
        """The setting tells at once; an address would come some time after the link."""
        place = make_place()
        for netns, link in ((router, place.attachment.link), (place.netns, "eth0")):
            assert in_netns(netns, ipv6_setting(link).read_text) == "1\n"

    def test_rules_stop_ipv6_even_where_both_ends_have_it(self, make_place: MakePlace, router: int) -> None:
        place = make_place()
        turn_on_ipv6(router, place.attachment.link, NODE_V6)
        turn_on_ipv6(place.netns, "eth0", "fe80::2")
        run_in(place.netns, "ip", "neighbour", "add", NODE_V6, "lladdr", "ee:ee:ee:ee:ee:ee", "dev", "eth0")
        with datagrams_v6(router, 53) as receiver:
            send_v6(place.netns, 53, b"past the rules")
            run_in(router, "nft", *DROP_TABLE)
            send_v6(place.netns, 53, b"without rules")
            assert receiver.recv(20) == b"without rules"
            run_in(router, "nft", "add", "table", "inet", "tf")  # for close, which deletes it

    def test_forged_packets_are_dropped_before_connection_tracking(self, make_place: MakePlace, router: int) -> None:
        place = make_place()
        before = dropped(router)
        forge(place.netns, IPv4Address("192.0.2.9"), NODE, 53, b"forged")
        forge(place.netns, FIRST + 77, NODE, 53, b"forged")
        assert dropped(router) == before + 2

    def test_container_cannot_fill_the_neighbour_table(
        self, opened: Network, make_place: MakePlace, router: int
    ) -> None:
        place, other = make_place(), make_place()
        opened.allow(place.address, other.address)
        before = contents(router)
        request = bytes.fromhex("0001 0800 06 04 0001") + mac_of(place.address)
        with in_netns(place.netns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as raw:
            raw.bind(("eth0", 0x0806))
            for n in range(50):
                sender = (FIRST + 200 + n).packed
                raw.send(MAC + mac_of(place.address) + b"\x08\x06" + request + sender + bytes(6) + NODE.packed)
        with connected(place.netns, other.netns, other.address):
            pass
        assert contents(router) == before

    def test_second_attachment_of_a_sandbox_is_undone(
        self, opened: Network, make_place: MakePlace, make_sandbox: Callable[[], int], router: int
    ) -> None:
        place = make_place()
        before = contents(router), threading.active_count(), len(os.listdir("/proc/self/fd"))
        with pytest.raises(CommandFailed, match=r"cannot attach 10\.117\.0\.99: make the links .* File exists"):
            opened.attach(place.netns, FIRST + 97)
        assert (contents(router), threading.active_count(), len(os.listdir("/proc/self/fd"))) == before
        opened.attach(make_sandbox(), FIRST + 97)

    def test_refusal_of_the_rules_has_their_words(
        self, opened: Network, make_sandbox: Callable[[], int], router: int
    ) -> None:
        run_in(router, "nft", *DROP_TABLE)
        before = contents(router)
        with pytest.raises(CommandFailed, match=r"(?s)nftables: .*No such file or directory.*add element inet tf"):
            opened.attach(make_sandbox(), FIRST)
        assert contents(router) == before
        run_in(router, "nft", "add", "table", "inet", "tf")

    def test_failed_step_of_detach_does_not_stop_the_others(
        self, opened: Network, make_place: MakePlace, router: int
    ) -> None:
        place = make_place()
        run_in(router, "nft", *DROP_TABLE)
        with pytest.raises(CommandFailed, match="nftables"):
            opened.detach(place.attachment)
        assert place.attachment.link not in run_in(router, "ip", "link")
        with pytest.raises(WrongState, match="attached already"):
            opened.attach(place.netns, place.address)
        run_in(router, "nft", "add", "table", "inet", "tf")

    def test_link_that_has_gone_is_detached_all_the_same(
        self, opened: Network, make_place: MakePlace, router: int
    ) -> None:
        before = contents(router)
        place = make_place()
        run_in(router, "ip", "link", "delete", place.attachment.link)
        opened.detach(place.attachment)
        assert contents(router) == before

    def test_reset_is_heard_although_the_address_has_moved_on(
        self, opened: Network, make_place: MakePlace, router: int
    ) -> None:
        """As after a swap: the route leads to the next generation when the last one's connections are reset."""
        old, new, client = make_place(), make_place(), make_place()
        opened.allow(old.address, client.address)
        with connected(client.netns, old.netns, old.address) as (near, _):
            run_in(router, "ip", "route", "replace", str(old.address), "dev", new.attachment.link)
            opened.reset_connections(old.attachment)
            with pytest.raises(ConnectionResetError):
                near.recv(1)

    def test_node_with_an_address_of_its_own_is_seen_as_the_gateway(
        self, network: Network, router: int, make_sandbox: Callable[[], int]
    ) -> None:
        run_in(router, "ip", "address", "add", "198.51.100.1/32", "dev", "lo")
        network.open()
        sandbox = make_sandbox()
        network.attach(sandbox, FIRST)
        with connected(router, sandbox, FIRST) as (_, far):
            assert far.getpeername()[0] == str(NODE)
        network.close()

    def test_names_of_links_do_not_come_again(self, opened: Network, make_sandbox: Callable[[], int]) -> None:
        sandbox = make_sandbox()
        first = opened.attach(sandbox, FIRST)
        opened.detach(first)
        assert opened.attach(sandbox, FIRST).link != first.link

    def test_detaching_an_old_attachment_leaves_the_new_one(
        self, opened: Network, make_sandbox: Callable[[], int], router: int
    ) -> None:
        sandbox = make_sandbox()
        old = opened.attach(sandbox, FIRST)
        opened.detach(old)
        opened.attach(sandbox, FIRST)
        opened.detach(old)
        with connected(router, sandbox, FIRST):
            pass

    def test_what_a_killed_process_left_is_swept(self, router: int, make_sandbox: Callable[[], int]) -> None:
        before = contents(router)
        leaving = Path(__file__).with_name("network_leaver.py")
        run_in(router, sys.executable, str(leaving), f"/proc/{os.getpid()}/fd/{make_sandbox()}")
        assert " c1@" in run_in(router, "ip", "link")
        network = LinuxNetwork(router)
        network.open()
        assert " c1@" not in run_in(router, "ip", "link")
        network.close()
        assert contents(router) == before

    def test_works_in_the_namespace_of_the_calling_thread(self, router: int) -> None:
        network = LinuxNetwork()
        in_netns(router, network.open)
        assert str(NODE) in run_in(router, "ip", "address")
        network.close()
        assert str(NODE) not in run_in(router, "ip", "address")
