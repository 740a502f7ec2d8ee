"""Kept snapshots: taken of containers, listed, spawned from (`SpawnContainer.kept`), forgotten. They belong to accounts and
outlive containers and sessions."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from tfcore.wire.containers import ContainerWish
from tfcore.wire.images import WireLayer
from tfcore.wire.message import Done, Reply, Request
from tfcore.wire.values import Bytes, ImageName, ObjectId

KeptName = Annotated[str, Meta(pattern=r"\A([0-9A-Za-z][0-9A-Za-z_.-]{0,99})?\Z")]
"""A name, unique for the account, or "" for none."""

Lasting = Annotated[float, Meta(gt=0)]
"""Seconds, of any number of days."""


class KeptSnapshot(Struct, frozen=True, kw_only=True):
    """One of an account's kept snapshots.

    Attributes:
        node: where it lies, and containers from it are spawned.
        created, expires: seconds since the epoch; None: never.
        size: bytes it holds on the node's disk by itself.
        evictable: it may go when the account keeps more than the location's limit.
    """

    id: ObjectId
    node: ObjectId
    image: ImageName
    name: str = ""
    created: float = 0.0
    expires: float | None = None
    size: Bytes = 0
    evictable: bool = False
    labels: dict[str, str] = field(default_factory=dict)


class SnapshotKept(Reply, frozen=True, kw_only=True, tag="kept.kept"):
    """It is kept."""

    kept: KeptSnapshot


class KeepSnapshot(Request[SnapshotKept], frozen=True, kw_only=True, tag="kept.keep"):
    """Keep the container named by `target` (to the location): as it is now, or as in `snapshot`, one of its own.

    A name the account has in use already is refused, unless `replace`: then that one goes when the new one is there.
    `seconds` is None for one that never expires.
    """

    snapshot: str = ""
    name: KeptName = ""
    seconds: Lasting | None = None
    labels: dict[str, str] = field(default_factory=dict)
    evictable: bool = False
    replace: bool = False


class KeptListed(Reply, frozen=True, kw_only=True, tag="kept.listed"):
    """The account's, oldest first."""

    kept: tuple[KeptSnapshot, ...] = ()


class ListKept(Request[KeptListed], frozen=True, kw_only=True, tag="kept.list"):
    """Which does this account have?"""


class ForgetKept(Request[Done], frozen=True, kw_only=True, tag="kept.forget"):
    """Forget one; containers spawned from it go on."""

    kept: ObjectId


class KeptTidied(Reply, frozen=True, kw_only=True, tag="kept.tidied"):
    """What has gone, and what the account's others hold."""

    gone: tuple[KeptSnapshot, ...] = ()
    size: Bytes = 0
    limit: Bytes = 0


class TidyKept(Request[KeptTidied], frozen=True, kw_only=True, tag="kept.tidy"):
    """Forget now what has expired, and the oldest evictable ones beyond the limit; the location does so by itself too."""


class MomentKept(Reply, frozen=True, kw_only=True, tag="node.moment-kept"):
    """It is on the node's disk.

    Attributes:
        wish: of the container it was taken of, without what its files hold already; the host name is written out.
        volumes: the mounted volumes whose content is part of it.
        fleeting: the mounted volumes that end with their session.
    """

    size: Bytes
    wish: ContainerWish
    config: bytes
    layers: tuple[WireLayer, ...]
    volumes: tuple[ObjectId, ...] = ()
    fleeting: tuple[ObjectId, ...] = ()


class KeepMoment(Request[MomentKept], frozen=True, kw_only=True, tag="node.keep-moment"):
    """Keep a container's present state, or one of its snapshots, as `kept`. One that is there already stays as it is."""

    container: ObjectId
    session: ObjectId
    kept: ObjectId
    snapshot: str = ""


class DropKept(Request[Done], frozen=True, kw_only=True, tag="node.drop-kept"):
    """Remove a kept snapshot; what has grown from it goes on. Unknown ones count as removed."""

    kept: ObjectId
