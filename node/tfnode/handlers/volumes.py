"""A volume's own snapshots and rollbacks, asked for by its owner."""

from __future__ import annotations

import time

from tfcore.errors import BadRequest, NotFound
from tfcore.rpc.dispatcher import Call
from tfcore.wire import volumes as wire
from tfnode.volumes.volumes import Volume

LONGEST = 40


async def snapshot(call: Call, msg: wire.SnapshotVolume) -> wire.VolumeSnapshotted:
    """Keep its present content, in place of an older snapshot of that name; its containers are frozen meanwhile."""
    volume = _owned(call)
    _check(msg.name)
    async with call.peer.volume_lock(volume.id):
        await call.peer.work(call.peer.snapshot_volume, volume, msg.name)
    return wire.VolumeSnapshotted(snapshot=msg.name)


async def roll_back(call: Call, msg: wire.RollBackVolume) -> wire.VolumeRolledBack:
    """Show a snapshot again, to running containers too."""
    volume = _owned(call)
    label = await call.peer.work(call.peer.volumes.label_of, volume, msg.name)
    begun = time.monotonic()
    async with call.peer.volume_lock(volume.id):
        await call.peer.work(call.peer.volumes.roll_back, volume, label, call.peer.pids_with(volume))
    call.peer.work(call.peer.storage.sweep)  # nobody waits for what was there before to be deleted
    return wire.VolumeRolledBack(seconds=time.monotonic() - begun)


def _owned(call: Call) -> Volume:
    """A session's volume belongs to that session, a persistent one to the account."""
    volume: Volume = call.peer.volumes.get(call.target)
    mine = volume.entry.account == call.account if volume.entry.persistent else volume.entry.session == call.session
    if not mine:
        raise NotFound(f"there is no volume {call.target} on this node")
    return volume


def _check(name: str) -> None:
    if len(name) > LONGEST:
        raise BadRequest(f"a snapshot's name has at most {LONGEST} characters")
