"""Requests on their way from a session through the location to a node, until they are answered.

A node may speak to a session only about what that session has asked it. While a node is away its requests wait here;
when it comes back they are asked again: nodes know them by their ids and do nothing twice. Parts of their streams do not
wait: the two ends send again what the other one lacks (DESIGN D3, D12). Bodies pass unread.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

import zmq
from msgspec.structs import replace

from tfcore.clock import Clock
from tfcore.errors import BadRequest, Exhausted, TfError, Unavailable
from tfcore.rpc.dispatcher import DEFAULT_TIMEOUT, Observe
from tfcore.rpc.link import GRACE, IN_FLIGHT
from tfcore.wire.containers import OpenConnection
from tfcore.wire.header import Header, shown
from tfcore.wire.inside import ConnectInside, TakeCall
from tfcore.wire.message import Failure, decode, encode, failure_of, op_of
from tflocation.nodes import Node
from tflocation.peers import Peers
from tflocation.sessions import Session

log = logging.getLogger(__name__)

KEPT = 64 * 1024
"""Bytes of a body that is kept for asking again; a request with a larger one fails if its node's connection is cut."""


CONNECTIONS = frozenset(op_of(cls) for cls in (OpenConnection, ConnectInside, TakeCall))
"""Requests that last as long as a connection through a tunnel."""


def _nobody(_op: str, _outcome: str, _seconds: float) -> None:
    """Nobody counts."""


def _code(body: zmq.Frame) -> str:
    """Of a node's failure."""
    try:
        return decode(body.buffer, Failure).code
    except BadRequest:
        return "unreadable"


@dataclass(slots=True)
class Forwarded:
    """One request."""

    session: Session
    node: Node
    header: Header
    body: zmq.Frame | None
    began: float
    expires: float


class Forwarding:
    """All requests under way between sessions and nodes."""

    def __init__(self, peers: Peers, clock: Clock, *, observe: Observe = _nobody) -> None:
        """`observe` is told of each answer: operation, outcome, seconds."""
        self._peers = peers
        self._clock = clock
        self._observe = observe
        self._tables: dict[str, dict[str, Forwarded]] = {}
        self._cancelled: defaultdict[str, deque[Header]] = defaultdict(lambda: deque(maxlen=IN_FLIGHT))

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    def connections(self, account: str) -> int:
        """An account's connections through tunnels."""
        asked = [a for table in self._tables.values() for a in table.values() if a.session.account == account]
        return sum(a.header.op in CONNECTIONS for a in asked)

    def knows(self, session: Session, header: Header) -> bool:
        """True if this very request is under way already."""
        return header.id in self._tables.get(session.id, {})

    # from sessions

    def ask(self, session: Session, node: Node, header: Header, body: zmq.Frame) -> None:
        """Pass a request on; asking twice is harmless.

        Raises:
            Exhausted: too many are under way.
            Unavailable: the node is lost, or its connection is cut and the body too large to wait for it.
        """
        table = self._tables.setdefault(session.id, {})
        if header.id not in table and len(table) >= IN_FLIGHT:
            raise Exhausted(f"{IN_FLIGHT} requests of this session are being served already", retryable=True)
        node.check()
        now = self._clock()
        expires = now + (header.timeout or DEFAULT_TIMEOUT) + 2 * GRACE
        asked = Forwarded(session, node, header, body if len(body) <= KEPT else None, now, expires)
        if not self._deliver(node, header, body) and asked.body is None:
            raise _interrupted(asked)
        table[header.id] = asked

    def pass_on(self, session: Session, header: Header, body: zmq.Frame) -> bool:
        """Pass on a part of a request under way (data, credit, cancel); False if none is known."""
        asked = self._tables.get(session.id, {}).get(header.id)
        if asked is None:
            return False
        self.pass_part(session, asked.node, header, body)
        return True

    def pass_part(self, session: Session, node: Node, header: Header, body: zmq.Frame) -> None:
        """Pass on a part of a request that the node may know better than we do: it has answered it already, or was asked
        before the location was restarted."""
        if header.kind == "cancel":
            self._tables.get(session.id, {}).pop(header.id, None)
            self._cancelled[node.id].append(header)
        self._deliver(node, header, body)

    # from nodes

    def relay(self, node: Node, header: Header, frame: zmq.Frame, body: zmq.Frame) -> bool:
        """Pass an answer or a part of its stream on to the session; False if the session did not ask this node."""
        asked = self._tables.get(header.session, {}).get(header.id)
        if asked is None or asked.node is not node:
            return False
        if header.kind in ("reply", "failure"):
            self._forget(asked)
            # when the answer is on its way: the loop comes to it when nobody waits for us
            asyncio.get_running_loop().call_soon(self._tell, asked, header, body, self._clock() - asked.began)
        try:
            self._peers.send(asked.session, frame, body)
        except Unavailable as gone:
            log.debug("session %s was not reached: %s", header.session, gone)
        return True

    def _tell(self, asked: Forwarded, answer: Header, body: zmq.Frame, seconds: float) -> None:
        """One line per request, as of those that are answered here."""
        header, said = asked.header, "ok" if answer.kind == "reply" else _code(body)
        self._observe(header.op, said, seconds)
        log.info(
            "%s request=%s session=%s account=%s target=%s node=%s seconds=%.4f outcome=%s",
            header.op, header.id, header.session, header.account, header.target, asked.node.id, seconds, said,
        )  # fmt: skip

    # comings and goings

    def node_back(self, node: Node) -> None:
        """Its connection was cut and it has joined again, the same agent: ask again what is open."""
        for header in self._cancelled[node.id]:
            self._deliver(node, header, b"")
        for asked in self._at(node):
            if asked.body is not None:
                self._deliver(node, replace(asked.header, again=True), asked.body)
            else:
                self._cancel(asked)
                self._forget(asked)
                self.fail(asked.session, asked.header, _interrupted(asked))

    def node_gone(self, node: Node, error: TfError) -> None:
        """Whatever was asked of it fails now."""
        self._cancelled.pop(node.id, None)
        for asked in self._at(node):
            self._forget(asked)
            self.fail(asked.session, asked.header, error)

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
            log.debug("%s for node %s waits: %s", shown(header), node.name, gone)
            return False
        return True

    def _cancel(self, asked: Forwarded) -> None:
        self._deliver(asked.node, replace(asked.header, kind="cancel", op=""), b"")

    def _forget(self, asked: Forwarded) -> None:
        table = self._tables.get(asked.session.id, {})
        table.pop(asked.header.id, None)
        if not table:
            self._tables.pop(asked.session.id, None)


def _interrupted(asked: Forwarded) -> Unavailable:
    return Unavailable(
        f"the connection to node {asked.node.name} was cut during {asked.header.op}, a request of more than {KEPT} bytes, "
        "which is not asked again",
        hint="do it once more",
        retryable=True,
    )
