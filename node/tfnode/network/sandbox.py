"""A sandbox's own network namespace, seen from inside: settings, loopback, and the way to its router.

Everything is done through sockets opened inside once; the namespace lives at least as long as they do. Knows nothing
of rules.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from tfcore.undo import Undo
from tfnode.kernel.confinement import roomiest_extent
from tfnode.kernel.namespaces import in_netns
from tfnode.network import sysctl
from tfnode.network.rtnetlink import Rtnetlink
from tfnode.network.sockdiag import SockDiag

LINK = "eth0"
"""What the container's end is called inside."""
LOOPBACK = 1
"""The index of `lo` in every network namespace."""
LAST_GROUP = 2_147_483_647
"""The last of a range of groups that the kernel takes."""
ANYWHERE = IPv4Network("0.0.0.0/0")

SETTINGS = {
    # As containers elsewhere have it: services listen below 1024 and (`_all_groups`) ping works, whoever they run as.
    "ipv4/ip_unprivileged_port_start": "0",
    # Links made from now on have no IPv6, so there is no link-local way around the rules; ::1 stays on the loopback.
    "ipv6/conf/default/disable_ipv6": "1",
}


def mac_of(address: IPv4Address) -> bytes:
    """The MAC of the container at `address`: locally administered, the same wherever and whenever that address is
    attached.
    """
    return b"\x02\x74" + address.packed


class SandboxNetwork:
    """Sockets inside a sandbox's network namespace.

    Attributes:
        connections: sees and ends the sandbox's connections.
    """

    def __init__(self, netns: int) -> None:
        """Enter `netns` once and prepare it: settings made, loopback up.

        Raises:
            HostLacks: a setting cannot be changed.
            NetlinkRefused: the kernel refused.
        """
        with Undo() as undo:
            self._routes, self.connections = in_netns(netns, lambda: _enter(undo))
            self._routes.set_up(LOOPBACK)
            undo.done()

    def connect(
        self, address: IPv4Address, gateway: IPv4Address, gateway_mac: bytes, *, alias: IPv4Address | None = None
    ) -> None:
        """Give the link inside its address, and send everything by it to `gateway`. NetlinkRefused if the kernel
        refuses.

        Args:
            alias: a second address, which new connections come from until `speak_from`.
        """
        self._link, self._gateway = self._routes.link_index(LINK), gateway
        self._routes.add_address(self._link, IPv4Interface(address))
        if alias is not None:
            self._routes.add_address(self._link, IPv4Interface(alias))
        self._routes.set_up(self._link)
        self._routes.add_neighbour(self._link, gateway, gateway_mac)
        self._routes.route_to_link(IPv4Network(gateway), self._link)
        self._routes.route_via(ANYWHERE, gateway, self._link, source=alias)

    def speak_from(self, source: IPv4Address | None = None) -> None:
        """New connections come from `source`, by default the first address. NetlinkRefused if the kernel refuses."""
        self._routes.route_via(ANYWHERE, self._gateway, self._link, source=source)

    def ready(self) -> SockDiag:
        """End the setting up; what is handed out sees and ends the sandbox's connections, and is the caller's to close."""
        self._routes.close()
        return self.connections

    def close(self) -> None:
        """Close all sockets; twice is harmless."""
        self._routes.close()
        self.connections.close()


def _all_groups() -> str:
    """The first and the last group id there is; in a user namespace the kernel takes no other."""
    here = roomiest_extent(Path("/proc/self/gid_map").read_text())
    return f"{here.inside}\t{min(here.inside + here.count - 1, LAST_GROUP)}"


def _enter(undo: Undo) -> tuple[Rtnetlink, SockDiag]:
    sysctl.write({**SETTINGS, "ipv4/ping_group_range": _all_groups()})
    routes = Rtnetlink()
    undo.push(routes.close)
    connections = SockDiag()
    undo.push(connections.close)
    return routes, connections
