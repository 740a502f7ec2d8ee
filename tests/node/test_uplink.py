"""The uplink: what its modes say and do, what it leaves, and how it gets along with the host's firewall."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from tfcore.errors import CommandFailed, Exhausted
from tfnode.kernel.namespaces import in_netns, make_netns
from tfnode.network.host_firewall import refusing_chains
from tfnode.network.rtnetlink import End, Rtnetlink
from tfnode.network.uplink import NOT_FORWARDING, TURNED_OFF, Outgoing, free_pair, open_uplink
from tfnode.testing.netns import PATIENCE, connected, contents, fresh_netns, run_in

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
RTMGRP_LINK = 1
OPENER = Path(__file__).with_name("uplink_opener.py")


@pytest.fixture
def host() -> Iterator[int]:
    """A host that does not forward; the setting is inherited from the machine the test runs on."""
    with fresh_netns() as netns:
        run_in(netns, "ip", "link", "set", "lo", "up")
        in_netns(netns, lambda: FORWARDING.write_text("0"))
        yield netns


@pytest.fixture
def node() -> Iterator[int]:
    with fresh_netns() as netns:
        yield netns


def forward(netns: int) -> None:
    in_netns(netns, lambda: FORWARDING.write_text("1"))


def forwards(netns: int) -> bool:
    return in_netns(netns, FORWARDING.read_text).strip() == "1"


def docker_user(netns: int) -> list[str]:
    return run_in(netns, "iptables", "-S", "DOCKER-USER").splitlines()


@pytest.fixture
def docker_host(host: int) -> int:
    """A host with the forwarding rules Docker makes."""
    if shutil.which("iptables") is None:
        pytest.skip("iptables is not installed, so there is no Docker to get along with")
    for rule in ("-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-A FORWARD -j DOCKER-USER", "-P FORWARD DROP"):
        run_in(host, "iptables", *rule.split())
    return host


def test_off_makes_nothing(host: int, node: int) -> None:
    forward(host)
    before = contents(host), contents(node)
    uplink = open_uplink(node, Outgoing.OFF, host=host)
    assert (uplink.link, uplink.sentence) == ("", TURNED_OFF)
    assert (contents(host), contents(node)) == before
    uplink.close()


def test_auto_makes_nothing_where_the_host_does_not_forward(host: int, node: int) -> None:
    before = contents(host), contents(node)
    uplink = open_uplink(node, Outgoing.AUTO, host=host)
    assert (uplink.link, uplink.sentence) == ("", NOT_FORWARDING)
    assert "outgoing=on" in uplink.sentence
    assert (contents(host), contents(node)) == before
    assert not forwards(host)
    uplink.close()


def test_auto_takes_the_uplink_where_the_host_forwards(host: int, node: int) -> None:
    forward(host)
    with contextlib.closing(open_uplink(node, Outgoing.AUTO, host=host)) as uplink:
        assert uplink.link in run_in(host, "ip", "link")
        assert uplink.sentence == f"Outgoing connections leave by {uplink.link}, with this machine's own address."


def test_on_makes_the_host_forward(host: int, node: int) -> None:
    open_uplink(node, Outgoing.ON, host=host).close()
    assert forwards(host)


def test_close_leaves_nothing(host: int, node: int) -> None:
    before = contents(host), contents(node), len(os.listdir("/proc/self/fd"))
    uplink = open_uplink(node, Outgoing.ON, host=host)
    uplink.close()
    uplink.close()
    assert (contents(host), contents(node), len(os.listdir("/proc/self/fd"))) == before


def test_host_side_has_no_ipv6(host: int, node: int) -> None:
    with contextlib.closing(open_uplink(node, Outgoing.ON, host=host)) as uplink:
        assert uplink.link not in run_in(host, "ip", "-6", "address")
        assert "up0" not in run_in(node, "ip", "-6", "address")


def test_node_that_has_gone_first_is_no_error(host: int) -> None:
    before = contents(host)
    node = make_netns()
    uplink = open_uplink(node, Outgoing.ON, host=host)
    run_in(node, "ip", "link", "delete", "up0")
    os.close(node)
    uplink.close()
    assert contents(host) == before


def test_failure_is_undone(host: int, node: int) -> None:
    """The node has a link of the uplink's name already."""
    run_in(node, "ip", "link", "add", "up0", "type", "veth")
    before = contents(host), contents(node), len(os.listdir("/proc/self/fd"))
    with pytest.raises(CommandFailed, match=r"cannot make the uplink: make the links tf.* File exists"):
        open_uplink(node, Outgoing.ON, host=host)
    assert (contents(host), contents(node), len(os.listdir("/proc/self/fd"))) == before


def test_auto_says_what_failed(host: int, node: int) -> None:
    forward(host)
    run_in(node, "ip", "link", "add", "up0", "type", "veth")
    uplink = open_uplink(node, Outgoing.AUTO, host=host)
    assert uplink.link == ""
    assert re.match(r"Outgoing connections are off: cannot make the uplink: .*File exists", uplink.sentence)
    uplink.close()


def test_killed_launcher_leaves_nothing(host: int) -> None:
    """The node's namespace dies with the process here, as it does when the launcher takes its agent along."""
    before = contents(host)
    command = ["nsenter", f"--net=/proc/self/fd/{host}", sys.executable, str(OPENER)]
    with subprocess.Popen(command, pass_fds=[host], stdout=subprocess.PIPE, text=True) as opener:
        assert opener.stdout is not None
        link = opener.stdout.readline().strip()
        assert f"table ip {link}" in run_in(host, "nft", "list", "tables")
        opener.send_signal(signal.SIGKILL)
        opener.wait()
    await_end_of_link(host, link)
    assert contents(host) == before


def await_end_of_link(host: int, link: str) -> None:
    """The kernel takes dead namespaces down in the background, and tells those who watch links."""
    with in_netns(host, watch_links) as news:
        while link in run_in(host, "ip", "link"):
            news.recv(65536)


def watch_links() -> socket.socket:
    news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    news.bind((0, RTMGRP_LINK))
    news.settimeout(PATIENCE)
    return news


def test_rules_of_vanished_uplinks_are_swept(host: int, node: int) -> None:
    run_in(host, "nft", "add", "table", "ip", "tf00000000")
    run_in(host, "nft", "add", "table", "ip", "tftp")
    with contextlib.closing(open_uplink(node, Outgoing.ON, host=host)):
        tables = run_in(host, "nft", "list", "tables")
    assert "tf00000000" not in tables
    assert "tftp" in tables


def test_rules_of_other_nodes_are_left_alone(host: int, node: int) -> None:
    with fresh_netns() as second, contextlib.closing(open_uplink(second, Outgoing.ON, host=host)) as first:
        with contextlib.closing(open_uplink(node, Outgoing.ON, host=host)):
            assert first.link in run_in(host, "nft", "list", "tables")
        assert first.link in run_in(host, "nft", "list", "tables")


def test_docker_lets_the_uplink_through_while_it_is_there(docker_host: int, node: int) -> None:
    before = docker_user(docker_host)
    with contextlib.closing(open_uplink(node, Outgoing.ON, host=docker_host)) as uplink:
        expected = [f"-A DOCKER-USER -{way} {uplink.link} -j ACCEPT" for way in ("o", "i")]
        assert docker_user(docker_host)[1:3] == expected
        assert uplink.sentence.endswith("own address.")
    assert docker_user(docker_host) == before


def test_dockers_rules_of_vanished_uplinks_are_swept(docker_host: int, node: int) -> None:
    before = docker_user(docker_host)
    for rule in ("-i tf00000000 -j ACCEPT", "-o tf00000000 -j ACCEPT"):
        run_in(docker_host, "iptables", "-I", "DOCKER-USER", *rule.split())
    run_in(docker_host, "iptables", "-I", "DOCKER-USER", "-i", "tfother", "-j", "ACCEPT")
    open_uplink(node, Outgoing.ON, host=docker_host).close()
    assert docker_user(docker_host) == [before[0], "-A DOCKER-USER -i tfother -j ACCEPT", *before[1:]]


def test_connections_get_past_dockers_drop(docker_host: int, node: int) -> None:
    with fresh_netns() as outside, contextlib.closing(in_netns(docker_host, Rtnetlink)) as routes:
        routes.create_veth(End("eth0", b"\2\x77\0\0\0\1", docker_host), End("eth0", b"\2\x77\0\0\0\2", outside))
        for netns, address in ((docker_host, "192.0.2.1/24"), (outside, "192.0.2.9/24")):
            run_in(netns, "ip", "address", "add", address, "dev", "eth0")
            run_in(netns, "ip", "link", "set", "eth0", "up")
        with (
            contextlib.closing(open_uplink(node, Outgoing.ON, host=docker_host)),
            connected(node, outside, "192.0.2.9"),
        ):
            pass


def test_other_firewalls_are_named(host: int, node: int) -> None:
    run_in(host, "nft", "add", "table", "inet", "mine")
    run_in(
        host, "nft", "add", "chain", "inet", "mine", "transit", "{ type filter hook forward priority 0; policy drop; }"
    )
    with contextlib.closing(open_uplink(node, Outgoing.ON, host=host)) as uplink:
        assert "firewall (mine/transit) refuses" in uplink.sentence
        assert "tf*" in uplink.sentence


def chain(table: str, **more: str) -> dict[str, object]:
    return {"chain": {"family": "ip", "table": table, "name": "c", **more}}


def test_refusing_chains_are_those_that_forward_and_drop() -> None:
    listed = [
        {"metainfo": {"version": "1.0.6"}},
        chain("regular"),
        chain("input", hook="input", policy="drop"),
        chain("open", hook="forward", policy="accept"),
        chain("six", hook="forward", policy="drop", family="ip6"),
        chain("closed", hook="forward", policy="drop"),
        chain("firewalld", hook="forward", policy="accept", family="inet"),
    ]
    assert refusing_chains(json.dumps({"nftables": listed})) == ["closed/c", "firewalld/c"]


def test_pair_of_addresses_is_a_link_of_its_own() -> None:
    here, there = free_pair([], [], draw=lambda _: 5)
    assert (str(here), str(there)) == ("169.254.64.21/30", "169.254.64.22/30")


@pytest.mark.parametrize(
    ("addresses", "routes"),
    [(["169.254.64.2/16"], []), (["169.254.64.1/30"], []), ([], ["169.254.64.0/30"]), ([], ["169.254.64.0/24"])],
)
def test_pair_of_addresses_is_free_on_this_host(addresses: list[str], routes: list[str]) -> None:
    draws = iter([0, 1, 63, 64])
    here, _ = free_pair(
        [IPv4Interface(address) for address in addresses],
        [IPv4Network(route) for route in routes],
        draw=lambda _: next(draws),
    )
    assert here.network == IPv4Network("169.254.65.0/30" if routes == ["169.254.64.0/24"] else "169.254.64.4/30")


def test_wider_networks_do_not_count() -> None:
    routes = [IPv4Network("0.0.0.0/0"), IPv4Network("169.254.0.0/16")]
    here, _ = free_pair([IPv4Interface("169.254.7.7/16")], routes, draw=lambda _: 0)
    assert here.network == IPv4Network("169.254.64.0/30")


def test_no_free_pair_is_said() -> None:
    with pytest.raises(Exhausted, match=r"no free /30 found in 169\.254\.64\.0/18"):
        free_pair([], [IPv4Network("169.254.64.0/19"), IPv4Network("169.254.96.0/19")])
