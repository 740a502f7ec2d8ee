"""Every message that reaches the location: header in, destination out, body untouched.

The rules, in this order: a frame that is no message is counted and refused; a greeting goes to the doorstep; so does
everything from a connection that has not said hello; a session's requests to its containers and volumes are forwarded to
their nodes if they are its own; a node's answers go to the session that asked; the rest is for the location itself.
What a client writes into `session` and `account` is overwritten. Knows no bodies, but of requests for several containers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import zmq
from msgspec import Struct
from msgspec.structs import replace

from tfcore.clock import Clock
from tfcore.errors import BadRequest, NotFound, TfError, Unavailable
from tfcore.rpc.port import Frames
from tfcore.wire import links
from tfcore.wire.containers import RollBackTogether, SnapshotTogether
from tfcore.wire.header import MAX_HEADER, Header, decode_header
from tfcore.wire.message import Failure, decode, encode, failure_of, op_of
from tfcore.wire.values import OptionalId
from tflocation.connections import Connections
from tflocation.doorstep import Doorstep, Visitor
from tflocation.forwarding import CONNECTIONS, Forwarding
from tflocation.holdings import Holdings
from tflocation.nodes import Node, Nodes
from tflocation.peers import Peers
from tflocation.quotas.guard import Guard
from tflocation.sessions import Session
from tflocation.throttle import Throttle

log = logging.getLogger(__name__)

FORWARDED = frozenset(op_of(cls) for cls in links.CLIENT_TO_NODE)
VISITS = frozenset(op_of(cls) for cls in links.VISITS)
REVIVING = frozenset({"container.start", "container.reboot", "container.roll-back", op_of(RollBackTogether)})
"""Requests that boot a container anew: what was said of its end before is no news any more."""

TOGETHER: dict[str, type[RollBackTogether | SnapshotTogether]] = {
    op_of(message): message for message in (RollBackTogether, SnapshotTogether)
}
"""Requests for several containers, of which the target is only the first."""

ONE_WARNING = 10.0
"""Seconds in which malformed messages of one principal are logged once."""


@dataclass(slots=True)
class Counters:
    """Messages since the start, by what became of them."""

    received: int = 0
    malformed: int = 0
    turned_away: int = 0
    forwarded: int = 0
    relayed: int = 0
    dropped: int = 0
    bytes_from_clients: int = 0
    bytes_from_nodes: int = 0


class _Readable(Struct):
    """What of a malformed header may still be read, to tell its sender."""

    id: OptionalId = ""
    session: OptionalId = ""


class Broker:
    """The one place where messages are told apart."""

    def __init__(
        self,
        *,
        connections: Connections,
        peers: Peers,
        nodes: Nodes,
        holdings: Holdings,
        forwarding: Forwarding,
        guard: Guard,
        doorstep: Doorstep,
        greetings: frozenset[str],
        clock: Clock,
    ) -> None:
        """`greetings` are the operations the doorstep answers."""
        self._connections = connections
        self._peers = peers
        self._nodes = nodes
        self._holdings = holdings
        self._forwarding = forwarding
        self._guard = guard
        self._doorstep = doorstep
        self._greetings = greetings
        self._clock = clock
        self._warnings = Throttle(clock, seconds=ONE_WARNING)
        self.counters = Counters()

    def receive(self, frames: Frames) -> None:
        """One message, as ROUTER hands it over."""
        self.counters.received += 1
        visitor = Visitor(frames[0].bytes, _user(frames[-1]))
        self._connections.heard(_descriptor(frames[-1]), visitor.principal)
        try:
            header = _header(frames)
        except BadRequest as bad:
            self._refuse(visitor, frames, bad)
            return
        peer = self._peers.at(visitor.identity, visitor.principal)
        if header.kind == "request" and header.op in self._greetings:
            self._doorstep.greet(visitor, replace(header, account=""), frames[2].buffer)
        elif isinstance(peer, Session):
            peer.seen = self._clock()
            self.counters.bytes_from_clients += len(frames[2])
            self._from_client(peer, replace(header, session=peer.id, account=peer.account), frames[2])
        elif isinstance(peer, Node):
            peer.seen = self._clock()
            self.counters.bytes_from_nodes += len(frames[2])
            self._from_node(peer, header, frames[1], frames[2])
        else:
            self.counters.turned_away += 1
            self._doorstep.turn_away(visitor, header)

    def _refuse(self, visitor: Visitor, frames: Frames, bad: BadRequest) -> None:
        self.counters.malformed += 1
        if self._warnings.lets(visitor.principal):
            log.warning("malformed message from %s: %s", visitor.principal, bad.message)
        readable = _readable(frames[1].bytes) if len(frames) > 1 else None
        if readable is None or not readable.id:
            return
        answer = Header(kind="failure", id=readable.id, op=op_of(Failure), session=readable.session)
        try:
            self._peers.send_to(visitor.identity, answer, encode(failure_of(bad)))
        except Unavailable as gone:
            log.debug("%s has gone already: %s", visitor.principal, gone)

    # from clients

    def _from_client(self, session: Session, header: Header, body: zmq.Frame) -> None:
        match header.kind:
            case "request" if header.op in FORWARDED:
                self._forward(session, header, body)
            case "request":
                session.link.receive(header, body.buffer)
            case "data" | "credit" | "cancel":
                self._pass_part(session, header, body)
            case _:
                self.counters.dropped += 1

    def _forward(self, session: Session, header: Header, body: zmq.Frame) -> None:
        try:
            meant = _meant(header, body)
            node = self._common_node(session, header, meant)
            if header.op in CONNECTIONS and not self._forwarding.knows(session, header):
                self._guard.tunnel(session.account)
            self._forwarding.ask(session, node, header, body)
        except TfError as error:
            self._forwarding.fail(session, header, error)
            return
        self.counters.forwarded += 1
        if header.op in REVIVING:
            for target in meant:
                session.revived(target)

    def _pass_part(self, session: Session, header: Header, body: zmq.Frame) -> None:
        if self._forwarding.pass_on(session, header, body):
            return
        if not header.target:
            session.link.receive(header, body.buffer)
            return
        try:
            self._forwarding.pass_part(session, self._node_of(session, header), header, body)
        except TfError:  # what it was for has gone meanwhile
            self.counters.dropped += 1

    def _common_node(self, session: Session, header: Header, meant: Sequence[str]) -> Node:
        """Where all targets are, if the session may use them."""
        node = self._node_of(session, header)
        for target in meant:
            other = self._node_of(session, replace(header, target=target))
            if other is not node:
                raise BadRequest(
                    f"{header.target} is on node {node.name} and {target} on {other.name}: {header.op} is for one node's",
                    hint="spawn what rolls back together on one node",
                )
        return node

    def _node_of(self, session: Session, header: Header) -> Node:
        """Where the target is, if the session may use it."""
        if header.target.startswith("c-"):
            visitor = session.account if session.visiting and _is_of_visits(header) else ""
            where = self._holdings.container(header.target, session=session.id, visitor=visitor).node
        elif header.target.startswith("v-"):
            where = self._holdings.volume(header.target, session=session.id, account=session.account).node
        else:
            raise BadRequest(f"{header.op} is for a container or a volume, and {header.target!r} is neither")
        try:
            return self._nodes.get(where)
        except NotFound as gone:
            raise Unavailable(f"the node of {header.target} is not of this location any more") from gone

    # from nodes

    def _from_node(self, node: Node, header: Header, frame: zmq.Frame, body: zmq.Frame) -> None:
        if not header.session or header.kind in ("request", "event"):
            node.link.receive(replace(header, session="", account=""), body.buffer)
        elif self._forwarding.relay(node, header, frame, body):
            self.counters.relayed += 1
        else:
            self.counters.dropped += 1


def _is_of_visits(header: Header) -> bool:
    """A request that visitors may make, or a part of whatever the node has been asked by this session."""
    return header.op in VISITS if header.kind == "request" else True


def _meant(header: Header, body: zmq.Frame) -> Sequence[str]:
    """The ids of all that a request is for. BadRequest if it cannot be read."""
    together = TOGETHER.get(header.op)
    return (header.target,) if together is None else decode(body.buffer, together).containers


def _user(frame: zmq.Frame) -> str:
    """Whose key opened the connection a frame came by, as the doorkeeper said (`auth.zap`)."""
    return str(frame.get("User-Id"))


def _descriptor(frame: zmq.Frame) -> int:
    """Of the connection a frame came by."""
    return int(frame.get(zmq.SRCFD))


def _header(frames: Frames) -> Header:
    if len(frames) != 3:
        raise BadRequest(f"{len(frames) - 1} frames instead of header and body")
    header = decode_header(frames[1].buffer)
    if not header.id and header.kind != "event":
        raise BadRequest(f"a {header.kind} without an id")
    return header


def _readable(frame: bytes) -> _Readable | None:
    try:
        return msgspec.msgpack.decode(frame[: 4 * MAX_HEADER], type=_Readable)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
