"""Requests on their way from a session through the location to a node, until they are answered.

A node may speak to a session only about what that session has asked it. While a node is away its requests wait here;
when it comes back they are asked again (nodes know them by their ids and do nothing twice), except those whose stream was
under way: a stream with a gap is worth nothing, and its request fails, retryable (DESIGN D3, D12). Bodies pass unread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import zmq
from msgspec.structs import replace

from tfcore.clock import Clock
from tfcore.errors import Exhausted, TfError, Unavailable
from tfcore.rpc.dispatcher import DEFAULT_TIMEOUT
from tfcore.rpc.link import GRACE, IN_FLIGHT
from tfcore.wire.header import Header
from tfcore.wire.message import Failure, encode, failure_of, op_of
from tflocation.nodes import Node
from tflocation.peers import Peers
from tflocation.sessions import Session

log = logging.getLogger(__name__)

KEPT = 64 * 1024
"""Bytes of a body that is kept for asking again; a request with a larger one fails if its node's connection is cut."""


@dataclass(slots=True)
class Forwarded:
    """One request. `broken` ones are over for the session, and are remembered until the node knows it as well."""

    session: Session
    node: Node
    header: Header
    body: zmq.Frame | None
    expires: float
    streamed: bool = False
    broken: bool = False


class Forwarding:
    """All requests under way between sessions and nodes."""

    def __init__(self, peers: Peers, clock: Clock) -> None:
        self._peers = peers
        self._clock = clock
        self._tables: dict[str, dict[str, Forwarded]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    # from sessions

    def ask(self, session: Session, node: Node, header: Header, body: zmq.Frame) -> None:
        """Pass a request on; asking twice is harmless.

        Raises:
            Exhausted: too many are under way.
            Unavailable: the node is lost, or this request was under way when its connection was cut.
        """
        table = self._tables.setdefault(session.id, {})
        known = table.get(header.id)
        if known is not None and known.broken:
            del table[header.id]
            raise _interrupted(known)
        if len(table) >= IN_FLIGHT:
            raise Exhausted(f"{IN_FLIGHT} requests of this session are being served already", retryable=True)
        node.check()
        expires = self._clock() + (header.timeout or DEFAULT_TIMEOUT) + 2 * GRACE
        asked = Forwarded(session, node, header, body if len(body) <= KEPT else None, expires)
        if not self._deliver(node, header, body) and asked.body is None:
            raise _interrupted(asked)
        table[header.id] = asked

    def pass_on(self, session: Session, header: Header, body: zmq.Frame) -> bool:
        """Pass on a part of a request under way (data, credit, cancel); False if it belongs to none."""
        asked = self._tables.get(session.id, {}).get(header.id)
        if asked is None:
            return False
        if asked.broken:
            return True
        delivered = self._deliver(asked.node, header, body)
        if header.kind != "cancel":
            asked.streamed = True
            if not delivered:
                self._break(asked)
        elif delivered:
            self._forget(asked)
        else:
            asked.broken = True
        return True

    # from nodes

    def relay(self, node: Node, header: Header, frame: zmq.Frame, body: zmq.Frame) -> bool:
        """Pass an answer or a part of its stream on to the session; False if the session did not ask this node."""
        asked = self._tables.get(header.session, {}).get(header.id)
        if asked is None or asked.node is not node:
            return False
        if asked.broken:
            return True
        if header.kind in ("reply", "failure"):
            self._forget(asked)
        else:
            asked.streamed = True
        try:
            self._peers.send(asked.session, frame, body)
        except Unavailable as gone:
            log.debug("session %s was not reached: %s", header.session, gone)
        return True

    # comings and goings

    def node_back(self, node: Node) -> None:
        """Its connection was cut and it has joined again, the same agent: ask again what is open."""
        for asked in self._at(node):
            if asked.broken:
                self._cancel(asked)
            elif asked.streamed or asked.body is None:
                self._cancel(asked)
                self._break(asked)
            else:
                self._deliver(node, asked.header, asked.body)

    def node_gone(self, node: Node, error: TfError) -> None:
        """Whatever was asked of it fails now."""
        for asked in self._at(node):
            self._forget(asked)
            if not asked.broken:
                self.fail(asked.session, asked.header, error)

    def session_back(self, session: Session) -> None:
        """Its connection was cut: streams have a gap. The client asks the rest again by itself."""
        for asked in list(self._tables.get(session.id, {}).values()):
            if asked.streamed and not asked.broken:
                self._cancel(asked)
                asked.broken = True

    def session_over(self, session: Session) -> None:
        """Nobody waits for its answers any more."""
        for asked in self._tables.pop(session.id, {}).values():
            self._cancel(asked)

    def purge(self) -> None:
        """Forget what no client can be waiting for any more."""
        now = self._clock()
        for asked in [a for table in self._tables.values() for a in table.values() if a.expires <= now]:
            self._forget(asked)

    def fail(self, session: Session, header: Header, error: TfError) -> None:
        """Answer a request of a session with a failure."""
        failure = failure_of(error)
        answer = Header(kind="failure", id=header.id, op=op_of(Failure), target=header.target, session=session.id)
        try:
            self._peers.send(session, answer, encode(failure))
        except Unavailable as gone:
            log.debug("session %s was not reached: %s", session.id, gone)

    def _at(self, node: Node) -> Iterator[Forwarded]:
        return iter([a for table in self._tables.values() for a in table.values() if a.node is node])

    def _deliver(self, node: Node, header: Header, body: zmq.Frame | bytes) -> bool:
        try:
            self._peers.send(node, header, body)
        except Unavailable as gone:
            log.debug("%s for node %s waits: %s", header.op or header.kind, node.name, gone)
            return False
        return True

    def _break(self, asked: Forwarded) -> None:
        asked.broken = True
        self.fail(asked.session, asked.header, _interrupted(asked))

    def _cancel(self, asked: Forwarded) -> None:
        self._deliver(asked.node, replace(asked.header, kind="cancel", op=""), b"")

    def _forget(self, asked: Forwarded) -> None:
        table = self._tables.get(asked.session.id, {})
        table.pop(asked.header.id, None)
        if not table:
            self._tables.pop(asked.session.id, None)


def _interrupted(asked: Forwarded) -> Unavailable:
    return Unavailable(f"the connection was cut during {asked.header.op} on node {asked.node.name}", retryable=True)
