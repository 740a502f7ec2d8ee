"""ZeroMQ's question before every connection: may this key in, and who is it? (RFC 27, ZAP)

libzmq asks over an inproc socket of the same context and puts the answer's user id on every message of that connection.
Knows no accounts: whose key it is, is asked of `Admit`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import zmq

from tfcore.clock import Clock
from tfcore.keys import text_of
from tfcore.rpc.port import Frames, Port
from tflocation.throttle import Throttle

log = logging.getLogger(__name__)

ENDPOINT = "inproc://zeromq.zap.01"
"""Fixed by the RFC: one handler for each context."""

Admit = Callable[[bytes], str | None]
"""Public key to user id, or None for strangers."""

ONE_WARNING = 10.0
"""Seconds in which an unknown key is logged once, however often its holder tries."""

_FRAMES = 9
"""Route, delimiter, version, request id, domain, address, identity, mechanism, credentials."""


class Doorkeeper:
    """The ZAP handler of one context. Make it before the first socket is bound: without it nobody gets in."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], admit: Admit, *, clock: Clock) -> None:
        self._admit = admit
        self._warnings = Throttle(clock, seconds=ONE_WARNING)
        socket = context.socket(zmq.ROUTER)
        socket.linger = 0
        socket.bind(ENDPOINT)
        self._port = Port(socket, self._on_question)
        self.refused = 0
        """Connections turned away so far."""

    def _on_question(self, frames: Frames) -> None:
        parts = [frame.bytes for frame in frames]
        if len(parts) != _FRAMES or parts[2] != b"1.0":
            log.error("ZeroMQ asked something this handler does not know: %d frames", len(parts))
            return
        route, delimiter, version, request, _domain, address, _identity, mechanism, key = parts
        user = self._admit(key) if mechanism == b"CURVE" else None
        if user is None:
            self._refuse(address, key)
        code, text = (b"200", b"OK") if user else (b"400", b"unknown key")
        self._port.send([route, delimiter, version, request, code, text, (user or "").encode(), b""])

    def _refuse(self, address: bytes, key: bytes) -> None:
        self.refused += 1
        if self._warnings.lets(key):
            log.warning("refused a connection from %s: unknown key %s", address.decode(errors="replace"), text_of(key))

    def close(self) -> None:
        """Answer no more: from now on nobody gets in."""
        self._port.close()
