"""Accepting an invitation: register a fresh public key under the invitation's key, which is void from then on.

The guest's half, the same for `tf account accept` and `tf-node enrol`; the location's is its handler of
`AcceptInvitation`. Knows no files: the caller has made the key pair, and keeps it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from tfcore.errors import TfError, Unavailable, UnknownKey, WrongServerKey
from tfcore.invitations import Invitation
from tfcore.rpc.dispatcher import Dispatcher
from tfcore.rpc.link import Link
from tfcore.rpc.port import Frames, Port, dealer
from tfcore.wire.header import Header, decode_header, encode_header
from tfcore.wire.sessions import AcceptInvitation

TIMEOUT = 15.0
"""Seconds for connection, handshake and answer."""

_PATIENCE = 3
"""Failed handshakes in a row after which the server's key counts as wrong: one being restarted fails some, too."""


async def accept(invitation: Invitation, public_key: bytes, *, timeout: float = TIMEOUT) -> None:
    """Have `public_key` (32 bytes) made the key of the account or node the invitation is for.

    Harmless to repeat with the same key while the location remembers the invitation.

    Raises:
        UnknownKey: the invitation has been used, withdrawn, or has expired.
        WrongServerKey: what listens there is not the location that made the invitation.
        Unavailable: nobody answers; the message says what was last seen.
        TfError: as the location says.
    """
    guest = _Guest(invitation)
    try:
        await guest.register(public_key, timeout)
    finally:
        await guest.close()


class _Guest:
    """One connection under an invitation's key."""

    def __init__(self, invitation: Invitation) -> None:
        self._invitation = invitation
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = dealer(self._context, invitation.keys, server_key=invitation.server_key, endpoint=invitation.address)
        self._refusal: asyncio.Future[TfError] = asyncio.get_running_loop().create_future()
        self._failures = 0
        self._seen = "nobody listens there"
        self._monitor = Port(socket.get_monitor_socket(), self._on_connection)
        self._port = Port(socket, self._on_message)
        self._link = Link(self._send, dispatcher=Dispatcher({}), on_event=lambda _header, _body: None)

    async def register(self, public_key: bytes, timeout: float) -> None:
        asking = asyncio.ensure_future(self._link.call(AcceptInvitation(key=public_key), timeout=timeout))
        try:
            waiting: set[asyncio.Future[Any]] = {asking, self._refusal}
            done, _ = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if self._refusal in done:
                raise self._refusal.result()
            if not done:
                raise Unavailable(
                    f"location {self._invitation.location} at {self._invitation.address} did not answer within "
                    f"{timeout:g} s; last seen: {self._seen}",
                    retryable=True,
                )
            await asking
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    def _send(self, header: Header, body: bytes | memoryview) -> None:
        self._port.send([encode_header(header), body])

    def _on_message(self, frames: Frames) -> None:
        self._link.receive(decode_header(frames[0].bytes), frames[1].buffer)

    def _on_connection(self, frames: Frames) -> None:
        event = parse_monitor_message([frame.bytes for frame in frames])
        match event["event"]:
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._seen = "connected, but no answer"
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._refuse(
                    UnknownKey(
                        f"location {self._invitation.location} does not know this invitation: it has been used or "
                        "withdrawn, or has expired",
                        hint="ask for a new one",
                    )
                )
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._handshake_failed()

    def _handshake_failed(self) -> None:
        self._seen = "the handshake failed"
        self._failures += 1
        if self._failures >= _PATIENCE:
            self._refuse(
                WrongServerKey(
                    f"what listens at {self._invitation.address} is not the location that made this invitation",
                    hint="ask for a new one",
                )
            )

    def _refuse(self, error: TfError) -> None:
        if not self._refusal.done():
            self._refusal.set_result(error)

    async def close(self) -> None:
        await self._link.close()
        self._port.socket.disable_monitor()
        self._monitor.close()
        self._port.close()
        self._context.destroy(linger=200)
