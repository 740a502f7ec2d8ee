"""A location made of `tfcore.rpc` alone: real sockets, real CURVE and ZAP, no containers but what a test's handlers say.

Sessions outlive connections as with the real one, so that cuts, restarts and ended leases can be played. Everything is
callable from the test's thread.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import zmq

from tfcore.errors import TfError, VersionMismatch
from tfcore.ids import new_id
from tfcore.keys import KeyPair, generate
from tfcore.rpc.dispatcher import Call, Dispatcher
from tfcore.rpc.link import Link
from tfcore.rpc.port import Frames, Port, router
from tfcore.wire import sessions
from tfcore.wire.header import Header, decode_header, encode_header
from tfcore.wire.message import Done, Event, Reply, encode, op_of
from tfnz.accounts import Account
from tfnz.portal import Portal

Handler = Callable[[Call, Any], Awaitable[Reply]]


class FakeLocation:
    """Starts at once; `close` it.

    Attributes:
        handlers: what else it answers, by request class; may be changed before `start`.
        nodes, volumes, externals: what it offers.
        served: how often each operation was handled (not: asked for).
        sessions: the open sessions, by id.
    """

    def __init__(
        self,
        handlers: Mapping[type, Handler] | None = None,
        *,
        endpoint: str = "tcp://127.0.0.1:*",
        lease: float = 120.0,
        protocol: int = sessions.PROTOCOL,
    ) -> None:
        self.keys = generate()
        self.account = generate()
        self.endpoint = endpoint
        self.lease = lease
        self.protocol = protocol
        self.handlers = dict(handlers or {})
        self.nodes: tuple[sessions.NodeOffer, ...] = ()
        self.volumes: tuple[sessions.VolumeOffer, ...] = ()
        self.externals: tuple[sessions.ExternalOffer, ...] = ()
        self.served: Counter[str] = Counter()
        self.sessions: dict[str, Link] = {}
        self.hellos: list[str] = []
        self.closed: list[str] = []
        self._known = {self.account.public: "tester"}
        self._opened_by: dict[str, str] = {}
        self._where: dict[str, bytes] = {}
        self._portal = Portal("fake location")
        self._port: Port | None = None
        self.start()

    def account_of(self, keys: KeyPair | None = None, **changes: Any) -> Account:
        """What a client needs to connect."""
        fields = {"location": "fake.test", "endpoint": self.endpoint, "server_key": self.keys.public, "local": False}
        return Account(**{**fields, "keys": keys or self.account, **changes})

    # life

    def start(self) -> None:
        """Listen; after `stop`, at the same place with the same sessions."""
        self._portal.call(self._start())

    async def _start(self) -> None:
        self._context = zmq.Context()
        zap = self._context.socket(zmq.ROUTER)
        zap.bind("inproc://zeromq.zap.01")
        self._zap = Port(zap, self._question)
        listening = router(self._context, self.keys, [self.endpoint])
        self.endpoint = listening.getsockopt_string(zmq.LAST_ENDPOINT)
        self._port = Port(listening, self._receive)

    def stop(self) -> None:
        """Cut all connections and stop listening; sessions and what is being served go on."""
        self._portal.call(self._stop())

    async def _stop(self) -> None:
        if self._port is not None:
            self._port.close()
            self._zap.close()
            self._port = None
            self._where.clear()
            self._context.destroy(linger=0)

    def forget(self) -> None:
        """As if it had been restarted: what it has answered before is forgotten; sessions are kept."""
        self._portal.call(self._forget())

    async def _forget(self) -> None:
        for session in list(self.sessions):
            await self.sessions[session].close()
            self.sessions[session] = self._link(session)

    def end_lease(self) -> None:
        """End all sessions, without telling anybody."""
        self.sessions.clear()
        self._opened_by.clear()

    def revoke(self) -> None:
        """Know nobody any more."""
        self._known.clear()

    def tell(self, event: Event) -> None:
        """Send an event to every session that is connected."""
        self._portal.call(self._tell(event))

    async def _tell(self, event: Event) -> None:
        for link in self.sessions.values():
            with suppress(TfError):
                link.event(event)

    def close(self) -> None:
        """End."""
        self.stop()
        self._portal.call(self._close_links())
        self._portal.close()

    async def _close_links(self) -> None:
        await asyncio.gather(*(link.close() for link in self.sessions.values()))

    # who may come in

    def _question(self, frames: Frames) -> None:
        route, delimiter, version, request, *_, key = (frame.bytes for frame in frames)
        name = self._known.get(key)
        code = b"200" if name else b"400"
        self._zap.send([route, delimiter, version, request, code, b"", (name or "").encode(), b""])

    # messages

    def _receive(self, frames: Frames) -> None:
        identity, header, body = frames[0].bytes, decode_header(frames[1].bytes), frames[2].buffer
        session = next((s for s, where in self._where.items() if where == identity), None)
        if header.op in (op_of(sessions.OpenSession), op_of(sessions.CloseSession)):
            self._greeter(identity).receive(header, body)
        elif session in self.sessions:
            self.sessions[session].receive(header, body)
        elif header.kind == "request":
            gone = header.session not in self.sessions
            self._send(identity, Header(kind="event", id="", op="session.lost"), encode(_lost(ended=gone)))

    def _greeter(self, identity: bytes) -> Link:
        table = {sessions.OpenSession: self._open, sessions.CloseSession: self._close_session}
        return Link(
            lambda header, body: self._send(identity, header, body),
            dispatcher=Dispatcher(self._counted(table)),
            on_event=lambda *_: None,
            peer=identity,
        )

    def _send(self, identity: bytes, header: Header, body: Any) -> None:
        if self._port is not None:
            self._port.send([identity, encode_header(header), body])

    async def _open(self, call: Call, message: sessions.OpenSession) -> sessions.Welcome:
        self.hellos.append(message.session)
        if not message.protocol_min <= self.protocol <= message.protocol_max:
            raise VersionMismatch(f"the location speaks version {self.protocol}", hint="upgrade pytest-tf")
        session = message.session if message.session in self.sessions else self._opened_by.get(call.id, "")
        resumed = bool(session)
        if not resumed:
            session = self._opened_by[call.id] = new_id("s")
            self.sessions[session] = self._link(session)
        self._where = {s: where for s, where in self._where.items() if where != call.peer}
        self._where[session] = call.peer
        return sessions.Welcome(
            protocol=self.protocol,
            version="0",
            session=session,
            resumed=resumed,
            lease=self.lease,
            account="tester",
            nodes=self.nodes,
            volumes=self.volumes,
            externals=self.externals,
        )

    def _link(self, session: str) -> Link:
        table = {sessions.RenewLease: _renew, **self.handlers}

        def send(header: Header, body: Any) -> None:
            if session in self._where:
                self._send(self._where[session], header, body)

        return Link(send, dispatcher=Dispatcher(self._counted(table)), on_event=lambda *_: None, session=session)

    def _counted(self, table: Mapping[type, Handler]) -> dict[type, Handler]:
        def counted(cls: type, handler: Handler) -> Handler:
            async def serve(call: Call, message: Any) -> Reply:
                self.served[op_of(cls)] += 1
                return await handler(call, message)

            return serve

        return {cls: counted(cls, handler) for cls, handler in table.items()}

    async def _close_session(self, call: Call, _message: sessions.CloseSession) -> Done:
        self.closed.append(call.session)
        self.sessions.pop(call.session, None)
        return Done()


async def _renew(_call: Call, _message: sessions.RenewLease) -> Done:
    return Done()


def _lost(*, ended: bool) -> sessions.SessionLost:
    return sessions.SessionLost(reason="say hello first" if not ended else "its lease ended", ended=ended)
