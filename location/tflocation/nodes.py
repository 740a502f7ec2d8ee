"""Nodes: the machines of a location, whether they are there or not.

A node is `expected` from the location's start, `joined` once it has said hello, `lost` when it has been silent for longer
than its lease or its key was revoked. Requests to an expected node, or to one whose connection is cut, wait in its link
and are sent when it joins. Knows no containers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

from tfcore.errors import NotFound, TfError, Unavailable
from tfcore.rpc.dispatcher import Dispatcher
from tfcore.rpc.link import Link
from tfcore.wire.header import Header, shown
from tfcore.wire.message import Event, ReplyT, Request
from tfcore.wire.sessions import NodeOffer
from tflocation.auth.principals import Principal
from tflocation.peers import Body, Peers

log = logging.getLogger(__name__)

OnNodeEvent = Callable[["Node", Header, "bytes | memoryview"], None]


class Node:
    """One node. Its link outlives its connections and its agent's lives."""

    def __init__(self, owner: Principal, peers: Peers, dispatcher: Dispatcher, on_event: OnNodeEvent) -> None:
        self.id = owner.id
        self.name = owner.name
        self.principal = owner.text
        self.identity = b""
        self.seen = 0.0
        """When it was last heard of, by the location's clock."""
        self.state: Literal["expected", "joined", "lost"] = "expected"
        self.joined = asyncio.Event()
        """Set while it is joined."""
        self.incarnation = ""
        self.version = ""
        self.offer = NodeOffer(id=self.id, name=self.name)  # until it says more; its lease decides whether it is alive
        self._peers = peers
        self.link = Link(self._send, dispatcher=dispatcher, on_event=partial(on_event, self), peer=self)

    def _send(self, header: Header, body: Body) -> None:
        """What cannot be sent now is asked again when the node joins, or fails when it is lost."""
        try:
            self._peers.send(self, header, body)
        except Unavailable as gone:
            log.debug("%s for node %s waits: %s", shown(header), self.name, gone)

    def join(self, *, incarnation: str, version: str, now: float) -> None:
        """It has said hello."""
        self.state, self.incarnation, self.version, self.seen = "joined", incarnation, version, now
        self.joined.set()

    def lose(self) -> None:
        """It is lost."""
        self.state = "lost"
        self.joined.clear()

    async def call(self, request: Request[ReplyT], *, timeout: float) -> ReplyT:
        """Ask the node something, waiting for it to join if need be.

        Raises:
            Unavailable: it is lost, or will be while we wait.
            TfError: as the node says.
        """
        self.check()
        return await self.link.call(request, timeout=timeout)

    def check(self) -> None:
        """Raise `Unavailable` if it is lost."""
        if self.state == "lost":
            raise Unavailable(f"node {self.name} is lost", hint="use another node, or wait until it is back")

    def tell(self, event: Event) -> None:
        """Send an event, if the node is there."""
        try:
            self.link.event(event)
        except TfError as gone:
            log.debug("node %s was not told: %s", self.name, gone)


class Nodes:
    """All nodes with a key."""

    def __init__(self, peers: Peers, dispatcher: Dispatcher, on_event: OnNodeEvent) -> None:
        self._peers = peers
        self._dispatcher = dispatcher
        self._on_event = on_event
        self._nodes: dict[str, Node] = {}

    def know(self, owner: Principal) -> Node:
        """The node with this key; one that is known under an older key is the same with a new one."""
        node = self._nodes.get(owner.id)
        if node is None:
            node = self._nodes[owner.id] = Node(owner, self._peers, self._dispatcher, self._on_event)
        elif node.principal != owner.text:
            self._peers.detach(node)
            node.principal = owner.text
        return node

    def dismiss(self, identifier: str) -> None:
        """Its key is revoked: it is none of ours any more. Harmless to repeat."""
        self._nodes.pop(identifier, None)

    def get(self, identifier: str) -> Node:
        """The node of that id.

        Raises:
            NotFound: there is none.
        """
        node = self._nodes.get(identifier)
        if node is None:
            raise NotFound(f"there is no node {identifier}", details={"node": identifier})
        return node

    def find(self, identifier: str) -> Node | None:
        """The node of that id, or None."""
        return self._nodes.get(identifier)

    def offers(self) -> tuple[NodeOffer, ...]:
        """What all of them offer."""
        return tuple(node.offer for node in self)

    def __iter__(self) -> Iterator[Node]:
        return iter(list(self._nodes.values()))
