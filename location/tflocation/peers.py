"""Who is at the other end of which connection.

ZeroMQ names a connection by its routing identity and says with every message whose key opened it. A peer (a session or a
node) is reached by the identity it last said hello from; a message counts as its own only if both agree, so an identity
taken over by another key's holder is worth nothing. Knows no message's meaning.
"""

from __future__ import annotations

from typing import Protocol

import zmq

from tfcore.errors import Unavailable
from tfcore.rpc.port import Port
from tfcore.wire.header import Header, encode_header

Body = bytes | memoryview | zmq.Frame


class Peer(Protocol):
    """What the table must know of a session or a node.

    Attributes:
        principal: the User-Id its messages bear.
        identity: of its present connection; b"" while there is none.
    """

    principal: str
    identity: bytes


class Peers:
    """The connections that have said hello, and the way to them."""

    def __init__(self) -> None:
        self._by_identity: dict[bytes, Peer] = {}
        self._port: Port | None = None

    def open(self, port: Port) -> None:
        """Messages leave by this port."""
        self._port = port

    def attach(self, peer: Peer, identity: bytes) -> None:
        """From now on `peer` is reached at `identity`; whoever was there before is not."""
        self.detach(peer)
        previous = self._by_identity.get(identity)
        if previous is not None:
            previous.identity = b""
        self._by_identity[identity] = peer
        peer.identity = identity

    def detach(self, peer: Peer) -> None:
        """`peer` has no connection any more."""
        if self._by_identity.get(peer.identity) is peer:
            del self._by_identity[peer.identity]
        peer.identity = b""

    def at(self, identity: bytes, principal: str) -> Peer | None:
        """Whose message this is, or None for somebody who has not said hello."""
        peer = self._by_identity.get(identity)
        if peer is not None and peer.principal != principal:
            self.detach(peer)  # it cannot be there any more: ZeroMQ has given the identity to another connection
            return None
        return peer

    def send(self, peer: Peer, header: Header | zmq.Frame, body: Body) -> None:
        """Send to where `peer` is now.

        Raises:
            Unavailable: it has no connection at the moment, or does not read.
        """
        if not peer.identity:
            raise Unavailable("the peer is not connected", retryable=True)
        self.send_to(peer.identity, header, body)

    def send_to(self, identity: bytes, header: Header | zmq.Frame, body: Body) -> None:
        """Send to a connection. Raises `Unavailable` as `send`."""
        if self._port is None:
            raise Unavailable("the location is stopping")
        self._port.send([identity, header if isinstance(header, zmq.Frame) else encode_header(header), body])

    def __len__(self) -> int:
        return len(self._by_identity)
