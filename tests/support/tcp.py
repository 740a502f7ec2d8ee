"""TCP servers that behave in all the ways a container's service can, and clients that look closely.

A `Server` runs one function per connection, each in a thread, on a port of the loopback.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

LINGER_RESET = struct.pack("ii", 1, 0)
SECONDS = 20.0
"""A client's patience: what takes longer hangs."""

Serve = Callable[[socket.socket], None]


class Server:
    """Listens at once; use as a context manager.

    Attributes:
        port: where.
        errors: what its connections ended with, by type's name.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()
        self.errors: list[str] = []
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed, or the process is short of descriptors
                if self._closing.wait(0.01):
                    return
                continue
            thread = threading.Thread(target=self._run, args=(connection,))
            self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]
            self._open.add(connection)
            thread.start()

    def _run(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._serve(connection)
            except OSError as error:
                self.errors.append(type(error).__name__)
        self._open.discard(connection)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


def echo(connection: socket.socket) -> None:
    """Send back what comes, until the client has finished."""
    while data := connection.recv(65536):
        connection.sendall(data)


def digest(connection: socket.socket) -> None:
    """Take all, then send its SHA-256."""
    found = hashlib.sha256()
    while data := connection.recv(65536):
        found.update(data)
    connection.sendall(found.digest())


def both_ways(size: int) -> Serve:
    """Send `size` bytes of zeros while taking what comes, then the digest of that."""

    def serve(connection: socket.socket) -> None:
        sending = threading.Thread(target=lambda: connection.sendall(bytes(size)))
        sending.start()
        found = hashlib.sha256()
        while data := connection.recv(65536):
            found.update(data)
        sending.join()
        connection.sendall(found.digest())

    return serve


def hang_up(connection: socket.socket) -> None:
    """Reset."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)


def talk_first(connection: socket.socket) -> None:
    """Greet, finish, and only then listen."""
    connection.sendall(b"welcome")
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(65536):
        pass


class Flood:
    """Sends without end; `sent` tells how much it could get rid of."""

    def __init__(self) -> None:
        self.sent = 0

    def __call__(self, connection: socket.socket) -> None:
        while True:
            self.sent += connection.send(bytes(65536))


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """A port nobody listens on, and nobody else can get."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def client_of(port: int) -> socket.socket:
    """A connection to the loopback."""
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)


def ask(client: socket.socket, data: bytes) -> bytes:
    """Send `data` and read as much."""
    client.sendall(data)
    return read(client, len(data))


def read(client: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes, or what there is until the end."""
    found = bytearray()
    while len(found) < size and (data := client.recv(size - len(found))):
        found += data
    return bytes(found)


def read_all(client: socket.socket) -> bytes:
    """Until the end."""
    found = bytearray()
    while data := client.recv(1 << 16):
        found += data
    return bytes(found)


def was_reset(client: socket.socket) -> bool:
    """Wait until it ends; True if by a reset."""
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return False


def is_turned_away(port: int) -> bool:
    """True if a client is accepted and reset; that may be noticed while it still connects."""
    try:
        with client_of(port) as client:
            return was_reset(client)
    except ConnectionResetError:
        return True


def has_ipv6_loopback() -> bool:
    """True if this machine can listen on ::1."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6_loopback(), reason="this machine has no IPv6 on its loopback device")


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))
