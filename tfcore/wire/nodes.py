"""What a location and its nodes say to each other."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from tfcore.wire.containers import ContainerWish, SpawnContents
from tfcore.wire.images import WireLayer
from tfcore.wire.message import Done, Event, Reply, Request, carries_contents
from tfcore.wire.sessions import PROTOCOL, NodeOffer
from tfcore.wire.values import Address, Name, ObjectId, OptionalId, Seconds


class Inventory(Struct, frozen=True, kw_only=True):
    """What a node holds, so that the location can reconcile after either was away.

    `dormant` are containers of which only the storage is left, from before the agent was restarted; `kept` are the kept
    snapshots.
    """

    containers: tuple[ObjectId, ...] = ()
    dormant: tuple[ObjectId, ...] = ()
    volumes: tuple[ObjectId, ...] = ()
    kept: tuple[ObjectId, ...] = ()


class NodeWelcomed(Reply, frozen=True, kw_only=True, tag="node.welcomed"):
    """The node is part of the location.

    Attributes:
        network: the prefix its containers' addresses come from.
        lease: seconds without an offer after which it counts as lost.
    """

    protocol: int
    node: ObjectId
    network: str
    lease: Seconds


class JoinLocation(Request[NodeWelcomed], frozen=True, kw_only=True, tag="node.join"):
    """The first message of a node, at every start and reconnection.

    A new incarnation has none of the old one's containers.
    """

    protocol_min: int = PROTOCOL
    protocol_max: int = PROTOCOL
    version: str
    name: Name
    incarnation: Annotated[str, Meta(max_length=64)]
    offer: NodeOffer
    inventory: Inventory = Inventory()


class OfferChanged(Event, frozen=True, kw_only=True, tag="node.offer-changed"):
    """The node is alive and has this much free; sent every second or two."""

    offer: NodeOffer


class BootContainer(Request[Done], frozen=True, kw_only=True, tag="node.boot-container"):
    """Make this container and boot it. Answered when the node has taken it on; `WaitReady` tells the rest.

    If the node has the container already (or its storage, from before the agent was restarted), what runs of it is ended
    first, and it boots from `snapshot` (empty: from its image, or as the snapshot `kept` was). When this is answered, the
    container does not need `kept` any more.
    """

    container: ObjectId
    session: ObjectId
    account: str
    address: Address
    wish: ContainerWish
    config: bytes
    layers: tuple[WireLayer, ...]
    snapshot: str = ""
    kept: OptionalId = ""


class _BootContents(SpawnContents):
    config: bytes

    def size(self) -> int:
        return super().size() + len(self.config)


carries_contents(BootContainer, _BootContents, _BootContents.size)


class EndContainer(Request[Done], frozen=True, kw_only=True, tag="node.end-container"):
    """Remove the container with everything it has; answered when nothing is left. Unknown ones count as removed."""

    container: ObjectId


class FreeSession(Request[Done], frozen=True, kw_only=True, tag="node.free-session"):
    """Remove everything of a session except persistent volumes; answered when nothing is left."""

    session: ObjectId


class ConnectContainers(Request[Done], frozen=True, kw_only=True, tag="node.connect"):
    """Let two containers' addresses talk."""

    one: Address
    other: Address


class DisconnectContainers(Request[Done], frozen=True, kw_only=True, tag="node.disconnect"):
    """Stop two containers' addresses from talking, live connections included."""

    one: Address
    other: Address


class NodeLost(Event, frozen=True, kw_only=True, tag="node.lost"):
    """The location does not know this node's connection: join (again)."""

    reason: str
    node: OptionalId = ""
