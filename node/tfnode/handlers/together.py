"""Snapshots and rollbacks of several containers as one, asked for by their owner."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tfcore.errors import BadRequest
from tfcore.rpc.dispatcher import Call
from tfcore.wire import containers as wire
from tfnode.containers.group import RollbackGroup
from tfnode.handlers.containers import snapshot_name, telling


async def snapshot(call: Call, msg: wire.SnapshotTogether) -> wire.Snapshotted:
    """Keep the present state of all, at one instant."""
    name = snapshot_name(msg.name)
    begun = time.monotonic()
    group = _group(call, msg.containers)
    with telling(call, *group.members):
        await group.snapshot(name)
    return wire.Snapshotted(snapshot=name, seconds=time.monotonic() - begun)


async def roll_back(call: Call, msg: wire.RollBackTogether) -> wire.RolledBackTogether:
    """Put all back, each to its snapshot."""
    names = msg.snapshots or ("",) * len(msg.containers)
    if len(names) != len(msg.containers):
        raise BadRequest(f"{len(names)} snapshots for {len(msg.containers)} containers")
    group = _group(call, msg.containers)
    with telling(call, *group.members):
        done = await group.roll_back(names, msg.look_for)
    call.peer.figures.rolled_back(done)
    return wire.RolledBackTogether(rollbacks=done)


def _group(call: Call, identifiers: Sequence[str]) -> RollbackGroup:
    """NotFound if one is not the session's, BadRequest if they cannot be a group."""
    if len(set(identifiers)) != len(identifiers):
        raise BadRequest("a container is named twice")
    members = [call.peer.containers.get(identifier, session=call.session) for identifier in identifiers]
    group: RollbackGroup = call.peer.groups.of(members)
    return group
