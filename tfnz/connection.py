"""One session with a location: connect, say hello, stay alive, take the session up again after a cut, close.

Lives in the I/O loop. Knows the wire; knows nothing of containers' or volumes' objects (it hands offers and events on).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

import tfcore
from tfcore.errors import Refused, SessionLost, TfError, Unavailable, UnknownKey, WrongState
from tfcore.rpc.dispatcher import Dispatcher
from tfcore.rpc.link import GRACE, Link, Ongoing
from tfcore.rpc.port import Frames, Port, dealer
from tfcore.wire import sessions
from tfcore.wire.header import Header, decode_header, encode_header
from tfcore.wire.message import ReplyT, Request, decode, op_of
from tfnz.accounts import Account
from tfnz.forks import close_in_children
from tfnz.handshakes import Handshakes

log = logging.getLogger(__name__)

OPEN_TIMEOUT = 15.0
"""Seconds from the first connection attempt to an open session."""

HELLO_TIMEOUT = 10.0
HELLO_PAUSE = 0.5
"""Seconds for a hello after a cut, and between two."""

CLOSE_TIMEOUT = 20.0
"""Seconds the location may take to free everything of a session that is closed in order."""

BRIEF = 1.0
"""Seconds to wait for that when the connection is cut anyway; the lease does it then."""

BEYOND_LEASE = 1.25
"""How many leases after a cut a session counts as lost on this side: it is lost on the other by then."""

LOCAL_PATIENCE = 10.0
"""Seconds to wait for a private location that has gone; nobody but a new start of it brings it back."""

OnEvent = Callable[[Header, "bytes | memoryview"], None]
OnWelcome = Callable[[sessions.Welcome], None]
OnLost = Callable[[SessionLost], None]


class Connection:
    """A session and the socket under it."""

    def __init__(
        self, account: Account, *, on_welcome: OnWelcome, on_event: OnEvent, on_lost: OnLost, visiting: bool = False
    ) -> None:
        """The callbacks run in the I/O loop: `on_welcome` at every welcome, the first and those after cuts.

        `visiting`: the session may look into its account's other sessions (`tfcore.wire.visits`).
        """
        self._account = account
        self._visiting = visiting
        self._on_welcome = on_welcome
        self._on_event = on_event
        self._on_lost = on_lost
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._port: Port | None = None
        self._handshakes: Handshakes | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._taking_up: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._refusal: asyncio.Future[TfError] = asyncio.get_running_loop().create_future()
        self._up = asyncio.Event()
        self._was_cut = False
        self._lost: SessionLost | None = None
        self._closed = False
        self._live: socket.socket | None = None
        self.link = Link(self._send, dispatcher=Dispatcher({}), on_event=self._event)
        self.welcome: sessions.Welcome | None = None

    @property
    def local(self) -> bool:
        """True if the location runs on this machine, in private."""
        return self._account.local

    # the session

    async def open(self) -> sessions.Welcome:
        """Connect and open a session.

        Raises:
            UnknownKey, WrongServerKey, VersionMismatch: refused, with the way out.
            Unavailable: nobody answers; the message says what was last seen.
        """
        dealing = dealer(
            self._context, self._account.keys, server_key=self._account.server_key, endpoint=self._account.endpoint
        )
        self._handshakes = Handshakes(dealing, self._account, up=self._connected, cut=self._cut, refused=self._refused)
        self._port = Port(dealing, self._receive)
        hello = asyncio.ensure_future(self._hello(OPEN_TIMEOUT))
        try:
            waiting: set[asyncio.Future[Any]] = {hello, self._refusal}
            await asyncio.wait(waiting, timeout=OPEN_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            if self._refusal.done():
                raise self._refusal.result()
            if not hello.done():
                raise Unavailable(
                    f"location {self._account.location} at {self._account.endpoint} did not open a session within "
                    f"{OPEN_TIMEOUT:g} s; last seen: {self._handshakes.seen}",
                    retryable=True,
                )
            self._welcomed(hello.result())
        finally:
            hello.cancel()
            await asyncio.gather(hello, return_exceptions=True)
        assert self.welcome is not None
        self._renewal = asyncio.get_running_loop().create_task(self._renew(self.welcome.lease))
        return self.welcome

    async def _hello(self, timeout: float) -> sessions.Welcome:
        hello = sessions.OpenSession(
            version=tfcore.VERSION,
            session=self.welcome.session if self.welcome else "",
            local=self._account.local,
            program=Path(sys.argv[0]).name[:64],
            visiting=self._visiting,
        )
        return await self.link.call(hello, timeout=timeout)

    def _welcomed(self, welcome: sessions.Welcome) -> None:
        self.welcome = welcome
        self.link.session = welcome.session
        self._show_life(welcome)
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._on_welcome(welcome)
        self._up.set()

    def _show_life(self, welcome: sessions.Welcome) -> None:
        """A plain socket beside ZeroMQ's: the location knows of our death at once (DESIGN D4)."""
        self._hide_life()
        if not welcome.live:
            return
        live = close_in_children(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
        try:
            live.connect(welcome.live)
            live.sendall(welcome.session.encode() + b"\n")
        except OSError as error:
            live.close()
            log.info("no liveness socket: %s", error)
            return
        self._live = live

    def _hide_life(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None

    async def _renew(self, lease: float) -> None:
        while True:
            await asyncio.sleep(max(0.2, min(lease / 4, 15.0)))
            if not self._up.is_set():
                continue
            try:
                await self.link.call(sessions.RenewLease(), timeout=10.0)
            except TfError as error:
                log.info("the location does not answer: %s", error)

    # requests

    async def call(self, request: Request[ReplyT], *, target: str = "", timeout: float = 60.0) -> ReplyT:
        """Ask and wait for the answer.

        A connection that is cut in the meantime does not count: the session is taken up again and the request asked once
        more, under the same id (DESIGN D3).

        Raises:
            TfError: as the other side answers; `SessionLost` if the session ends first.
        """
        return await self.reply(await self.begin(request, target=target, timeout=timeout))

    async def begin(self, request: Request[ReplyT], *, target: str = "", timeout: float = 60.0) -> Ongoing[ReplyT]:
        """Ask, and get hold of the request's stream; `reply` or `Ongoing.abandon` must follow."""
        await self._up.wait()
        if self._lost is not None:
            raise self._lost
        ongoing = self.link.begin(request, target=target, timeout=timeout)
        log.debug("%s request=%s session=%s target=%s", ongoing.header.op, ongoing.header.id, self.link.session, target)
        return ongoing

    async def reply(self, ongoing: Ongoing[ReplyT]) -> ReplyT:
        """The answer to what `begin` began. The other side keeps the time; ours is for a connection that was cut."""
        try:
            return await ongoing.reply(grace=GRACE + self._limit())
        except TfError as error:
            log.debug("%s request=%s outcome=%s: %s", ongoing.header.op, ongoing.header.id, error.code, error.message)
            raise

    def _limit(self) -> float:
        """Seconds a cut may last."""
        if self.local or self.welcome is None:
            return LOCAL_PATIENCE
        return self.welcome.lease * BEYOND_LEASE

    # the socket

    def _send(self, header: Header, body: bytes | memoryview) -> None:
        if self._port is None:
            raise Unavailable("the location is disconnected")
        self._port.send([encode_header(header), body])

    def _receive(self, frames: Frames) -> None:
        assert self._handshakes is not None
        self._handshakes.catch_up()
        body = frames[1].buffer if len(frames) > 1 else b""
        self.link.receive(decode_header(frames[0].bytes), body)

    def _event(self, header: Header, body: bytes | memoryview) -> None:
        if header.op != op_of(sessions.SessionLost):
            self._on_event(header, body)
            return
        event = decode(body, sessions.SessionLost)
        if event.ended:
            self._give_up(event.reason)
        elif self._up.is_set():
            self._cut()
            self._take_up_again()

    # cuts

    def _connected(self) -> None:
        if self.welcome is not None and self._was_cut:
            self._take_up_again()
        elif self._was_cut:
            self.link.replay()  # the hello may have been lost with the connection before

    def _cut(self) -> None:
        self._was_cut = True
        if self.welcome is None or self._lost is not None:
            return
        self._up.clear()
        if self._patience is None:
            log.info("the connection to %s is cut", self._account.location)
            self._patience = asyncio.get_running_loop().call_later(self._limit(), self._too_long)

    def _too_long(self) -> None:
        assert self._handshakes is not None
        self._give_up(f"it could not be reached for {self._limit():g} s; last seen: {self._handshakes.seen}")

    def _take_up_again(self) -> None:
        if self._closed or self._lost is not None:
            return
        if self._taking_up is not None:
            self._taking_up.cancel()  # its hello went by a connection that is no more
        self._taking_up = asyncio.get_running_loop().create_task(self._take_up())

    async def _take_up(self) -> None:
        """The same session again, and all open requests once more."""
        assert self.welcome is not None
        try:
            welcome = await self._hello_until_answered()
        except Refused as refused:
            self._give_up(refused.message)
            return
        if welcome.session == self.welcome.session:
            self._welcomed(welcome)
            log.info("session %s taken up again", welcome.session)
            self.link.replay()
            return
        self._give_up("its lease ended while the connection was cut")
        self.link.session = welcome.session
        with contextlib.suppress(TfError):
            await self.link.call(sessions.CloseSession(), timeout=CLOSE_TIMEOUT)

    async def _hello_until_answered(self) -> sessions.Welcome:
        """A location that is still starting may not answer the first; `_too_long` ends it."""
        while True:
            try:
                return await self._hello(HELLO_TIMEOUT)
            except Refused:
                raise
            except TfError as error:
                log.info("the session could not be taken up yet: %s", error)
                await asyncio.sleep(HELLO_PAUSE)

    def _refused(self, error: TfError) -> None:
        if self.welcome is None:
            if not self._refusal.done():
                self._refusal.set_result(error)
        elif isinstance(error, UnknownKey):
            self._give_up(error.message)

    def _give_up(self, reason: str) -> None:
        if self._lost is not None or self._closed:
            return
        self._lost = SessionLost(f"the session at {self._account.location} has ended: {reason}")
        self._hide_life()
        self._up.set()
        self.link.lost(self._lost)
        self._on_lost(self._lost)

    # the end

    async def close(self) -> None:
        """Free everything of the session, as far as the location can be reached, and let go of the socket."""
        if self._closed:
            return
        self._closed = True
        await self._end_tasks()
        if self.welcome is not None and self._lost is None:
            await self._close_session()
        self.link.lost(WrongState(f"location {self._account.location} was disconnected during the call"))
        await self.link.close()
        self._hide_life()
        if self._handshakes is not None:
            self._handshakes.close()
        if self._port is not None:
            self._port.close()
        self._context.destroy(linger=200)

    async def _end_tasks(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        tasks = [task for task in (self._renewal, self._taking_up) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _close_session(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT if self._up.is_set() else BRIEF):
                await self.link.call(sessions.CloseSession(), timeout=CLOSE_TIMEOUT)
        except (TfError, TimeoutError) as error:
            log.info("the location will free the session by itself: %s", error)
