"""Where containers of an ordinary user's node may go by the thread that stays in the host's network: not to the host."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfnode.kernel.namespaces import in_netns
from tfnode.network.portal import Portal
from tfnode.testing.netns import fresh_netns, listen, run_in

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces of one's own need root")

HOST, SECOND, WORLD, METADATA, PORT = "198.51.100.1", "203.0.113.7", "198.51.100.2", "169.254.169.254", 7001
CLOSED = ["127.0.0.1", "127.8.8.8", "0.0.0.0", HOST, SECOND, METADATA, "255.255.255.255", "224.0.0.1"]


@pytest.fixture
def world() -> Iterator[int]:
    """Beyond the host."""
    with fresh_netns() as netns:
        yield netns


@pytest.fixture
def host(world: int) -> Iterator[int]:
    """With two addresses of its own, a cloud's metadata address, and a way to the world."""
    with fresh_netns() as netns:
        run_in(netns, "ip", "link", "set", "lo", "up")
        for address in (SECOND, METADATA):
            run_in(netns, "ip", "address", "add", f"{address}/32", "dev", "lo")
        run_in(netns, "ip", "link", "add", "beyond", "type", "veth", "peer", "name", "eth0")
        run_in(netns, "ip", "link", "set", "eth0", "netns", f"/proc/{os.getpid()}/fd/{world}")
        for where, link, address in ((netns, "beyond", HOST), (world, "eth0", WORLD)):
            run_in(where, "ip", "address", "add", f"{address}/24", "dev", link)
            run_in(where, "ip", "link", "set", link, "up")
        yield netns


@pytest.fixture
def portal(host: int) -> Iterator[Portal]:
    made = in_netns(host, Portal)
    yield made
    made.close()


@pytest.mark.parametrize("address", CLOSED)
def test_the_host_is_out_of_reach(portal: Portal, host: int, address: str) -> None:
    """By every address it has, though something listens on all of them."""
    with listen(host, PORT), pytest.raises(OSError, match="not for containers") as refused:
        portal.dial(address, PORT)
    assert refused.value.errno == errno.EACCES


def test_the_world_is_not(portal: Portal, world: int) -> None:
    with listen(world, PORT), portal.dial(WORLD, PORT) as dialled:
        assert select.select([], [dialled], [], 20)[1]
        assert dialled.getpeername() == (WORLD, PORT)


def test_its_name_servers_are_asked_for_names_only(portal: Portal, host: int) -> None:
    """They may be on the host; then that is the one port of it that can be reached."""
    with portal.ask_resolver("127.0.0.1") as asking:
        assert asking.getpeername() == ("127.0.0.1", 53)


def test_what_it_opens_is_no_other_programs(portal: Portal, world: int) -> None:
    with listen(world, PORT), portal.dial(WORLD, PORT) as dialled:
        assert not dialled.get_inheritable()
        assert Path(f"/proc/self/fd/{dialled.fileno()}").exists()
