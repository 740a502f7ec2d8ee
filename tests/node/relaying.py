"""A relay that counts its turns, and listening sockets that it serves."""

from __future__ import annotations

import socket
import time

from tests.support.tcp import (
    client_of,
)
from tfnode.tunnels.pairs import Listener
from tfnode.tunnels.relay import Relay


class Tunnel:
    """A listening socket that a relay serves."""

    def __init__(self, relay: Relay, port: int, owner: str = "me") -> None:
        sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = sock.getsockname()[1]
        self.listener: Listener = relay.listen(sock, owner=owner, address="127.0.0.1", port=port)

    def client(self) -> socket.socket:
        return client_of(self.port)


class Counting(Relay):
    """Knows how often it did something."""

    def __init__(self) -> None:
        self.turns = 0
        super().__init__()

    def _turn(self, fd: int) -> None:
        self.turns += 1
        super()._turn(fd)


def settled(relay: Counting) -> int:
    """How often it turned until it had nothing more to do. One that never rests keeps turning, and the test ends by its
    time limit."""
    before = -1
    while relay.turns != before:
        before = relay.turns
        time.sleep(0.1)
    return before
