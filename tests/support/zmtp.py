"""A client that speaks ZMTP and CURVE (RFC 23, 26) by hand: it can stop half way, and say what libzmq never would."""

from __future__ import annotations

import socket
import struct

import libnacl

from tfcore.keys import KeyPair

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + b"\0" + bytes(31)
MORE, LONG, COMMAND = 1, 2, 4
"""Flags of a frame."""

SECONDS = 30.0


class Wire:
    """One TCP connection to a location, with no more manners than its user has.

    Args:
        endpoint: `tcp://address:port`.
        server_key: the location's public key.
        pair: whose key to show.
    """

    def __init__(self, endpoint: str, server_key: bytes, pair: KeyPair) -> None:
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=SECONDS)
        self._server_key, self._pair = server_key, pair
        self._mine, self._my_secret = libnacl.crypto_box_keypair()
        self._nonce = 0
        self._theirs = b""
        self._buffered = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def greet(self) -> None:
        """Exchange greetings."""
        self.socket.sendall(GREETING)
        self._read(64)

    def hello(self) -> bytes:
        """Say HELLO; returns the server's cookie."""
        box = libnacl.crypto_box(bytes(64), b"CurveZMQHELLO---" + self._count(), self._server_key, self._my_secret)
        self.command(b"\x05HELLO\x01\x00" + bytes(72) + self._mine + self._counted() + box)
        welcome = self._command(b"\x07WELCOME")
        opened = libnacl.crypto_box_open(welcome[16:], b"WELCOME-" + welcome[:16], self._server_key, self._my_secret)
        self._theirs = opened[:32]
        return bytes(opened[32:])

    def initiate(self, cookie: bytes, *, metadata: bytes | None = None) -> None:
        """Say INITIATE with the proof that we hold our key."""
        nonce = libnacl.utils.rand_nonce()[:16]
        vouch = libnacl.crypto_box(self._mine + self._server_key, b"VOUCH---" + nonce, self._theirs, self._pair.secret)
        if metadata is None:
            metadata = _property(b"Socket-Type", b"DEALER") + _property(b"Identity", b"")
        plain = self._pair.public + nonce + vouch + metadata
        box = libnacl.crypto_box(plain, b"CurveZMQINITIATE" + self._count(), self._theirs, self._my_secret)
        self.command(b"\x08INITIATE" + cookie + self._counted() + box)

    def handshake(self) -> None:
        """All of it."""
        self.greet()
        self.initiate(self.hello())
        self._command(b"\x05READY")

    def part(self, data: bytes, *, more: bool) -> None:
        """One frame of a message."""
        box = libnacl.crypto_box(
            (b"\x01" if more else b"\x00") + data, b"CurveZMQMESSAGEC" + self._count(), self._theirs, self._my_secret
        )
        self.frame(b"\x07MESSAGE" + self._counted() + box, flags=0)

    def command(self, body: bytes) -> None:
        """A command frame."""
        self.frame(body, flags=COMMAND)

    def frame(self, body: bytes, *, flags: int) -> None:
        """Any frame."""
        if len(body) > 255:
            self.socket.sendall(bytes([flags | LONG]) + struct.pack("!Q", len(body)) + body)
        else:
            self.socket.sendall(bytes([flags, len(body)]) + body)

    def is_cut(self) -> bool:
        """True as soon as the other side has hung up; waits for that, but not for ever."""
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def _count(self) -> bytes:
        self._nonce += 1
        return self._counted()

    def _counted(self) -> bytes:
        return struct.pack("!Q", self._nonce)

    def _command(self, name: bytes) -> bytes:
        flags, size = self._read(2)
        if flags & LONG:
            (size,) = struct.unpack("!Q", bytes([size]) + self._read(7))
        body = self._read(size)
        assert body.startswith(name), f"{body[:20]!r} instead of {name!r}"
        return body[len(name) :]

    def _read(self, size: int) -> bytes:
        while len(self._buffered) < size:
            got = self.socket.recv(65536)
            assert got, "the other side has hung up"
            self._buffered += got
        taken, self._buffered = self._buffered[:size], self._buffered[size:]
        return taken


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + struct.pack("!I", len(value)) + value


def strangers(endpoint: str, count: int) -> list[socket.socket]:
    """So many connections of which nothing comes."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return [socket.create_connection((host, int(port)), timeout=SECONDS) for _ in range(count)]
