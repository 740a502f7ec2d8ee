"""A ZeroMQ socket in an asyncio loop: messages out at once, messages in by callback, in order.

ZeroMQ's manners are here and nowhere else. Knows no message formats. One loop owns a port; nobody else touches its
socket. (zmq.asyncio makes a future and a task of every message; this makes none.)
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Sequence

import zmq

from tfcore.errors import BadRequest, Unavailable
from tfcore.keys import KeyPair
from tfcore.wire.header import MAX_BODY

log = logging.getLogger(__name__)

Frames = list[zmq.Frame]
OnMessage = Callable[[Frames], None]

BATCH = 100
"""Messages handled before the loop gets a turn."""

HIGH_WATER = 20_000
"""Messages waiting in one direction of one connection. Streams are bounded by credit long before."""

CURVE_OVERHEAD = 64
"""Bytes by which an encrypted frame is longer (33, RFC 26): libzmq's limit counts them."""

HEARTBEAT = 5_000
HEARTBEAT_TIMEOUT = 20_000
HANDSHAKE = 10_000
"""Milliseconds."""


class Port:
    """A socket with a reader. `on_message` gets the frames; what it raises is logged and does not stop the port."""

    def __init__(self, socket: zmq.Socket[bytes], on_message: OnMessage) -> None:
        self.socket = socket
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._closed = False
        self._fd = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self._schedule)
        self._schedule()

    def send(self, frames: Sequence[bytes | memoryview | zmq.Frame]) -> None:
        """Hand a message to ZeroMQ, without ever waiting.

        Raises:
            Unavailable: the peer is not connected (ROUTER), or does not read what it has been sent.
            BadRequest: larger than the other side takes, which would cut the connection.
        """
        if self._closed:
            raise Unavailable("the connection is closed")
        if len(frames[-1]) > MAX_BODY:
            raise BadRequest(f"a message of {len(frames[-1])} bytes is too large; at most {MAX_BODY} are allowed")
        try:
            self.socket.send_multipart(frames, zmq.NOBLOCK, copy=_small(frames))
        except zmq.ZMQError as error:
            if error.errno in (errno.EHOSTUNREACH, zmq.EAGAIN):
                raise Unavailable("the peer is gone, or does not read", retryable=True) from error
            raise
        # The descriptor is edge-triggered and sending may have swallowed the edge of something that came in.
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._scheduled = False
        for _ in range(BATCH):
            if self._closed:
                return
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._handle(frames)
        self._schedule()

    def _handle(self, frames: Frames) -> None:
        try:
            self._on_message(frames)
        except Exception:
            log.exception("a message could not be handled")

    def close(self) -> None:
        """Stop reading and close the socket; unsent messages are dropped after a moment."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._fd)
            self.socket.close(linger=200)


def _small(frames: Sequence[bytes | memoryview | zmq.Frame]) -> bool:
    """Copying beats zero-copy bookkeeping below some kilobytes; received frames are passed on as they are."""
    last = frames[-1]
    return not isinstance(last, zmq.Frame) and len(last) < 16384


def router(context: zmq.Context[zmq.Socket[bytes]], keys: KeyPair, endpoints: Sequence[str]) -> zmq.Socket[bytes]:
    """The location's socket, bound to every endpoint, CURVE on all of them; who may connect is the ZAP handler's affair.

    Raises:
        Unavailable: an endpoint cannot be bound; the message says which and why.
    """
    socket = context.socket(zmq.ROUTER)
    socket.router_mandatory = True  # an unknown peer is an error, not a silent drop
    socket.curve_server = True
    socket.curve_secretkey = keys.secret_z85
    socket.curve_publickey = keys.public_z85
    socket.zap_domain = b"tf"
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without a ZAP handler nobody gets in, instead of everybody
    _manners(socket)
    for endpoint in endpoints:
        socket.ipv6 = _is_ipv6(endpoint)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            raise Unavailable(f"cannot listen on {endpoint}: {error}") from error
    return socket


def dealer(
    context: zmq.Context[zmq.Socket[bytes]], keys: KeyPair, *, server_key: bytes, endpoint: str
) -> zmq.Socket[bytes]:
    """A client's or node's socket, connecting (and reconnecting) to `endpoint`.

    Args:
        server_key: the location's public key, 32 bytes.
    """
    import zmq.utils.z85

    socket = context.socket(zmq.DEALER)
    socket.curve_serverkey = zmq.utils.z85.encode(server_key)
    socket.curve_secretkey = keys.secret_z85
    socket.curve_publickey = keys.public_z85
    socket.reconnect_ivl = 50
    socket.reconnect_ivl_max = 1000
    _manners(socket)
    socket.ipv6 = _is_ipv6(endpoint)
    socket.connect(endpoint)
    return socket


def _is_ipv6(endpoint: str) -> bool:
    """An address in brackets. (Not for names: libzmq takes the first IPv6 address it finds and tries no other.)"""
    return "://[" in endpoint


def _manners(socket: zmq.Socket[bytes]) -> None:
    socket.linger = 0
    socket.sndhwm = HIGH_WATER
    socket.rcvhwm = HIGH_WATER
    socket.maxmsgsize = MAX_BODY + CURVE_OVERHEAD
    socket.heartbeat_ivl = HEARTBEAT
    socket.heartbeat_timeout = HEARTBEAT_TIMEOUT
    socket.handshake_ivl = HANDSHAKE
    socket.tcp_keepalive = 1
