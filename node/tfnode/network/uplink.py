"""The launcher's half of the network: the one link by which a node's router namespace reaches the world outside.

Runs in the host's namespace. A veth pair with a /30 of its own joins the host and the node. What containers send is
masqueraded by the node with its end of it, and by the host with the host's address, so the host never gets a route to
a container. If nothing is to go out there is no uplink at all. The pair goes when the node's namespace goes, the
host's rules when the socket that loaded them is closed; so nothing is left of a node that was killed, but for two
rules in Docker's firewall, if there is one, which name a link that does not exist and which the next node sweeps.
"""

from __future__ import annotations

import enum
import errno
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from tfcore.errors import CommandFailed, Exhausted, TfError
from tfnode.kernel.namespaces import current_netns, in_netns
from tfnode.network import host_firewall, sysctl
from tfnode.network.netlink import NetlinkRefused
from tfnode.network.nftables import Nftables
from tfnode.network.refusals import refusals_of
from tfnode.network.rtnetlink import End, Rtnetlink
from tfnode.network.rules import UPLINK, host_table
from tfnode.network.sandbox import ANYWHERE

log = logging.getLogger(__name__)

NAME = re.compile(r"\Atf[0-9a-f]{8}\Z")
"""What uplinks and their tables are called on the host."""
RANGE = IPv4Network("169.254.64.0/18")
"""Where uplinks' addresses come from: link-local, so no network beyond the host can be hidden by them; clear of the
first and the last 256, which RFC 3927 reserves, and of the addresses clouds use."""
ATTEMPTS = 200

TURNED_OFF = "Outgoing connections are off, as asked (outgoing=off)."
NOT_FORWARDING = (
    "Outgoing connections are off because this machine forwards no packets (net.ipv4.ip_forward is 0): "
    "start the node with outgoing=on, or run `sysctl -w net.ipv4.ip_forward=1` first."
)


class Outgoing(enum.Enum):
    """Whether containers may open connections to the world outside.

    AUTO: if the host forwards packets already. ON: the host is told to, and goes on forwarding afterwards, as with
    Docker.
    """

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True)
class Uplink:
    """What `open_uplink` has made; it must be kept until the node ends.

    Attributes:
        link: the host's end; empty if there is no uplink.
        sentence: for people: what goes out, or why nothing does and what to do about it.
    """

    link: str
    sentence: str
    _steps: ExitStack = field(default_factory=ExitStack, repr=False, compare=False)

    def close(self) -> None:
        """Remove the link and the host's rules; twice is harmless, and so is a node that has gone before.

        Raises:
            CommandFailed: a step was refused; the others were still taken.
        """
        with refusals_of(f"remove the uplink {self.link}"):
            self._steps.close()


def open_uplink(node: int, outgoing: Outgoing, *, host: int | None = None) -> Uplink:
    """Connect the router namespace `node` to the world outside, as far as `outgoing` and the host let it.

    Args:
        node: a descriptor of the node's network namespace; it may be closed afterwards.
        outgoing: what is wanted.
        host: a descriptor of the namespace that leads outside; the calling thread's by default.

    Raises:
        HostLacks, CommandFailed, Exhausted: only if `outgoing` is ON: it cannot be had; what was done has been undone.
    """
    if outgoing is Outgoing.OFF:
        return Uplink("", TURNED_OFF)
    netns = current_netns() if host is None else os.dup(host)
    with ExitStack() as steps:
        steps.callback(os.close, netns)
        if outgoing is Outgoing.AUTO and not _forwards(netns):
            return Uplink("", NOT_FORWARDING)
        in_netns(netns, lambda: sysctl.write({"ipv4/ip_forward": "1"}))
        try:
            with refusals_of("make the uplink"):
                link, sentence = _connect(_Host(netns, steps), node, steps)
        except TfError as lacking:
            if outgoing is Outgoing.ON:
                raise
            return Uplink("", f"Outgoing connections are off: {lacking}")
        return Uplink(link, sentence, steps.pop_all())


def _forwards(netns: int) -> bool:
    return in_netns(netns, lambda: sysctl.read("ipv4/ip_forward")) == "1"


class _Host:
    """The host's network namespace and the sockets in it, which `steps` closes."""

    def __init__(self, netns: int, steps: ExitStack) -> None:
        self.netns = netns
        self.routes = in_netns(netns, Rtnetlink)
        steps.callback(self.routes.close)
        self.rules = in_netns(netns, Nftables)
        steps.callback(self.rules.close)

    def tables(self) -> list[str]:
        """The names of the tables of rules for IPv4."""
        return [name for family, name in self.rules.tables() if family == "ip"]


def _connect(host: _Host, node: int, steps: ExitStack) -> tuple[str, str]:
    """The uplink's name and the sentence about it; how to take each step back goes to `steps`."""
    _sweep(host)
    link, here, there = f"tf{secrets.token_hex(4)}", *free_pair(host.routes.addresses(), host.routes.routes())
    _make_link(host, node, link)
    steps.callback(_delete_link, host, link)
    _load_rules(host, link, there.ip, steps)
    _raise_link(host, link, here)
    _raise_other_end(node, there, here.ip)
    steps.callback(in_netns, host.netns, lambda: host_firewall.take_back(link))
    docker_knows = in_netns(host.netns, lambda: host_firewall.let_through(link))
    refusing = host_firewall.refusing_chains(host.rules.query("list chains"))
    return link, _sentence(link, [] if docker_knows else refusing)


def _sweep(host: _Host) -> None:
    """Remove what killed nodes left: rules of uplinks that are gone. (Tables that the kernel did not drop by itself
    are those of kernels without owned tables.)"""
    links = host.routes.link_names()
    for table in host.tables():
        if NAME.match(table) and table not in links:
            _forget(host, table)
    in_netns(host.netns, lambda: host_firewall.sweep(links))


def _forget(host: _Host, table: str) -> None:
    try:
        host.rules.run(f"delete table ip {table}")
    except CommandFailed as refused:
        log.info("table %s is left to the node that is just closing it: %s", table, refused)


def free_pair(
    addresses: Iterable[IPv4Interface],
    routes: Iterable[IPv4Network],
    draw: Callable[[int], int] = secrets.randbelow,
) -> tuple[IPv4Interface, IPv4Interface]:
    """The host's and the node's address in a /30 of RANGE that no address and no route of the host touches.

    Wider networks, such as 169.254.0.0/16 where an interface configured itself, do not count: a /30 goes before them.
    """
    taken = [IPv4Network(address.ip) for address in addresses]
    taken += [route for route in routes if route.prefixlen > RANGE.prefixlen]
    for _ in range(ATTEMPTS):
        pair = IPv4Network((int(RANGE.network_address) + 4 * draw(RANGE.num_addresses // 4), 30))
        if not any(pair.overlaps(other) for other in taken):
            return IPv4Interface((pair[1], 30)), IPv4Interface((pair[2], 30))
    raise Exhausted(
        f"no free /30 found in {RANGE} after {ATTEMPTS} attempts", hint="look at `ip route` on this machine"
    )


def _make_link(host: _Host, node: int, link: str) -> None:
    token = bytes.fromhex(link[2:])
    host.routes.create_veth(End(link, b"\x02\x75" + token, host.netns), End(UPLINK, b"\x02\x76" + token, node))


def _delete_link(host: _Host, link: str) -> None:
    """It is gone already if the node's namespace is."""
    try:
        host.routes.delete_link(link)
    except NetlinkRefused as refused:
        if refused.errno != errno.ENODEV:
            raise


def _load_rules(host: _Host, link: str, address: IPv4Address, steps: ExitStack) -> None:
    """Owned by our socket if the kernel can (5.12), else until they are deleted, here or by the sweep of the next
    node.
    """
    try:
        host.rules.run(host_table(link, address, flags=("owner",)).load())
    except CommandFailed:
        unowned = host_table(link, address, flags=())
        host.rules.run(unowned.load())
        steps.callback(host.rules.run, unowned.delete())


def _raise_link(host: _Host, link: str, address: IPv4Interface) -> None:
    settings = {f"ipv4/conf/{link}/forwarding": "1", f"ipv6/conf/{link}/disable_ipv6": "1"}
    in_netns(host.netns, lambda: sysctl.write(settings))
    index = host.routes.link_index(link)
    host.routes.add_address(index, address)
    host.routes.set_up(index)


def _raise_other_end(node: int, address: IPv4Interface, gateway: IPv4Address) -> None:
    in_netns(node, lambda: sysctl.write({f"ipv6/conf/{UPLINK}/disable_ipv6": "1"}))
    with closing(in_netns(node, Rtnetlink)) as routes:
        index = routes.link_index(UPLINK)
        routes.add_address(index, address)
        routes.set_up(index)
        routes.await_carrier(index)
        routes.route_via(ANYWHERE, gateway, index)


def _sentence(link: str, refusing: Sequence[str]) -> str:
    sentence = f"Outgoing connections leave by {link}, with this machine's own address."
    if refusing:
        sentence += (
            f" This machine's firewall ({', '.join(refusing)}) refuses what it forwards unless told otherwise: "
            "if containers reach nothing, let it forward what comes from and goes to interfaces named tf*."
        )
    return sentence
