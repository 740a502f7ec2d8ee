"""A host's address as a container would find it: a literal one, its own `/etc/hosts`, then its own name servers.

Asked from inside its network, so that what it may not reach is not asked. Knows no containers: it is handed their files.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import AddressValueError, IPv4Address

from tfcore.errors import NotFound

LOOPBACK = "127.0.0.1"
PORT = 53
ANSWER = 2.0
"""Seconds a name server has, and how often each is asked."""
ATTEMPTS = 2
LONGEST = 4096

Open = Callable[[], Awaitable[socket.socket]]
"""Makes a UDP socket inside, that does not block."""


async def address_of(host: str, *, hosts: str, resolv_conf: str, open_udp: Open) -> str:
    """The IPv4 address of a host.

    Args:
        host: a name or an address.
        hosts: the container's /etc/hosts. resolv_conf: its /etc/resolv.conf.
        open_udp: makes the socket that name servers are asked by.

    Raises:
        NotFound: nobody knows it.
    """
    if (known := literal(host) or written(host, hosts)) is not None:
        return known
    for server in name_servers(resolv_conf) * ATTEMPTS:
        found = await _asked(host, server, open_udp)
        if found is not None:
            return found
    raise NotFound(f"there is no host {host!r} that the container can find", hint="name an IPv4 address")


def literal(host: str) -> str | None:
    """The address if `host` is one, or means the container itself."""
    if host.lower().rstrip(".") in ("localhost", "ip6-localhost") or host == "::1":
        return LOOPBACK
    try:
        return str(IPv4Address(host))
    except AddressValueError:
        return None


def written(host: str, hosts: str) -> str | None:
    """What /etc/hosts says."""
    for line in hosts.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if host.lower() in (name.lower() for name in names) and (found := literal(address)):
            return found
    return None


def name_servers(resolv_conf: str) -> list[str]:
    """The IPv4 name servers that /etc/resolv.conf names, at most three as everywhere."""
    words = [line.split() for line in resolv_conf.splitlines()]
    servers = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver" and literal(line[1])]
    return servers[:3]


async def _asked(host: str, server: str, open_udp: Open) -> str | None:
    import dns.exception
    import dns.message

    loop = asyncio.get_running_loop()
    try:
        query = dns.message.make_query(host, "A")
        with await open_udp() as asking:
            await loop.sock_connect(asking, (server, PORT))
            await loop.sock_sendall(asking, query.to_wire())
            async with asyncio.timeout(ANSWER):
                answer = dns.message.from_wire(await loop.sock_recv(asking, LONGEST))
    except (OSError, dns.exception.DNSException):  # TimeoutError is an OSError
        return None
    if answer.id != query.id:
        return None
    return next((record.address for found in answer.answer for record in found if hasattr(record, "address")), None)
