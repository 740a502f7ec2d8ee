"""What the host's own firewall makes of packets that are only passing through.

An accept in one table does not overrule a drop in another, so a host that drops what it forwards must be told of the
uplink. Docker's is: it keeps a chain for rules of others, DOCKER-USER, which survives its restarts. It is asked
through `iptables`, as Docker does itself, because a rule written otherwise makes the whole table unreadable to it. (A
Docker first started after the node does not know the uplink; the node must be started again then.) Other firewalls
are only recognised, so that somebody can be told.

Acts in the calling thread's network namespace.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection

from tfcore.commands import run
from tfcore.errors import CommandFailed

CHAIN = "DOCKER-USER"
OUR_RULE = re.compile(r"\A-A (?P<rule>DOCKER-USER -[io] (?P<link>tf[0-9a-f]{8}) -j ACCEPT)\Z")


def let_through(link: str) -> bool:
    """Tell Docker's firewall to let `link` pass, both ways; False if there is none. CommandFailed if it refuses.

    What may come in by it is still limited by the uplink's own rules.
    """
    if _docker_rules() is None:
        return False
    for direction in ("-i", "-o"):
        _iptables("-I", CHAIN, direction, link, "-j", "ACCEPT")
    return True


def take_back(link: str) -> None:
    """Take back what `let_through` said of `link`. CommandFailed if refused."""
    for rule, named in _our_rules():
        if named == link:
            _iptables("-D", *rule.split())


def sweep(links: Collection[str]) -> None:
    """Take back what was said of uplinks that are not among the host's `links` any more. CommandFailed if refused."""
    for rule, named in _our_rules():
        if named not in links:
            _iptables("-D", *rule.split())


def refusing_chains(chains: str) -> list[str]:
    """The chains that by default refuse what the host forwards, as `table/chain`.

    Args:
        chains: what `nft -j list chains` prints. Rules of the legacy iptables are not in it.
    """
    listed = (item["chain"] for item in json.loads(chains)["nftables"] if "chain" in item)
    return [f"{chain['table']}/{chain['name']}" for chain in listed if _refuses(chain)]


def _refuses(chain: dict[str, object]) -> bool:
    """Firewalld refuses by its last rule instead of its policy."""
    if chain.get("hook") != "forward" or chain["family"] not in ("ip", "inet"):
        return False
    return chain.get("policy") == "drop" or chain["table"] == "firewalld"


def _our_rules() -> list[tuple[str, str]]:
    """Our rules in Docker's chain, each with the uplink it names."""
    matches = (OUR_RULE.match(line) for line in (_docker_rules() or "").splitlines())
    return [(match["rule"], match["link"]) for match in matches if match]


def _docker_rules() -> str | None:
    """Docker's chain as `iptables -S` prints it; None where there is no iptables or no such chain."""
    if shutil.which("iptables") is None:
        return None
    try:
        return _iptables("-S", CHAIN)
    except CommandFailed:
        return None


def _iptables(*arguments: str) -> str:
    return run(["iptables", "-w", *arguments]).decode()
