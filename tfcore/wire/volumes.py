"""Volumes: made, destroyed, snapshot, rolled back."""

from __future__ import annotations

from tfcore.wire.message import Done, Event, Reply, Request
from tfcore.wire.values import Name, ObjectId, OptionalId, Seconds


class VolumeCreated(Reply, frozen=True, kw_only=True, tag="volume.created"):
    """The volume exists on its node."""

    volume: ObjectId
    node: ObjectId


class CreateVolume(Request[VolumeCreated], frozen=True, kw_only=True, tag="volume.create"):
    """Make a volume on `node` (to the location). A persistent one outlives the session and belongs to the account."""

    node: ObjectId
    tag: str = ""
    persistent: bool = False


class MakeVolume(Request[Done], frozen=True, kw_only=True, tag="volume.make"):
    """The location tells a node to make a volume: an empty one, or with what the volume `origin` had when `kept` was
    kept."""

    volume: ObjectId
    session: str
    account: str
    persistent: bool
    kept: OptionalId = ""
    origin: OptionalId = ""


class DestroyVolume(Request[Done], frozen=True, kw_only=True, tag="volume.destroy"):
    """Remove the volume named by `target`. Refused while a container has it mounted."""


class RemoveVolume(Request[Done], frozen=True, kw_only=True, tag="volume.remove"):
    """The location tells a node to remove a volume."""

    volume: ObjectId


class VolumeSnapshotted(Reply, frozen=True, kw_only=True, tag="volume.snapshotted"):
    """The snapshot exists; `snapshot` is its name."""

    snapshot: str


class SnapshotVolume(Request[VolumeSnapshotted], frozen=True, kw_only=True, tag="volume.snapshot"):
    """Take a snapshot of the volume named by `target`; without a name it is the one `RollBackVolume` goes back to."""

    name: Name = "baseline"


class VolumeRolledBack(Reply, frozen=True, kw_only=True, tag="volume.rolled-back"):
    """The volume is as in the snapshot."""

    seconds: Seconds


class RollBackVolume(Request[VolumeRolledBack], frozen=True, kw_only=True, tag="volume.roll-back"):
    """Put the volume named by `target` back to a snapshot, also in containers that run with it mounted."""

    name: Name = "baseline"


class VolumeLost(Event, frozen=True, kw_only=True, tag="volume.lost"):
    """The volume is gone: destroyed by another session, or its node was lost."""

    volume: ObjectId
    reason: str
