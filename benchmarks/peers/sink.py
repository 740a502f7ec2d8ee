"""The sink's protocol as its clients speak it (sink.pl says what it is), and a sink on this machine."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.ground.remote import free_port
from benchmarks.ground.services import Address
from benchmarks.measuring.rounds import milliseconds, until

SCRIPT = Path(__file__).with_name("sink.pl")
PORT = 9000
"""Of the sink in a container."""

SMALL = b"x" * 64
PIECE = bytes(256 * 1024)
TIMEOUT = 60.0
MB = 1e6


def command(address: str = "0.0.0.0", port: int = PORT) -> list[str]:
    """How a sink is started, in a container too: the script goes along as an argument."""
    return ["perl", "-e", SCRIPT.read_text(), address, str(port)]


@contextmanager
def sink_here() -> Iterator[Address]:
    """A sink on the loopback device."""
    address = ("127.0.0.1", free_port())
    process = subprocess.Popen(command(*address), stdin=subprocess.DEVNULL)
    try:
        wait(address)
        yield address
    finally:
        process.terminate()
        process.wait()


def connect(address: Address) -> socket.socket:
    """A connection that sends small things at once."""
    client = socket.create_connection(address, timeout=TIMEOUT)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def echo(client: socket.socket) -> None:
    """One round trip of 64 bytes.

    Raises:
        ConnectionError: what came back is not what was sent.
    """
    client.sendall(struct.pack("<cQ", b"E", len(SMALL)) + SMALL)
    if _receive(client, len(SMALL)) != SMALL:
        raise ConnectionError("the echo is not what was sent")


def _receive(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = client.recv(count - len(data))
        if not more:
            raise ConnectionError("the connection ended too early")
        data += more
    return data


def connect_and_echo(address: Address) -> float:
    """Milliseconds until a new connection has answered once."""

    def work() -> None:
        with connect(address) as client:
            echo(client)

    return milliseconds(work)


def upload(client: socket.socket, count: int) -> float:
    """Megabytes per second from here to the sink, its word that all has arrived included."""
    begun = time.perf_counter()
    client.sendall(struct.pack("<cQ", b"U", count))
    for _ in range(count // len(PIECE)):
        client.sendall(PIECE)
    if _receive(client, 1) != b"k":
        raise ConnectionError("the sink did not get everything")
    return count / MB / (time.perf_counter() - begun)


def download(client: socket.socket, count: int) -> float:
    """Megabytes per second from the sink to here."""
    room = bytearray(len(PIECE))
    begun = time.perf_counter()
    client.sendall(struct.pack("<cQ", b"D", count))
    left = count
    while left:
        got = client.recv_into(room, min(len(room), left))
        if not got:
            raise ConnectionError("the connection ended too early")
        left -= got
    return count / MB / (time.perf_counter() - begun)


def wait(address: Address) -> None:
    """Wait until a sink answers there.

    Raises:
        TimeoutError: it does not.
    """

    def attempt() -> bool:
        with suppress(OSError):
            connect_and_echo(address)
            return True
        return False

    until(attempt, what=f"the sink at port {address[1]}")
