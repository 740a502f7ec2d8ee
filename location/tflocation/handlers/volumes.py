"""Volumes: created and destroyed. Snapshots are between their owner and the node."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tfcore.errors import TfError, WrongState
from tfcore.ids import new_id
from tfcore.rpc.dispatcher import DEFAULT_TIMEOUT, Call
from tfcore.tags import check_tag
from tfcore.undo import Undo
from tfcore.wire.message import Done
from tfcore.wire.volumes import CreateVolume, DestroyVolume, MakeVolume, RemoveVolume, VolumeCreated
from tflocation.holdings import Volume
from tflocation.location import Location
from tflocation.sessions import Session

log = logging.getLogger(__name__)


async def create(location: Location, call: Call, message: CreateVolume) -> VolumeCreated:
    """Make a volume on a node."""
    session: Session = call.peer
    check_tag(message.tag)
    node = location.nodes.get(message.node)
    node.check()
    volume = _asked_before(location, session, call)
    if volume is None:
        location.drains.check_node(node.id, node.name)
        volume = _record(location, session, call, message)
    order = MakeVolume(volume=volume.id, session=volume.session, account=volume.account, persistent=volume.persistent)
    location.sweep.unborn.add(volume.id)
    with Undo() as undo:
        undo.push(take_back, location, volume)
        try:
            await node.call(order, timeout=call.timeout or DEFAULT_TIMEOUT)
        finally:
            location.sweep.unborn.discard(volume.id)
        undo.done()
    location.offers.volume_made(volume, by=session)
    return VolumeCreated(volume=volume.id, node=volume.node)


def _asked_before(location: Location, session: Session, call: Call) -> Volume | None:
    """The volume this very request has made before a restart of ours."""
    return next(
        (v for v in location.holdings.volumes.values() if (v.session, v.request) == (session.id, call.id)), None
    )


def _record(location: Location, session: Session, call: Call, message: CreateVolume) -> Volume:
    """The new volume, written down before anybody is asked to make it."""
    visible = location.holdings.volumes_for(session=session.id, account=session.account)
    taken = next((volume for volume in visible if message.tag and volume.tag == message.tag), None)
    if taken is not None:
        raise WrongState(f"there is a volume tagged {message.tag!r} already: {taken.id}", hint="choose another tag")
    location.guard.volumes(session.account)
    volume = Volume(
        id=new_id("v"),
        session=session.id,
        account=session.account,
        node=message.node,
        tag=message.tag,
        persistent=message.persistent,
        request=call.id,
    )
    location.holdings.add_volume(volume)
    return volume


def take_back(location: Location, volume: Volume) -> None:
    """Nobody knows how far the node has come: it removes what there is, then the record goes."""
    location.background.start(remove(location, volume), name=f"taking back {volume.id}")


def take_back_all(location: Location, volumes: Sequence[Volume]) -> None:
    """The same for those of a list, as it is by then."""
    for volume in volumes:
        take_back(location, volume)


async def remove(location: Location, volume: Volume) -> None:
    """Remove a volume that nobody has seen yet, as far as its node can be asked."""
    node = location.nodes.find(volume.node)
    if node is None:
        return
    try:
        await node.call(RemoveVolume(volume=volume.id), timeout=DEFAULT_TIMEOUT)
    except TfError as error:
        log.warning("volume %s may be left on node %s: %s", volume.id, node.name, error)
    if volume.id in location.holdings.volumes:
        location.holdings.drop_volume(volume.id)


async def destroy(location: Location, call: Call, _message: DestroyVolume) -> Done:
    """Remove a volume with all its data."""
    session: Session = call.peer
    volume = location.holdings.volume(call.target, session=session.id, account=session.account)
    users = [c.id for c in location.holdings.mounted_by(volume.id) if c.id not in location.holdings.ended]
    if users:
        raise WrongState(
            f"volume {volume.id} is mounted by {', '.join(users)}", hint="destroy the containers that use it first"
        )
    await location.nodes.get(volume.node).call(RemoveVolume(volume=volume.id), timeout=call.timeout or DEFAULT_TIMEOUT)
    if volume.id in location.holdings.volumes:
        location.holdings.drop_volume(volume.id)
        location.offers.volume_gone(volume, by=session)
    return Done()
