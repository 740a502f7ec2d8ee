"""What libzmq tells of a socket's connections, in our words: up, cut, or refused for a reason the user can act on.

Facts of libzmq 4.3: a server of another key hangs up during the handshake, and so does one that is being restarted; one
that does not know us answers 400; what is no ZeroMQ peer at all ends without any event of a handshake, and libzmq does not
try again. Knows no sessions.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from tfcore.errors import TfError, Unavailable, UnknownKey, WrongServerKey
from tfnz.accounts import Account, directory

PATIENCE = 3
"""Handshakes the other side may break off in a row before its key counts as wrong."""

UNKNOWN = 400
"""The ZAP status for a key that is not known (RFC 27)."""


class Handshakes:
    """The monitor of one dealing socket; lives in the I/O loop.

    Attributes:
        seen: what was last seen, for error messages.
    """

    def __init__(
        self,
        dealing: zmq.Socket[bytes],
        account: Account,
        *,
        up: Callable[[], None],
        cut: Callable[[], None],
        refused: Callable[[TfError], None],
    ) -> None:
        """`up` and `cut` are called as connections come and go, `refused` if there will be none."""
        self.seen = "no answer from the network"
        self._account = account
        self._up = up
        self._cut = cut
        self._refused = refused
        self._broken_off = 0
        self._greeted = True
        self._dealing = dealing
        self._monitor: zmq.Socket[bytes] = dealing.get_monitor_socket()
        self._loop = asyncio.get_running_loop()
        self._fd = int(self._monitor.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self.catch_up)
        self._loop.call_soon(self.catch_up)

    def catch_up(self) -> None:
        """Read everything libzmq has told so far.

        Called before each message is handled, too: what a connection brought must not be seen before its beginning.
        """
        while not self._monitor.closed:
            try:
                frames = self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._event(parse_monitor_message(frames))

    def _event(self, event: Mapping[str, Any]) -> None:
        match event["event"]:
            case zmq.EVENT_CONNECTED:
                self.seen = "connected, but no handshake"
                self._greeted = False
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.seen = "connected, but no welcome"
                self._greeted, self._broken_off = True, 0
                self._up()
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._greeted = True
                self._refused(self._unknown(event["value"]))
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                self._greeted = True
                self._failed(event["value"])
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._greeted = True
                self._refused(self._stranger())
            case zmq.EVENT_DISCONNECTED:
                self._disconnected()
            case zmq.EVENT_CONNECT_RETRIED:
                self._not_connected()

    def _unknown(self, status: int) -> TfError:
        if status != UNKNOWN:
            return Unavailable(f"location {self._account.location} cannot check keys at the moment (status {status})")
        return UnknownKey(
            f"location {self._account.location} does not know this account's key, or has revoked it",
            hint=f"move {directory() / self._account.location}* away, ask its operator for a new invitation and run: "
            "tf account accept INVITATION",
        )

    def _failed(self, value: int) -> None:
        if value == errno.EAGAIN:
            self.seen = "something listens there, but says nothing"
            return
        self.seen = f"the handshake was broken off ({errno.errorcode.get(value, value)})"
        self._broken_off += 1
        if self._broken_off >= PATIENCE:
            self._refused(
                WrongServerKey(
                    f"what listens at {self._account.endpoint} does not hold the key pinned for "
                    f"{self._account.location}",
                    hint=f"if the location has got a new key, move {directory() / self._account.location}* away, ask its "
                    "operator for a new invitation and run: tf account accept INVITATION",
                )
            )

    def _stranger(self) -> TfError:
        return Unavailable(
            f"what listens at {self._account.endpoint} is not a location",
            hint="check address and port; a location's port is 5555 unless its operator chose another",
        )

    def _disconnected(self) -> None:
        if not self._greeted:
            self._refused(self._stranger())
        self._cut()

    def _not_connected(self) -> None:
        if self._greeted and self._broken_off == 0:
            self.seen = "nobody listens there"
        if self._account.local:
            # Whoever started a private location waited until it listened: it is gone, and will not come by itself.
            self._refused(Unavailable(f"the private location at {self._account.endpoint} has gone", retryable=True))

    def close(self) -> None:
        """Stop watching; before the dealing socket is closed."""
        self._loop.remove_reader(self._fd)
        self._dealing.disable_monitor()
        self._monitor.close(linger=0)
