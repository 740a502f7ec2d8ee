"""Opening, renewing and closing a session; what a location offers."""

from __future__ import annotations

from msgspec import Struct

from tfcore.wire.message import Done, Event, Reply, Request
from tfcore.wire.values import Address, Bytes, Key, ObjectId, OptionalId, Seconds

PROTOCOL = 1
"""The version of the protocol this code speaks; `OpenSession` carries a range so that either side can move first."""

OLDEST = 1
"""The oldest version a location still speaks with clients and nodes that have not been upgraded yet."""


class NodeOffer(Struct, frozen=True, kw_only=True):
    """One node's free resources, as the location last heard of them (seed 002, Resource Offers).

    Attributes:
        cpu: free share of all its cores, 0–1.
        cores: number of cores.
        memory, memory_total, disk, disk_total: free and total, bytes.
        io: bytes per second read and written since the last sample.
        paging: pages swapped per second.
        containers: how many it runs.
        arch: as OCI writes it: amd64, arm64.
        alive: false when the location has lost it: nothing can be spawned there.
        draining: its operator lets it take nothing new on; what is there goes on.
    """

    id: ObjectId
    name: str
    cpu: float = 0.0
    cores: int = 0
    memory: Bytes = 0
    memory_total: Bytes = 0
    disk: Bytes = 0
    disk_total: Bytes = 0
    io: float = 0.0
    paging: float = 0.0
    containers: int = 0
    arch: str = "amd64"
    alive: bool = True
    storage: str = ""
    notes: tuple[str, ...] = ()
    draining: bool = False


class VolumeOffer(Struct, frozen=True, kw_only=True):
    """A volume the account may mount."""

    id: ObjectId
    node: ObjectId
    tag: str = ""
    persistent: bool = False


class ExternalOffer(Struct, frozen=True, kw_only=True):
    """A container with a tag, of another session of the account (seed 002, External Containers)."""

    id: ObjectId
    node: ObjectId
    address: Address
    tag: str


class Welcome(Reply, frozen=True, kw_only=True, tag="session.welcome"):
    """The session is open.

    Attributes:
        session: its id; sent again in a later `Hello` to take it up after a reconnection.
        resumed: true if an existing session was taken up.
        lease: seconds without a sign of life after which the session is ended.
        account: the account's name at this location.
        live: path of the liveness socket, for clients on the same machine; empty for others.
    """

    protocol: int
    version: str
    session: ObjectId
    resumed: bool = False
    lease: Seconds = 120.0
    account: str
    nodes: tuple[NodeOffer, ...] = ()
    volumes: tuple[VolumeOffer, ...] = ()
    live: str = ""
    externals: tuple[ExternalOffer, ...] = ()


class OpenSession(Request[Welcome], frozen=True, kw_only=True, tag="session.open"):
    """The first message of a client: version range, and the session to take up again if there was one.

    `local` asks for the liveness socket: the client runs on the location's machine. `visiting`: it is here to look into
    the containers of its account's other sessions (`tfcore.wire.visits`).
    """

    protocol_min: int = PROTOCOL
    protocol_max: int = PROTOCOL
    version: str
    session: OptionalId = ""
    local: bool = False
    program: str = ""
    visiting: bool = False


class RenewLease(Request[Done], frozen=True, kw_only=True, tag="session.renew"):
    """The client is alive."""


class CloseSession(Request[Done], frozen=True, kw_only=True, tag="session.close"):
    """Free everything of this session now; answered when it is freed."""


class AcceptInvitation(Request[Done], frozen=True, kw_only=True, tag="session.accept-invitation"):
    """Sent under an invitation's key: `key` is from now on the key of the account or node the invitation is for.

    The invitation's own key is void afterwards. See `tfcore.invitations`.
    """

    key: Key


class SessionLost(Event, frozen=True, kw_only=True, tag="session.lost"):
    """The location does not know (any more) the session a message came for. `reason` is a sentence.

    A client whose connection was cut answers with `OpenSession`; one whose lease ended gives up.
    """

    reason: str
    ended: bool = False


class NodeUpdated(Event, frozen=True, kw_only=True, tag="offer.node"):
    """A node appeared, changed its offer, or was lost (`alive` false)."""

    node: NodeOffer


class VolumeUpdated(Event, frozen=True, kw_only=True, tag="offer.volume"):
    """A volume of the account was created or destroyed (`gone`)."""

    volume: VolumeOffer
    gone: bool = False


class ExternalUpdated(Event, frozen=True, kw_only=True, tag="offer.external"):
    """A container with a tag appeared in another session of the account, or is `gone`."""

    external: ExternalOffer
    gone: bool = False


class LocationStatus(Reply, frozen=True, kw_only=True, tag="location.status"):
    """One consistent dump, as JSON text (`tf-location status`)."""

    report: str


class AskStatus(Request[LocationStatus], frozen=True, kw_only=True, tag="location.ask-status"):
    """What is there? An ordinary account sees its own sessions, the operator's account everything."""
