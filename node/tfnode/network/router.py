"""One router namespace: its settings, its rules, its end of every link. The node's own, or that of a group's
generation.

Turns "this link may speak as that address" into kernel objects; who may talk to whom, and what is attached, `linux`
knows.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from tfcore.errors import HostLacks
from tfcore.undo import Undo
from tfnode.kernel.namespaces import in_netns
from tfnode.network import sysctl
from tfnode.network.netlink import NetlinkRefused
from tfnode.network.nftables import Nftables
from tfnode.network.rtnetlink import End, Rtnetlink, mac_bytes
from tfnode.network.rules import ALLOW, CONTAINER_GROUP, GATEWAY, ROUTER_TABLE, SOURCE, pair_elements, source_element
from tfnode.network.sandbox import LINK, LOOPBACK, mac_of
from tfnode.network.sockdiag import SockDiag

MAC = mac_bytes("ee:ee:ee:ee:ee:ee")
"""The router's end of every link; each is a wire of its own, so one for all will do."""

COMPANY_PRIORITY = 7719
"""Of the routing rules of those that are united: before the main table's 32766."""

GONE = (errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EOPNOTSUPP)
"""How the kernel says that there is no such link, rule or route, or that it knows no rules at all."""

Way = tuple[IPv4Address, str]
"""An address and the link that leads to it."""

SETTINGS = {
    "ipv4/ip_forward": "1",
    # A generation that was swapped out still resets its clients although the route to its address leads elsewhere by
    # then; strict or loose reverse-path filtering would drop those resets. Forged sources are the rules' business.
    # Must be 0 before links are made.
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/all/accept_redirects": "0",
    "ipv4/conf/default/accept_redirects": "0",
    "ipv6/conf/default/disable_ipv6": "1",
    # Two generations may have a connection with the same two ends. Neither is to be stopped because its sequence numbers
    # are not the other one's: flows are judged by their addresses here.
    "netfilter/nf_conntrack_tcp_be_liberal": "1",
    # Sandboxes made here look up their TCP connections in tables of their own (Linux 6.1). Listing those of a sandbox, as
    # every rollback does to reset them, otherwise walks through the whole machine's table: 5 ms instead of 0.1.
    "ipv4/tcp_child_ehash_entries": "2048",
}


class Router:
    """The sockets of one router namespace and what is done through them."""

    def __init__(self, netns: int) -> None:
        """Prepare `netns` (a descriptor that is this object's to close from now on): forwarding on, everything refused.

        Raises:
            HostLacks: libnftables or a kernel feature is missing.
            CommandFailed: nftables refused the rules.
            NetlinkRefused: the kernel refused.
        """
        self._netns = netns
        with Undo() as undo:
            undo.push(os.close, netns)
            self._routes = in_netns(netns, Rtnetlink)
            undo.push(self._routes.close)
            self._rules = in_netns(netns, Nftables)
            undo.push(self._rules.close)
            in_netns(netns, _check_kernel)
            self._rules.run(ROUTER_TABLE.load())
            undo.push(self._rules.run, ROUTER_TABLE.delete())
            in_netns(netns, lambda: sysctl.write(SETTINGS))
            self.delete_links()
            self.part_all()
            self._routes.set_up(LOOPBACK)
            self._routes.add_address(LOOPBACK, IPv4Interface(GATEWAY))
            undo.done()

    def add_link(self, link: str, netns: int, address: IPv4Address) -> None:
        """Join the namespace `netns` to this one by a veth pair; `address` is at its other end. NetlinkRefused if
        refused.
        """
        near = End(link, MAC, self._netns, CONTAINER_GROUP)
        self._routes.create_veth(near, End(LINK, mac_of(address), netns))
        index = self._routes.link_index(link)
        self._routes.set_up_without_arp(index)
        self._routes.add_neighbour(index, address, mac_of(address))

    def know(self, alias: IPv4Address, link: str, address: IPv4Address) -> None:
        """Expect `alias` behind a link as well. NetlinkRefused if refused."""
        self._routes.add_neighbour(self._routes.link_index(link), alias, mac_of(address))

    def route(self, address: IPv4Address, link: str) -> None:
        """Send what is for `address` by `link`, whose other end is up, in one step if it went elsewhere before.

        NetlinkRefused if refused.
        """
        self._routes.route_to_link(IPv4Network(address), self._carrying(link), source=GATEWAY)

    def unite(self, table: int, members: Sequence[Way]) -> None:
        """What comes by one of these links and is for another one's address goes to that one's link, whoever is reached
        under the address. Nothing remains if that fails. NetlinkRefused if refused.

        Args:
            table: a number of a routing table that nobody uses.
        """
        with Undo() as undo:
            undo.push(self.part, table, members)
            for address, link in members:
                self._routes.route_to_link(IPv4Network(address), self._carrying(link), table=table)
            for _, link in members:
                self._routes.add_rule(link, table, COMPANY_PRIORITY)
            undo.done()

    def part(self, table: int, members: Sequence[Way]) -> None:
        """Take `unite` back, also where it went only half way or links have gone. NetlinkRefused if refused."""
        for _, link in members:
            _unless_gone(self._routes.delete_rule, link)
        for address, _ in members:
            _unless_gone(self._routes.delete_route, IPv4Network(address), table)

    def _carrying(self, link: str) -> int:
        """The link's number, once its other end is up: until then its packets are dropped."""
        index = self._routes.link_index(link)
        self._routes.await_carrier(index)
        return index

    def part_all(self) -> None:
        """Nobody is united any more; routes go with their links. NetlinkRefused if refused."""
        while _unless_gone(self._routes.delete_rule_of, COMPANY_PRIORITY):
            pass

    def delete_link(self, link: str) -> None:
        """Delete a link with its routes and neighbours; it may be gone with its namespace. NetlinkRefused if refused."""
        _unless_gone(self._routes.delete_link, link)

    def delete_links(self) -> None:
        """Delete every container's link. NetlinkRefused if refused."""
        _unless_gone(self._routes.delete_group, CONTAINER_GROUP)

    def accept(self, link: str, address: IPv4Address) -> None:
        """Let packets from `link` have `address` as their source. CommandFailed if refused."""
        self._rules.run(ROUTER_TABLE.add_elements(SOURCE, [source_element(link, address)]))

    def accept_no_more(self, link: str, address: IPv4Address) -> None:
        """Take `accept` back. CommandFailed if refused."""
        self._rules.run(ROUTER_TABLE.delete_elements(SOURCE, [source_element(link, address)]))

    def permit(self, one: IPv4Address, other: IPv4Address) -> None:
        """Let two addresses talk, whichever begins. CommandFailed if refused."""
        self._rules.run(ROUTER_TABLE.add_elements(ALLOW, pair_elements(one, other)))

    def forbid(self, one: IPv4Address, other: IPv4Address) -> None:
        """Take `permit` back, for live flows too from their next packet on. CommandFailed if refused."""
        self._rules.run(ROUTER_TABLE.delete_elements(ALLOW, pair_elements(one, other)))

    def close(self) -> None:
        """Remove links, rules and the router's own address. Raises as the steps do; all are taken."""
        with ExitStack() as steps:
            steps.callback(os.close, self._netns)
            steps.callback(self._routes.close)
            steps.callback(self._rules.close)
            steps.callback(self._rules.run, ROUTER_TABLE.delete())
            steps.callback(self._routes.delete_address, LOOPBACK, IPv4Interface(GATEWAY))
            steps.callback(self.delete_links)
            steps.callback(self.part_all)


def _unless_gone(delete: Callable[..., None], *what: object) -> bool:
    """False if there was nothing to delete."""
    try:
        delete(*what)
    except NetlinkRefused as refused:
        if refused.errno not in GONE:
            raise
        return False
    return True


def _check_kernel() -> None:
    with closing(SockDiag()) as connections:
        if not connections.can_reset():
            raise HostLacks(
                "this kernel cannot end TCP connections, so a rollback would leave its clients waiting",
                hint="use a kernel built with CONFIG_INET_DIAG_DESTROY",
            )
