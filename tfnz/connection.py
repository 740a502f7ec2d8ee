"""One session with a location: connect, say hello, stay alive, reconnect, close.

Lives in the I/O loop. Knows the wire; knows nothing of containers' or volumes' objects (it hands events on).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
import zmq.utils.monitor

import tfcore
from tfcore.errors import (
    DeadlineExceeded,
    SessionLost,
    TfError,
    Unavailable,
    UnknownKey,
    WrongServerKey,
)
from tfcore.rpc.dispatcher import Dispatcher
from tfcore.rpc.link import Link
from tfcore.rpc.port import Frames, Port, dealer
from tfcore.wire import sessions
from tfcore.wire.header import Header, decode_header, encode_header
from tfcore.wire.message import decode, op_of
from tfnz.accounts import Account

log = logging.getLogger(__name__)

OPEN_TIMEOUT = 15.0
"""Seconds from the first connection attempt to an open session."""

OnEvent = Callable[[Header, "bytes | memoryview"], None]


class Connection:
    """A session and the socket under it."""

    def __init__(self, account: Account, on_event: OnEvent, on_lost: Callable[[TfError], None]) -> None:
        self._account = account
        self._on_event = on_event
        self._on_lost = on_lost
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._port: Port | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._reopening: asyncio.Task[None] | None = None
        self._live: socket.socket | None = None
        self._seen = "no answer from the network"
        self._refusal: asyncio.Future[TfError] | None = None
        self._closed = False
        self._failures = 0
        self._monitor: Port | None = None
        self.link = Link(self._send, dispatcher=Dispatcher({}), on_event=self._event)
        self.welcome: sessions.Welcome | None = None

    @property
    def local(self) -> bool:
        """True if the location runs on this machine, in private."""
        return self._account.local

    async def open(self) -> sessions.Welcome:
        """Connect and open a session.

        Raises:
            UnknownKey, WrongServerKey, VersionMismatch: refused, with the way out.
            Unavailable: nobody answers; the message says what was last seen.
        """
        self._refusal = asyncio.get_running_loop().create_future()
        dealing = dealer(
            self._context, self._account.keys, server_key=self._account.server_key, endpoint=self._account.endpoint
        )
        self._watch(dealing)
        self._port = Port(dealing, self._receive)
        hello = asyncio.ensure_future(self._hello())
        try:
            waiting: set[asyncio.Future[Any]] = {hello, self._refusal}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not hello.done():
                raise self._refusal.result()
            self.welcome = await hello
        except DeadlineExceeded as late:
            raise Unavailable(
                f"location {self._account.location} at {self._account.endpoint} did not open a session within "
                f"{OPEN_TIMEOUT:g} s; last seen: {self._seen}",
                retryable=True,
            ) from late
        finally:
            hello.cancel()
        self.link.session = self.welcome.session
        self._show_life(self.welcome)
        self._renewal = asyncio.get_running_loop().create_task(self._renew(self.welcome.lease))
        return self.welcome

    async def _hello(self) -> sessions.Welcome:
        hello = sessions.OpenSession(
            version=tfcore.VERSION,
            session=self.welcome.session if self.welcome else "",
            local=self._account.local,
            program=Path(sys.argv[0]).name[:64],
        )
        return await self.link.call(hello, timeout=OPEN_TIMEOUT)

    def _show_life(self, welcome: sessions.Welcome) -> None:
        """A plain socket beside ZeroMQ's: the location knows of our death at once (DESIGN D4)."""
        if self._live is not None:
            self._live.close()
            self._live = None
        if not welcome.live:
            return
        live = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            live.connect(welcome.live)
            live.sendall(welcome.session.encode() + b"\n")
        except OSError as error:
            live.close()
            log.info("no liveness socket: %s", error)
            return
        self._live = live

    async def _renew(self, lease: float) -> None:
        while True:
            await asyncio.sleep(max(0.5, min(lease / 4, 15.0)))
            try:
                await self.link.call(sessions.RenewLease(), timeout=10.0)
            except TfError as error:
                log.info("the location does not answer: %s", error)

    # the socket

    def _send(self, header: Header, body: bytes | memoryview) -> None:
        if self._port is None:
            raise Unavailable("the location is disconnected")
        self._port.send([encode_header(header), body])

    def _receive(self, frames: Frames) -> None:
        body = frames[1].buffer if len(frames) > 1 else b""
        self.link.receive(decode_header(frames[0].bytes), body)

    def _event(self, header: Header, body: bytes | memoryview) -> None:
        if header.op != op_of(sessions.SessionLost):
            self._on_event(header, body)
            return
        event = decode(body, sessions.SessionLost)
        if event.ended:
            self._give_up(event.reason)
        else:
            self._reopen()

    def _reopen(self) -> None:
        if self._closed or self.welcome is None or (self._reopening and not self._reopening.done()):
            return
        self._reopening = asyncio.get_running_loop().create_task(self._take_up())

    async def _take_up(self) -> None:
        """After a cut: the same session again, and all open requests once more."""
        assert self.welcome is not None
        try:
            welcome = await self._hello()
        except TfError as error:
            log.info("the session could not be taken up yet: %s", error)
            return
        if welcome.session != self.welcome.session:
            self._give_up("its lease ended while the connection was cut")
            return
        self.welcome = welcome
        self._show_life(welcome)
        log.info("session %s taken up again", welcome.session)
        self.link.replay()

    def _give_up(self, reason: str) -> None:
        error = SessionLost(f"the session at {self._account.location} has ended: {reason}")
        self.link.lost(error)
        self._on_lost(error)

    # what the socket tells of its connections

    def _watch(self, dealing: zmq.Socket[bytes]) -> None:
        self._monitor = Port(dealing.get_monitor_socket(), self._connection_event)

    def _connection_event(self, frames: Frames) -> None:
        event = zmq.utils.monitor.parse_monitor_message([frame.bytes for frame in frames])
        kind, value = event["event"], event["value"]
        if kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._seen = "connected, but no welcome"
            self._reopen()
        elif kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self._refuse(
                UnknownKey(
                    f"location {self._account.location} does not know this account's key, or has revoked it",
                    hint="ask its operator for a new invitation and run: tf account accept INVITATION",
                )
            )
        elif kind in (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
            self._handshake_failed(value)
        elif kind in (zmq.EVENT_CLOSED, zmq.EVENT_CONNECT_RETRIED, zmq.EVENT_DISCONNECTED):
            self._seen = "the connection is refused" if kind == zmq.EVENT_CONNECT_RETRIED else self._seen

    def _handshake_failed(self, value: int) -> None:
        """Nobody but the pinned key's holder can finish CURVE's handshake: a server of another key just hangs up.

        A location that is being restarted does so as well, hence the refusal only after the third failure in a row.
        """
        self._seen = f"the handshake failed ({errno.errorcode.get(value, value)})"
        self._failures += 1
        if self._failures >= 3:
            self._refuse(
                WrongServerKey(
                    f"what listens at {self._account.endpoint} does not hold the key pinned for "
                    f"{self._account.location}",
                    hint="if the location has got a new key, ask its operator for a new invitation",
                )
            )

    def _refuse(self, error: TfError) -> None:
        if self.welcome is None and self._refusal is not None and not self._refusal.done():
            self._refusal.set_result(error)
        elif self.welcome is not None and isinstance(error, UnknownKey):
            self._give_up(error.message)

    # the end

    async def close(self) -> None:
        """Free everything of the session, as far as the location can be reached, and let go of the socket."""
        if self._closed:
            return
        self._closed = True
        for task in (self._renewal, self._reopening):
            if task is not None:
                task.cancel()
        if self.welcome is not None and self._port is not None:
            try:
                await self.link.call(sessions.CloseSession(), timeout=20.0)
            except TfError as error:
                log.info("the location will free the session by itself: %s", error)
        await self.link.close()
        if self._live is not None:
            self._live.close()
        if self._port is not None:
            self._port.socket.disable_monitor()
            if self._monitor is not None:
                self._monitor.close()
            self._port.close()
        self._context.destroy(linger=200)
