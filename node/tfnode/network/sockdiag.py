"""Ends the TCP connections of a network namespace from outside, so that their peers get a reset at once instead of
waiting.

Works on frozen and on dead processes' sockets alike. Numbers are those of linux/sock_diag.h, inet_diag.h and
net/tcp_states.h. Knows nothing of containers.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from tfnode.network.netlink import NetlinkRefused, NetlinkSocket

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
SOCK_DESTROY = 21
TCP_ESTABLISHED = 1
TCP_TIME_WAIT = 6
TCP_LISTEN = 10
ALL_BUT_LISTEN = 0x1FFE & ~(1 << TCP_LISTEN)
"""A bit per TCP state, 1 to 12."""
GONE = (errno.ENOENT, errno.ESTALE)
"""The connection ended by itself between the listing and the blow."""

REQUEST = struct.Struct("=BBBBI48s")
"""struct inet_diag_req_v2: family, protocol, extensions, padding, states, socket id."""
ID = slice(4, 52)
"""Where an answer (struct inet_diag_msg) holds the socket id: ports, addresses, interface, cookie."""


@dataclass(frozen=True)
class Connection:
    """A TCP socket that is not listening, as the kernel names it."""

    family: int
    state: int
    id: bytes

    @property
    def peer(self) -> IPv4Address | IPv6Address:
        """The address at the other end; IPv4 also where an IPv6 socket speaks IPv4."""
        packed = self.id[20:36]
        if self.family == socket.AF_INET:
            return IPv4Address(packed[:4])
        wide = IPv6Address(packed)
        return wide.ipv4_mapped or wide


class SockDiag:
    """Sees and ends the TCP connections of the namespace it was made in. Safe to share between threads."""

    def __init__(self) -> None:
        self._netlink = NetlinkSocket(NETLINK_SOCK_DIAG)

    def connections(self) -> Iterator[Connection]:
        """All TCP sockets that are not listening; a service that listens on `::` has its IPv4 connections in the IPv6
        family.
        """
        for family in (socket.AF_INET, socket.AF_INET6):
            body = REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, ALL_BUT_LISTEN, bytes(48))
            for found in self._netlink.dump(SOCK_DIAG_BY_FAMILY, body, doing="list the TCP connections"):
                yield Connection(found[0], found[1], found[ID])

    def reset_all(self) -> int:
        """End every connection; returns how many.

        Raises:
            NetlinkRefused: the kernel cannot (EOPNOTSUPP: it is built without INET_DIAG_DESTROY).
        """
        return sum(self._reset(connection) for connection in self.connections())

    def reset_with(self, peer: IPv4Address) -> int:
        """End every connection with `peer`; returns how many. Raises as `reset_all`."""
        return sum(self._reset(connection) for connection in self.connections() if connection.peer == peer)

    def can_reset(self) -> bool:
        """Whether the kernel knows how: it is asked to end a connection that cannot exist."""
        try:
            self._reset(Connection(socket.AF_INET, TCP_ESTABLISHED, bytes(48)))
        except NetlinkRefused as refused:
            if refused.errno != errno.EOPNOTSUPP:
                raise
            return False
        return True

    def close(self) -> None:
        """Close the socket; twice is harmless."""
        self._netlink.close()

    def _reset(self, connection: Connection) -> bool:
        body = REQUEST.pack(connection.family, socket.IPPROTO_TCP, 0, 0, 1 << connection.state, connection.id)
        try:
            self._netlink.request(SOCK_DESTROY, body, doing="reset a TCP connection")
        except NetlinkRefused as refused:
            if refused.errno in GONE or _lingers(connection, refused):
                return False
            raise
        return True


def _lingers(connection: Connection, refused: NetlinkRefused) -> bool:
    """Older kernels cannot end a connection in TIME_WAIT; nobody waits for it, and it goes by itself after a minute."""
    return connection.state == TCP_TIME_WAIT and refused.errno == errno.EOPNOTSUPP
