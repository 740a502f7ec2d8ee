"""A host with one interface and the world at its other end, in network namespaces of a test's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from tfnode.kernel.namespaces import in_netns
from tfnode.network.rtnetlink import End, Rtnetlink
from tfnode.testing.netns import fresh_netns, run_in

HOST = "192.0.2.1"
OUTSIDE = "192.0.2.9"


@dataclass(frozen=True)
class World:
    """Descriptors of the two namespaces."""

    host: int
    outside: int


@contextlib.contextmanager
def made_world() -> Iterator[World]:
    """Both, joined, for the length of a block."""
    with fresh_netns() as host, fresh_netns() as outside:
        with contextlib.closing(in_netns(host, Rtnetlink)) as routes:
            routes.create_veth(
                End("eth0", bytes.fromhex("027700000001"), host), End("eth0", bytes.fromhex("027700000002"), outside)
            )
        for netns, address in ((host, HOST), (outside, OUTSIDE)):
            run_in(netns, "ip", "link", "set", "lo", "up")
            run_in(netns, "ip", "address", "add", f"{address}/24", "dev", "eth0")
            run_in(netns, "ip", "link", "set", "eth0", "up")
        yield World(host, outside)
