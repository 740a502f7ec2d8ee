"""What may pass: the rules of a router namespace (a node's, or a group's) and those of the host around an uplink.

Pure: rule sets as data, nothing is loaded here.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from tfnode.network.ruleset import Chain, Hook, Set, Table

CONTAINER_GROUP = 7719
"""The link group of the containers' links: rules match by it, and all of them can be deleted as one."""
UPLINK = "up0"
"""The link of a router namespace that leads outside; whether it exists decides whether anything goes out."""
GATEWAY = IPv4Address("169.254.1.1")
"""The containers' next hop and the node's own address towards them; the same on every node, so that generations can
move.
"""
LINK_LOCAL = IPv4Network("169.254.0.0/16")
"""RFC 3927; clouds serve their machines' credentials in it."""

ALIASES = IPv4Network("198.18.0.0/15")
"""RFC 2544, never used in earnest: where generations that nobody reaches yet speak from. Seen on their own node only."""
FIRST_ALIAS = ALIASES.network_address

ALLOW = "allow"
SOURCE = "source"


def _refuse() -> Chain:
    """A refusal is told at once (connection refused, or unreachable), so that nobody waits for a time-out."""
    return Chain("refuse", ("meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited"))


ROUTER_TABLE = Table(
    family="inet",
    name="tf",
    sets=(Set(ALLOW, "ipv4_addr . ipv4_addr"), Set(SOURCE, "ifname . ipv4_addr")),
    chains=(
        _refuse(),
        # Before connection tracking, so that a forged packet costs nothing and touches no state. What comes by the
        # uplink answers something that left with the uplink's own address; anything addressed to a container comes
        # from nobody we know.
        Chain(
            "before",
            (
                f"iifgroup {CONTAINER_GROUP} jump from_container",
                f'iifname "{UPLINK}" fib daddr type != local counter drop',
            ),
            Hook("filter", "prerouting", "raw"),
        ),
        Chain(
            "from_container",
            ("meta nfproto != ipv4 counter drop", f"iifname . ip saddr != @{SOURCE} counter drop"),
        ),
        # A flow is judged by who opened it, packet by packet, and there is no general "established" rule between
        # containers: taking a pair from the set stops both directions of its live flows with the next packet, without
        # flushing connection tracking.
        Chain(
            "forward",
            (
                f"ct original ip saddr . ct original ip daddr @{ALLOW} accept",
                f"ip daddr {LINK_LOCAL} jump refuse",
                f'iifgroup {CONTAINER_GROUP} oifname "{UPLINK}" accept',
                f'iifname "{UPLINK}" oifgroup {CONTAINER_GROUP} ct state established,related accept',
                "jump refuse",
            ),
            Hook("filter", "forward", "filter", "drop"),
        ),
        # The node's own connections to containers get their answers; nobody opens one to the node, but what the node
        # itself has led to another of its ports (`wayout`).
        Chain(
            "input",
            (
                'iifname "lo" accept',
                "ct state established,related accept",
                f"iifgroup {CONTAINER_GROUP} ip daddr {GATEWAY} ct status dnat accept",
                "jump refuse",
            ),
            Hook("filter", "input", "filter", "drop"),
        ),
        Chain("leaving", (f'oifname "{UPLINK}" masquerade',), Hook("nat", "postrouting", "srcnat")),
    ),
)


def source_element(link: str, address: IPv4Address) -> str:
    """The element by which packets from `link` may have `address` as their source."""
    return f'"{link}" . {address}'


def pair_elements(one: IPv4Address, other: IPv4Address) -> tuple[str, str]:
    """The elements by which either of two addresses may open a connection to the other."""
    return f"{one} . {other}", f"{other} . {one}"


def host_table(link: str, address: IPv4Address, *, flags: tuple[str, ...]) -> Table:
    """The rules of the host for one node.

    What the node sends goes anywhere the host can reach, private networks included (as with Docker), masqueraded; but
    not to the host itself, and nothing comes in that does not answer.

    Args:
        link: the host's end of the uplink; the table has its name.
        address: the node's end of the uplink, the only source that is let through.
        flags: the table's flags.
    """
    answers = "ct state established,related accept"
    return Table(
        family="ip",
        name=link,
        flags=flags,
        chains=(
            Chain("refuse", ("meta l4proto tcp reject with tcp reset", "reject with icmp type admin-prohibited")),
            Chain(
                "forward",
                (
                    f'oifname "{link}" {answers}',
                    f'oifname "{link}" jump refuse',
                    f'iifname "{link}" ip saddr != {address} drop',
                ),
                Hook("filter", "forward", "filter"),
            ),
            Chain(
                "input",
                (f'iifname "{link}" {answers}', f'iifname "{link}" jump refuse'),
                Hook("filter", "input", "filter"),
            ),
            Chain(
                "leaving", (f'ip saddr {address} oifname != "{link}" masquerade',), Hook("nat", "postrouting", "srcnat")
            ),
        ),
    )
