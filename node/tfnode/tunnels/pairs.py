"""A client's connection and the one to its container: two sockets, two flows, one life."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from tfnode.tunnels.splicing import Broken, Flow, Pipes

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER without time: closing sends a reset."""

_CONNECTING = {0, errno.EINPROGRESS}
"""Results of connect_ex on a non-blocking socket that is on its way."""


@dataclass(eq=False)
class Listener:
    """A listening socket somebody gave us, and where its connections go: to `address`:`port`, or where `dial` says."""

    sock: socket.socket
    owner: str
    address: str
    port: int
    dial: Callable[[socket.socket], socket.socket] | None = None


def reset(sock: socket.socket) -> None:
    """Close a socket so that the other side gets a reset."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


class Pair:
    """One connection of a tunnel, from the moment it was accepted."""

    def __init__(self, listener: Listener, client: socket.socket, server: socket.socket, pipes: Pipes) -> None:
        self.listener = listener
        self.client = client
        self.server = server
        self._connected = False
        self._up = Flow(client, server, pipes)
        self._down = Flow(server, client, pipes)

    def move(self) -> bool:
        """Something happened on one of the sockets: move what can be moved. True when both directions have ended.

        Raises:
            Broken, OSError: it cannot go on.
        """
        if not self._connected:
            self._settle()
        self._up.pump()
        self._down.pump()
        return self._up.over and self._down.over

    @property
    def holds(self) -> bool:
        """True if the client has said something that the server has not been told yet."""
        return not self._connected or self._up.holds

    def _settle(self) -> None:
        """Only the server's socket is watched while connecting: it is connected now, or never will be."""
        error = self.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise Broken(os.strerror(error))
        self._connected = True

    def interests(self) -> tuple[int, int]:
        """What to wait for on (client, server)."""
        if not self._connected:
            return 0, select.EPOLLOUT
        return _interest(self._up, self._down), _interest(self._down, self._up)

    def close(self) -> None:
        """End it in order."""
        self._let_go()
        self.client.close()
        self.server.close()

    def reset(self) -> None:
        """End it so that both sides get a reset."""
        self._let_go()
        reset(self.client)
        reset(self.server)

    def _let_go(self) -> None:
        self._up.close()
        self._down.close()


def _interest(leaving: Flow, arriving: Flow) -> int:
    """What to wait for on the socket that `leaving` reads and `arriving` writes."""
    return (select.EPOLLIN if leaving.wants_input else 0) | (select.EPOLLOUT if arriving.blocked else 0)


def connecting(listener: Listener, client: socket.socket, pipes: Pipes) -> Pair:
    """A pair for an accepted client, its other half on its way to the container.

    Raises:
        Broken: there is no way there. OSError: this process has too many descriptors.
    """
    server = _dialled(listener) if listener.dial is None else listener.dial(client)
    try:
        client.setblocking(False)
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        server.close()
        raise
    return Pair(listener, client, server, pipes)


def _dialled(listener: Listener) -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    status = server.connect_ex((listener.address, listener.port))
    if status not in _CONNECTING:
        server.close()
        raise Broken(os.strerror(status))
    return server
