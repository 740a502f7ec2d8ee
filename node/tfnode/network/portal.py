"""A thread that stays in the host's network when the agent leaves it, and opens sockets there for an ordinary user's node.

A network namespace belongs to a thread and a socket for ever to the namespace it was opened in, so this is all it takes to
reach the world from a namespace that has no link to it, and nobody has to be root for that. It must be made before the agent
enters its own namespace. Knows nothing of containers; whoever asks says where they want to go, and it does not go to the
host itself.
"""

from __future__ import annotations

import errno
import os
import queue
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv4Network
from typing import Any, TypeVar

T = TypeVar("T")

SECONDS = 5.0
"""How long a socket may take to be made; nothing of it waits for anybody."""

CLOSED_TO_ALL = tuple(
    map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"))
)
"""The host's own loopback, link-local addresses (where clouds serve their machines' credentials), and what is nobody's."""

ON_THEIR_WAY = (0, errno.EINPROGRESS)
"""Results of connect_ex on a socket that does not block."""

DISCARD = 9
"""A port for connecting a UDP socket to, which sends nothing."""


class Portal:
    """The thread. Methods may be called from any other."""

    def __init__(self) -> None:
        """Start it, in the network namespace of the calling thread."""
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="portal", daemon=True)
        self._thread.start()

    def dial(self, address: str, port: int) -> socket.socket:
        """A TCP socket on its way to `address`:`port`, which does not block.

        Raises:
            OSError: there is no way there; EACCES: that is the host itself, or nobody who may be talked to.
        """
        return self._ask(lambda: _dial(address, port))

    def dial_resolver(self, address: str) -> socket.socket:
        """The same to the host's own name server at `address`, which may be on the host: containers ask it through us."""
        return self._ask(lambda: _connected(address, 53, socket.SOCK_STREAM))

    def ask_resolver(self, address: str) -> socket.socket:
        """A UDP socket connected to the host's own name server at `address`. OSError: there is no way there."""
        return self._ask(lambda: _connected(address, 53, socket.SOCK_DGRAM))

    def close(self) -> None:
        """End the thread; what it has opened stays. Twice is harmless."""
        self._work.put(None)
        self._thread.join(SECONDS)

    def _ask(self, function: Callable[[], T]) -> T:
        answer: Future[T] = Future()
        self._work.put((function, answer))
        return answer.result(SECONDS)

    def _run(self) -> None:
        while (asked := self._work.get()) is not None:
            function, answer = asked
            try:
                answer.set_result(function())
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
                answer.set_exception(error)


def _dial(address: str, port: int) -> socket.socket:
    if any(IPv4Address(address) in closed for closed in CLOSED_TO_ALL) or _is_host(address):
        raise OSError(errno.EACCES, f"{address} is not for containers to reach")
    return _connected(address, port, socket.SOCK_STREAM)


def _is_host(address: str) -> bool:
    """Who sends to one of their own addresses sends from it; the kernel says so when a UDP socket is connected."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        status = probe.connect_ex((address, DISCARD))
        return status == 0 and probe.getsockname()[0] == address


def _connected(address: str, port: int, kind: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    status = made.connect_ex((address, port))
    if status not in ON_THEIR_WAY:
        made.close()
        raise OSError(status, os.strerror(status))
    return made
