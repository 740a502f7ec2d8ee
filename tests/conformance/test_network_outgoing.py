"""Outgoing connections: a node behind an uplink, a host that forwards and a world outside, all in the test's namespaces."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from ipaddress import IPv4Interface

import pytest

from tests.support.beyond import HOST, OUTSIDE, World, made_world
from tfnode.network.interface import Network
from tfnode.network.linux import LinuxNetwork
from tfnode.network.uplink import Outgoing, Uplink, open_uplink
from tfnode.testing.netns import (
    connect,
    connected,
    datagrams,
    forge,
    fresh_netns,
    listen,
    refused,
    run_in,
)
from tfnode.testing.network_suite import METADATA, Fixtures, MakePlace

CONTAINERS = "10.117.0.0/16"


@pytest.fixture
def world() -> Iterator[World]:
    with made_world() as made:
        yield made


class TestOutgoing(Fixtures):
    @pytest.fixture
    def network(self, router: int) -> LinuxNetwork:
        return LinuxNetwork(router)

    @pytest.fixture
    def uplink(self, world: World, router: int) -> Iterator[Uplink]:
        made = open_uplink(router, Outgoing.ON, host=world.host)
        yield made
        made.close()

    def test_outside_sees_the_host(self, uplink: Uplink, make_place: MakePlace, world: World) -> None:
        for place in (make_place(), make_place()):
            with connected(place.netns, world.outside, OUTSIDE) as (_, far):
                assert far.getpeername()[0] == HOST

    def test_uplink_may_come_after_containers(self, make_place: MakePlace, world: World, router: int) -> None:
        place = make_place()
        refused(place.netns, OUTSIDE, 80)
        with contextlib.closing(open_uplink(router, Outgoing.ON, host=world.host)):
            connected_once(place.netns, world.outside)
        refused(place.netns, OUTSIDE, 80)

    def test_outside_does_not_reach_a_container(
        self, opened: Network, uplink: Uplink, make_place: MakePlace, world: World
    ) -> None:
        """Not even through a host that was told where containers are, under the name of one that is allowed."""
        place, friend = make_place(), make_place()
        opened.allow(place.address, friend.address)
        run_in(world.outside, "ip", "route", "add", CONTAINERS, "via", HOST)
        run_in(world.host, "ip", "route", "add", CONTAINERS, "via", node_side(uplink, world))
        with datagrams(place.netns, 53) as receiver:
            for source in (IPv4Interface(f"{OUTSIDE}/24").ip, friend.address):
                forge(world.outside, source, place.address, 53, b"from outside")
                forge(world.host, source, place.address, 53, b"from the host")
            connected_once(place.netns, world.outside)
            receiver.setblocking(False)
            with pytest.raises(BlockingIOError):
                receiver.recv(20)

    def test_nobody_outside_reaches_the_node(self, opened: Network, uplink: Uplink, world: World, router: int) -> None:
        address = node_side(uplink, world)
        run_in(world.outside, "ip", "route", "add", address, "via", HOST)
        with listen(router, 80):
            for netns in (world.host, world.outside):
                assert isinstance(refused(netns, address, 80), ConnectionRefusedError)

    def test_container_does_not_reach_the_hosts_services(
        self, uplink: Uplink, make_place: MakePlace, world: World
    ) -> None:
        place = make_place()
        with listen(world.host, 80):
            for address in (HOST, host_side(uplink, world)):
                assert isinstance(refused(place.netns, address, 80), ConnectionRefusedError)

    def test_container_does_not_reach_metadata(self, uplink: Uplink, make_place: MakePlace, world: World) -> None:
        run_in(world.outside, "ip", "address", "add", f"{METADATA}/32", "dev", "lo")
        run_in(world.host, "ip", "route", "add", f"{METADATA}/32", "via", OUTSIDE)
        with listen(world.outside, 80):
            connect(world.host, METADATA, 80).close()
            assert isinstance(refused(make_place().netns, METADATA, 80), ConnectionRefusedError)

    def test_forged_source_does_not_get_out(self, uplink: Uplink, make_place: MakePlace, world: World) -> None:
        place, other = make_place(), make_place()
        target = IPv4Interface(f"{OUTSIDE}/24").ip
        with datagrams(world.outside, 53) as receiver:
            forge(place.netns, other.address, target, 53, b"forged")
            forge(place.netns, IPv4Interface(f"{HOST}/24").ip, target, 53, b"forged")
            forge(place.netns, place.address, target, 53, b"genuine")
            assert receiver.recvfrom(10) == (b"genuine", (HOST, 1))

    def test_host_lets_only_the_uplinks_address_through(self, uplink: Uplink, world: World, router: int) -> None:
        target = IPv4Interface(f"{OUTSIDE}/24").ip
        with datagrams(world.outside, 53) as receiver:
            forge(router, IPv4Interface("198.51.100.1/32").ip, target, 53, b"forged")
            forge(router, IPv4Interface(node_side(uplink, world)).ip, target, 53, b"genuine")
            assert receiver.recvfrom(10) == (b"genuine", (HOST, 1))

    def test_containers_stay_apart_behind_an_uplink(self, uplink: Uplink, make_place: MakePlace, world: World) -> None:
        here, there = make_place(), make_place()
        with listen(there.netns, 80):
            assert isinstance(refused(here.netns, there.address, 80), ConnectionRefusedError)

    def test_host_gets_no_route_to_containers(self, uplink: Uplink, make_place: MakePlace, world: World) -> None:
        make_place()
        routes = run_in(world.host, "ip", "route", "show", "table", "all")
        assert "10.117." not in routes

    def test_two_nodes_on_one_host(self, uplink: Uplink, make_place: MakePlace, world: World, router: int) -> None:
        with fresh_netns() as second, contextlib.closing(open_uplink(second, Outgoing.ON, host=world.host)) as other:
            assert other.link != uplink.link
            connected_once(second, world.outside)
            connected_once(make_place().netns, world.outside)
            with listen(second, 80):
                assert isinstance(refused(make_place().netns, node_side(other, world), 80), ConnectionRefusedError)
                assert isinstance(refused(router, node_side(other, world), 80), ConnectionRefusedError)


def connected_once(client: int, outside: int) -> None:
    with connected(client, outside, OUTSIDE):
        pass


def host_side(uplink: Uplink, world: World) -> str:
    return run_in(world.host, "ip", "-oneline", "-4", "address", "show", uplink.link).split()[3].split("/")[0]


def node_side(uplink: Uplink, world: World) -> str:
    return str(IPv4Interface(host_side(uplink, world)).ip + 1)
