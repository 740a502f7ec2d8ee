"""A volume's own snapshots and rollbacks, asked for by its owner."""

from __future__ import annotations

import time
from typing import Any

from tfcore.errors import BadRequest, NotFound
from tfcore.rpc.dispatcher import Call
from tfcore.wire import volumes as wire
from tfnode.containers.stillness import held_still
from tfnode.volumes.volumes import Volume

LONGEST = 40


async def snapshot(call: Call, msg: wire.SnapshotVolume) -> wire.VolumeSnapshotted:
    """Keep its present content, in place of an older snapshot of that name; its containers are frozen meanwhile."""
    volume = _owned(call)
    _check(msg.name)
    await call.peer.step(take_snapshot, call.peer, volume, msg.name)
    return wire.VolumeSnapshotted(snapshot=msg.name)


def take_snapshot(agent: Any, volume: Volume, name: str) -> None:
    with held_still(agent.users_of(volume).values()):
        agent.volumes.snapshot_named(volume, name)


async def roll_back(call: Call, msg: wire.RollBackVolume) -> wire.VolumeRolledBack:
    """Show a snapshot again, to running containers too."""
    volume = _owned(call)
    label = await call.peer.step(call.peer.volumes.label_of, volume, msg.name)
    begun = time.monotonic()
    await call.peer.step(show_again, call.peer, volume, label)
    call.peer.work(call.peer.sweep)  # nobody waits for what was there before to be deleted
    return wire.VolumeRolledBack(seconds=time.monotonic() - begun)


def show_again(agent: Any, volume: Volume, label: str) -> None:
    pids = {container: generation.pid for container, generation in agent.users_of(volume).items()}
    agent.volumes.roll_back(volume, label, pids)


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
