"""Links, addresses, neighbours, routes and routing rules of one network namespace, by rtnetlink.

Our own, because each `ip` process costs ten milliseconds and library sockets that open themselves again in another
thread act in the wrong namespace. IPv4 only. Numbers are those of linux/rtnetlink.h, if_link.h, if_addr.h,
neighbour.h and fib_rules.h. Knows nothing of containers.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from tfnode.network.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NetlinkRefused,
    NetlinkSocket,
    attribute,
    attributes,
)

NETLINK_ROUTE = 0

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26
RTM_NEWNEIGH = 28
RTM_NEWRULE = 32
RTM_DELRULE = 33

IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_OPERSTATE = 16
IFLA_LINKINFO = 18
IFLA_GROUP = 27
IFLA_NET_NS_FD = 28
IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
VETH_INFO_PEER = 1
IFF_UP = 0x1
IFF_NOARP = 0x80
IF_OPER_UP = 6

IFA_ADDRESS = 1
IFA_LOCAL = 2

NDA_DST = 1
NDA_LLADDR = 2
NUD_PERMANENT = 0x80

RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PREFSRC = 7
RTA_TABLE = 15
RT_TABLE_MAIN = 254
RTPROT_BOOT = 3
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_SCOPE_NOWHERE = 255
RTN_UNICAST = 1

FRA_IIFNAME = 3
FRA_PRIORITY = 6
FRA_TABLE = 15
FR_ACT_TO_TBL = 1

MTU = 1500
"""What every path takes; smaller ones further out announce themselves (path MTU discovery)."""
CARRIER_PAUSE = 0.0002
CARRIER_ATTEMPTS = 25_000
"""Five seconds in all; usually the first attempt succeeds."""


@dataclass(frozen=True)
class End:
    """One end of a veth pair to be made.

    Attributes:
        name: at most 15 bytes, unused in its namespace.
        mac: six bytes.
        netns: the namespace it is made in.
        group: the link group, by which rules match and which can be deleted as one; 0 is the default group.
    """

    name: str
    mac: bytes
    netns: int
    group: int = 0


def mac_bytes(text: str) -> bytes:
    """`ee:ee:ee:ee:ee:ee` as six bytes."""
    return bytes.fromhex(text.replace(":", ""))


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    """struct ifinfomsg: `change` says which of `flags` count."""
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def _end(end: End) -> bytes:
    return (
        attribute(IFLA_IFNAME, end.name)
        + attribute(IFLA_ADDRESS, end.mac)
        + attribute(IFLA_MTU, MTU)
        + attribute(IFLA_GROUP, end.group)
        + attribute(IFLA_NET_NS_FD, end.netns)
    )


class Rtnetlink:
    """Requests to the namespace this object was made in. Every method raises `NetlinkRefused` with the kernel's
    reason.
    """

    def __init__(self) -> None:
        self._netlink = NetlinkSocket(NETLINK_ROUTE)

    def create_veth(self, near: End, far: End) -> None:
        """Make a veth pair with each end already inside its namespace: no renaming, no moving, no gap in which it is
        elsewhere.
        """
        peer = attribute(VETH_INFO_PEER, _link() + _end(far))
        info = attribute(IFLA_INFO_KIND, b"veth") + attribute(IFLA_INFO_DATA, peer)
        self._netlink.request(
            RTM_NEWLINK,
            _link() + _end(near) + attribute(IFLA_LINKINFO, info),
            flags=NLM_F_CREATE | NLM_F_EXCL,
            doing=f"make the links {near.name} and {far.name}",
        )

    def delete_link(self, name: str) -> None:
        """Delete the link `name` (of a veth pair: both ends), with its addresses, routes and neighbours."""
        self._netlink.request(RTM_DELLINK, _link() + attribute(IFLA_IFNAME, name), doing=f"delete the link {name}")

    def delete_group(self, group: int) -> None:
        """Delete all links of `group`; ENODEV if there is none."""
        self._netlink.request(
            RTM_DELLINK, _link() + attribute(IFLA_GROUP, group), doing=f"delete the links of group {group}"
        )

    def link_index(self, name: str) -> int:
        """The kernel's number of the link `name`."""
        body = _link() + attribute(IFLA_IFNAME, name)
        found = self._netlink.request(RTM_GETLINK, body, doing=f"look up the link {name}")
        return int(struct.unpack_from("=i", found[0], 4)[0])

    def await_carrier(self, index: int) -> None:
        """Wait until a link passes packets. The kernel does that some time after both ends are up; until then it
        drops them.

        Raises:
            NetlinkRefused: ETIMEDOUT, with the state last seen; the other end is probably down.
        """
        for _ in range(CARRIER_ATTEMPTS):
            found = self._netlink.request(RTM_GETLINK, _link(index), doing=f"look at link {index}")
            state = attributes(found[0][16:]).get(IFLA_OPERSTATE, b"\0")[0]
            if state == IF_OPER_UP:
                return
            time.sleep(CARRIER_PAUSE)
        raise NetlinkRefused(errno.ETIMEDOUT, f"link {index} does not come up: its operational state is still {state}")

    def link_names(self) -> list[str]:
        """The names of all links."""
        found = self._netlink.dump(RTM_GETLINK, _link(), doing="list the links")
        return [attributes(body[16:])[IFLA_IFNAME].rstrip(b"\0").decode() for body in found]

    def set_up(self, index: int) -> None:
        """Bring a link up."""
        self._netlink.request(RTM_NEWLINK, _link(index, IFF_UP, IFF_UP), doing=f"bring link {index} up")

    def set_up_without_arp(self, index: int) -> None:
        """Bring a link up that neither asks nor answers ARP: its neighbours are all told beforehand."""
        both = IFF_UP | IFF_NOARP
        self._netlink.request(RTM_NEWLINK, _link(index, both, both), doing=f"bring link {index} up")

    def add_address(self, index: int, interface: IPv4Interface) -> None:
        """Give a link an address; having it already is no error."""
        self._netlink.request(
            RTM_NEWADDR,
            _address(index, interface),
            flags=NLM_F_CREATE | NLM_F_REPLACE,
            doing=f"add the address {interface}",
        )

    def delete_address(self, index: int, interface: IPv4Interface) -> None:
        """Take an address from a link; EADDRNOTAVAIL if it has not got it."""
        self._netlink.request(RTM_DELADDR, _address(index, interface), doing=f"delete the address {interface}")

    def addresses(self) -> list[IPv4Interface]:
        """The addresses of all links, with their networks."""
        body = struct.pack("=BBBBi", socket.AF_INET, 0, 0, 0, 0)
        return [_interface_of(found) for found in self._netlink.dump(RTM_GETADDR, body, doing="list the addresses")]

    def add_neighbour(self, index: int, address: IPv4Address, mac: bytes) -> None:
        """Tell for good which MAC `address` has on a link, so that nobody asks."""
        head = struct.pack("=BxxxiHBB", socket.AF_INET, index, NUD_PERMANENT, 0, 0)
        self._netlink.request(
            RTM_NEWNEIGH,
            head + attribute(NDA_DST, address.packed) + attribute(NDA_LLADDR, mac),
            flags=NLM_F_CREATE | NLM_F_REPLACE,
            doing=f"add the neighbour {address}",
        )

    def route_to_link(
        self,
        destination: IPv4Network,
        index: int,
        *,
        source: IPv4Address | None = None,
        table: int = RT_TABLE_MAIN,
    ) -> None:
        """Send `destination` out of a link, replacing the table's route to it in one step.

        `source` is the address that this namespace's own connections to it come from.
        """
        extra = b"" if source is None else attribute(RTA_PREFSRC, source.packed)
        self._route(destination, RT_SCOPE_LINK, attribute(RTA_OIF, index) + extra, table)

    def delete_route(self, destination: IPv4Network, table: int) -> None:
        """Delete a table's route; ESRCH if it has gone, as with its link."""
        head = _route_head(destination, RT_SCOPE_NOWHERE)
        where = attribute(RTA_DST, destination.network_address.packed) + attribute(RTA_TABLE, table)
        self._netlink.request(RTM_DELROUTE, head + where, doing=f"delete the route to {destination} of table {table}")

    def add_rule(self, link: str, table: int, priority: int) -> None:
        """What comes in by `link` goes where `table` says, if it says anything; rules are asked by their priority."""
        self._netlink.request(
            RTM_NEWRULE,
            _rule(FR_ACT_TO_TBL)
            + attribute(FRA_IIFNAME, link)
            + attribute(FRA_TABLE, table)
            + attribute(FRA_PRIORITY, priority),
            flags=NLM_F_CREATE | NLM_F_EXCL,
            doing=f"add the rule for {link}",
        )

    def delete_rule(self, link: str) -> None:
        """Delete a rule for `link`, which may be gone; ENOENT if there is none."""
        self._netlink.request(RTM_DELRULE, _rule() + attribute(FRA_IIFNAME, link), doing=f"delete the rule for {link}")

    def delete_rule_of(self, priority: int) -> None:
        """Delete one rule of this priority; ENOENT if there is none."""
        body = _rule() + attribute(FRA_PRIORITY, priority)
        self._netlink.request(RTM_DELRULE, body, doing=f"delete a rule of priority {priority}")

    def route_via(
        self, destination: IPv4Network, gateway: IPv4Address, index: int, *, source: IPv4Address | None = None
    ) -> None:
        """Send `destination` to `gateway` on a link, replacing the route to it in one step.

        `source` is the address that new connections to it come from, by default the link's first one.
        """
        extra = b"" if source is None else attribute(RTA_PREFSRC, source.packed)
        how = attribute(RTA_GATEWAY, gateway.packed) + attribute(RTA_OIF, index) + extra
        self._route(destination, RT_SCOPE_UNIVERSE, how)

    def routes(self) -> list[IPv4Network]:
        """The destinations in the main table."""
        head = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        return list(_main_destinations(self._netlink.dump(RTM_GETROUTE, head, doing="list the routes")))

    def close(self) -> None:
        """Close the socket; twice is harmless."""
        self._netlink.close()

    def _route(self, destination: IPv4Network, scope: int, how: bytes, table: int = RT_TABLE_MAIN) -> None:
        where = attribute(RTA_DST, destination.network_address.packed) if destination.prefixlen else b""
        body = _route_head(destination, scope) + where + how + attribute(RTA_TABLE, table)
        self._netlink.request(RTM_NEWROUTE, body, flags=NLM_F_CREATE | NLM_F_REPLACE, doing=f"route {destination}")


def _route_head(destination: IPv4Network, scope: int) -> bytes:
    """struct rtmsg; the table is told by an attribute, since it may have more than eight bits."""
    length = destination.prefixlen
    return struct.pack("=BBBBBBBBI", socket.AF_INET, length, 0, 0, 0, RTPROT_BOOT, scope, RTN_UNICAST, 0)


def _rule(action: int = 0) -> bytes:
    """struct fib_rule_hdr."""
    return struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, action, 0)


def _address(index: int, interface: IPv4Interface) -> bytes:
    """Scope universe even for link-local addresses: masquerading chooses no other."""
    head = struct.pack("=BBBBi", socket.AF_INET, interface.network.prefixlen, 0, RT_SCOPE_UNIVERSE, index)
    packed = interface.ip.packed
    return head + attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)


def _interface_of(body: bytes) -> IPv4Interface:
    return IPv4Interface((attributes(body[8:])[IFA_LOCAL], body[1]))


def _main_destinations(bodies: list[bytes]) -> Iterator[IPv4Network]:
    for body in bodies:
        if body[4] == RT_TABLE_MAIN:
            yield IPv4Network((attributes(body[12:]).get(RTA_DST, bytes(4)), body[1]))
