"""Every TCP connection from its first byte: cuts those that hold room without ever saying anything.

libzmq bounds the size of a frame and the time of a handshake, but neither how many frames one message has, which it keeps
until the last is there, nor how many strangers may shake hands at once. So this looks at what the kernel has received on
each connection, and at how many there are, and cuts: who has sent more than any message may be long without finishing
one; the oldest of too many that say nothing; the newest of a key that has too many, or most of all when descriptors run
short. A cut client of ours comes back by itself. Knows no messages. Unix sockets are not looked at: only their owner can
reach them.
"""

from __future__ import annotations

import logging
import resource
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import zmq
from zmq.utils.monitor import parse_monitor_message

from tfcore.clock import Clock
from tfcore.rpc.port import Frames, Port
from tfcore.wire.header import MAX_BODY
from tflocation.throttle import Throttle

log = logging.getLogger(__name__)

T = TypeVar("T")

INTERVAL = 0.25
"""Seconds between two looks."""

UNFINISHED = 2 * MAX_BODY
"""Bytes of one message: a body of the longest, and what encryption and the kernel's buffers add to it."""

UNFINISHED_ALL = 8 * MAX_BODY
"""Bytes of the unfinished messages of all connections together."""

STRANGERS = 256
"""Connections from one address by which no message has come yet. Whoever means well says hello within milliseconds."""

STRANGERS_ALL = 1024
"""The same from everywhere."""

EACH = 1000
"""Connections of one key."""

SPARE = 256
"""Descriptors that connections must leave for files."""

_RECEIVED = struct.Struct("=128xQ")
"""tcpi_bytes_received in struct tcp_info of linux/tcp.h, whose beginning never changes."""

EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED


@dataclass(slots=True)
class Connection:
    """One.

    Attributes:
        descriptor: libzmq's.
        peer: address and port of its other end.
        owner: whose key opened it, once a message has come; its address before.
        heard: a message has come by it since the last look.
        finished: bytes received when the last message was known to be whole.
        unfinished: bytes received since.
    """

    descriptor: int
    peer: tuple[str, int]
    owner: str
    heard: bool = False
    finished: int = 0
    unfinished: int = 0

    @property
    def stranger(self) -> bool:
        """No message has come by it yet."""
        return self.owner == self.peer[0]


class Connections:
    """All of one socket.

    Args:
        clock: seconds.
        most: connections in all; as many as the process may have descriptors, if not given.
    """

    def __init__(self, clock: Clock, *, most: int | None = None) -> None:
        self._most = most or descriptors() - SPARE
        self._open: dict[int, Connection] = {}
        """Oldest first."""
        self._warnings = Throttle(clock, seconds=10.0)
        self._monitor: Port | None = None
        self._watched: zmq.Socket[bytes] | None = None
        self.cut = 0
        """How many were cut so far."""

    def watch(self, watched: zmq.Socket[bytes]) -> None:
        """Look at the connections of this socket from now on."""
        self._watched = watched
        self._monitor = Port(watched.get_monitor_socket(EVENTS), self._on_event)

    def close(self) -> None:
        """Look no more. Before the socket is closed."""
        if self._monitor is not None and self._watched is not None:
            self._watched.disable_monitor()
            self._monitor.close()
            self._monitor = None

    def heard(self, descriptor: int, owner: str) -> None:
        """A whole message of somebody's has come by that connection."""
        connection = self._open.get(descriptor)
        if connection is not None:
            connection.heard = True
            if connection.stranger:
                connection.owner = owner
                self._own_crowd(owner)

    def counts(self) -> dict[str, int]:
        """For the operator."""
        strangers = sum(connection.stranger for connection in self._open.values())
        return {"open": len(self._open), "strangers": strangers, "cut": self.cut}

    def _on_event(self, frames: Frames) -> None:
        event = parse_monitor_message([frame.bytes for frame in frames])
        if event["event"] == zmq.EVENT_ACCEPTED:
            self._accepted(int(event["value"]))
        else:
            self._open.pop(int(event["value"]), None)

    def _accepted(self, descriptor: int) -> None:
        peer = _asked(descriptor, _peer_of)
        if peer is not None:
            self._open.pop(descriptor, None)
            self._open[descriptor] = Connection(descriptor, peer, owner=peer[0])
            self._crowd(peer[0])

    def _crowd(self, address: str) -> None:
        """One more has come from there: are they too many?"""
        strangers = [connection for connection in self._open.values() if connection.stranger]
        mine = [connection for connection in strangers if connection.owner == address]
        if len(mine) > STRANGERS:
            self._cut(mine[0], f"{len(mine)} connections from there have not said anything")
        elif len(strangers) > STRANGERS_ALL:
            self._cut(strangers[0], f"{len(strangers)} connections have not said anything")
        elif len(self._open) > self._most:
            ((owner, most),) = Counter(connection.owner for connection in self._open.values()).most_common(1)
            self._cut(self._newest_of(owner), f"{len(self._open)} connections are open, {most} of them {owner}'s")

    def _own_crowd(self, owner: str) -> None:
        count = sum(connection.owner == owner for connection in self._open.values())
        if count > EACH:
            self._cut(self._newest_of(owner), f"{owner} has {count} open")

    def _newest_of(self, owner: str) -> Connection:
        return next(connection for connection in reversed(self._open.values()) if connection.owner == owner)

    def look(self) -> None:
        """Cut who has sent too much without finishing a message; `INTERVAL` apart."""
        for connection in list(self._open.values()):
            _asked(connection.descriptor, partial(_measure, connection))
            if connection.unfinished > UNFINISHED:
                self._cut(connection, f"{connection.unfinished} bytes are no whole message yet")
        while sum(connection.unfinished for connection in self._open.values()) > UNFINISHED_ALL:
            largest = max(self._open.values(), key=lambda connection: connection.unfinished)
            self._cut(largest, f"{largest.unfinished} bytes are no whole message yet, and others have as many")

    def _cut(self, connection: Connection, why: str) -> None:
        """libzmq sees an end, and drops what it has of it."""
        self._open.pop(connection.descriptor, None)
        self.cut += 1
        if self._warnings.lets(connection.peer[0]):
            log.warning("cut a connection from %s: %s", connection.peer[0], why)
        _asked(connection.descriptor, partial(_end, connection))


def _peer_of(tcp: socket.socket) -> tuple[str, int]:
    address, port = tcp.getpeername()[:2]  # of a unix socket: nothing to unpack
    return address, port


def _end(connection: Connection, tcp: socket.socket) -> None:
    if _peer_of(tcp) == connection.peer:  # not somebody else's by now
        tcp.shutdown(socket.SHUT_RDWR)


def _measure(connection: Connection, tcp: socket.socket) -> None:
    if sys.platform != "linux":
        return  # other kernels tell it otherwise, or not at all
    (received,) = _RECEIVED.unpack(tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED.size))
    if connection.heard:
        connection.heard = False
        connection.finished = received
    connection.unfinished = received - connection.finished


def _asked(descriptor: int, question: Callable[[socket.socket], T]) -> T | None:
    """Asks libzmq's descriptor as a socket. None if it is no TCP connection, or none any more: libzmq tells so itself."""
    try:
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
    except OSError:
        return None
    try:
        return question(tcp)
    except (OSError, ValueError):
        return None
    finally:
        tcp.detach()


def descriptors() -> int:
    """How many descriptors this process may have; as many as the system lets it, from now on."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
