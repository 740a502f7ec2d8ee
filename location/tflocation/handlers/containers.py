"""Containers: spawned (anew or again), destroyed, allowed to talk to each other. All is checked before anything changes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from msgspec.structs import replace

from tfcore.errors import BadRequest, NotFound, TfError, WrongState
from tfcore.ids import new_id
from tfcore.images.description import ImageDescription
from tfcore.rpc.dispatcher import DEFAULT_TIMEOUT, Call
from tfcore.undo import Undo
from tfcore.wire.containers import (
    AllowConnection,
    ContainerAccepted,
    DestroyContainer,
    DisallowConnection,
    SpawnContainer,
)
from tfcore.wire.message import Done
from tfcore.wire.nodes import BootContainer, ConnectContainers, DisconnectContainers
from tflocation.handlers import resuming, volumes
from tflocation.handlers.images import wire_layers
from tflocation.holdings import Container, Volume
from tflocation.kept.shelf import Kept
from tflocation.location import Location
from tflocation.nodes import Node
from tflocation.sessions import Session
from tflocation.wishes import check_wish

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 10.0
"""Seconds a node has to change a firewall's set."""


async def spawn(location: Location, call: Call, message: SpawnContainer) -> ContainerAccepted:
    """Have a container booted, a new one or one that was there before."""
    session: Session = call.peer
    check_wish(message.wish, tag=message.tag)
    former = _former(location, session, call, message)
    node = location.nodes.get(message.node)
    node.check()
    if former is None:
        location.drains.check_node(node.id, node.name)
    kept = resuming.origin(location, call, message, former)
    if kept is not None:
        return await _spawn_kept(location, call, message, former, node, kept)
    _check_volumes(location, session, message)
    image = await location.disk.run(location.images.describe, session.account, message.wish.image)
    if former is None:
        return await _spawn_new(location, call, message, node, image)
    return await _boot_again(location, call, message, former, node, image)


async def _boot_again(
    location: Location, call: Call, message: SpawnContainer, former: Container, node: Node, image: ImageDescription
) -> ContainerAccepted:
    message = _sized(location, call, message)
    limits = message.wish.limits
    location.guard.container(call.account, limits, instead=former)
    location.holdings.resize(former, memory=limits.memory, cpus=limits.cpus)
    await _boot(location, call, message, former, node, image)
    call.peer.revived(former.id)
    await _reconnect(location, former)
    return ContainerAccepted(container=former.id, address=former.address)


async def _spawn_kept(
    location: Location, call: Call, message: SpawnContainer, former: Container | None, node: Node, kept: Kept
) -> ContainerAccepted:
    """From a kept snapshot: with its files, its wish and its volumes' content."""
    resuming.check(location, call, kept, message.wish)
    image = resuming.image_of(kept)
    made: list[Volume] = []
    with location.kept.using(kept.id):
        if former is not None:
            mounts = resuming.mounts_again(kept, former)
        else:
            _refuse_beyond(location, call, kept, message)
            mounts = await resuming.make_volumes(location, call, kept, made)
        wish = resuming.wish_of(kept, message.wish, mounts)
        full = replace(message, wish=wish, kept=kept.id)
        if former is not None:
            accepted = await _boot_again(location, call, full, former, node, image)
        else:
            accepted = await _spawn_new(location, call, full, node, image, made)
    return replace(accepted, mounts=mounts, config=image.config)


def _former(location: Location, session: Session, call: Call, message: SpawnContainer) -> Container | None:
    """The container to boot again: the one named, or the one this very request has made before a restart of ours."""
    if not message.again:
        mine = location.holdings.containers_of(session.id)
        return next((container for container in mine if container.request == call.id), None)
    former = location.holdings.container(message.again, session=session.id)
    if former.node != message.node:
        raise WrongState(f"container {former.id} is on node {former.node} and can be booted again only there")
    return former


def _check_volumes(location: Location, session: Session, message: SpawnContainer) -> None:
    for mount in message.wish.mounts:
        volume = location.holdings.volume(mount.volume, session=session.id, account=session.account)
        if volume.node != message.node:
            raise BadRequest(
                f"volume {volume.id} is on node {volume.node}, and the container is to be on {message.node}",
                hint="spawn the container on its volumes' node",
            )


async def _spawn_new(
    location: Location,
    call: Call,
    message: SpawnContainer,
    node: Node,
    image: ImageDescription,
    made: Sequence[Volume] = (),
) -> ContainerAccepted:
    """`made` are volumes that are there only for it."""
    message = _sized(location, call, message)
    with Undo() as undo:
        undo.push(volumes.take_back_all, location, made)
        container = _record(location, call, message)
        undo.done()
        undo.push(_take_back, location, container, made)
        await _boot(location, call, message, container, node, image)
        undo.done()
    location.offers.container_made(container)
    return ContainerAccepted(container=container.id, address=container.address)


def _sized(location: Location, call: Call, message: SpawnContainer) -> SpawnContainer:
    """With a share of what its account is limited in, where nothing is wished."""
    limits = location.guard.sized(call.account, message.wish.limits)
    return replace(message, wish=replace(message.wish, limits=limits))


def _refuse_beyond(location: Location, call: Call, kept: Kept, message: SpawnContainer) -> None:
    """Before its volumes are made: they and the container are checked again when they are written down."""
    wish = resuming.wish_of(kept, message.wish, ())
    location.guard.container(call.account, location.guard.sized(call.account, wish.limits))
    location.guard.volumes(call.account, len(kept.recipe.fleeting))


def _record(location: Location, call: Call, message: SpawnContainer) -> Container:
    """The new container, written down before anybody is asked to make it."""
    taken = location.holdings.tagged(message.tag, account=call.account)
    if taken is not None:
        raise WrongState(f"there is a container tagged {message.tag!r} already: {taken.id}", hint="choose another tag")
    limits = message.wish.limits
    location.guard.container(call.account, limits)
    address = location.addresses.allocate()
    with Undo() as undo:
        undo.push(location.addresses.release, address)
        container = Container(
            id=new_id("c"),
            session=call.session,
            account=call.account,
            node=message.node,
            address=str(address),
            image=message.wish.image,
            tag=message.tag,
            volumes=tuple(mount.volume for mount in message.wish.mounts),
            request=call.id,
            kept=message.kept,
            memory=limits.memory,
            cpus=limits.cpus,
        )
        location.holdings.add_container(container)
        undo.done()
    return container


def _take_back(location: Location, container: Container, made: Sequence[Volume]) -> None:
    """Nobody knows how far the node has come: it ends the container, then address and record go, and its volumes."""
    location.background.start(_end(location, container, made), name=f"taking back {container.id}")


async def _end(location: Location, container: Container, made: Sequence[Volume]) -> None:
    try:
        await location.freeing.container(container)
    except TfError as error:
        log.warning("container %s stays its session's until the session ends: %s", container.id, error)
        return
    for volume in made:
        await volumes.remove(location, volume)


async def _boot(
    location: Location,
    call: Call,
    message: SpawnContainer,
    container: Container,
    node: Node,
    image: ImageDescription,
) -> None:
    diff_ids = [layer.diff_id for layer in image.layers]
    await location.disk.run(location.images.pin, container.id, diff_ids)  # until the container is gone
    boot = BootContainer(
        container=container.id,
        session=container.session,
        account=container.account,
        address=container.address,
        wish=message.wish,
        config=image.config,
        layers=wire_layers(image),
        snapshot=message.snapshot,
        kept=message.kept,
    )
    location.sweep.unborn.add(container.id)
    try:
        await node.call(boot, timeout=call.timeout or DEFAULT_TIMEOUT)
    finally:
        location.sweep.unborn.discard(container.id)
    location.holdings.ended.discard(container.id)


async def _reconnect(location: Location, container: Container) -> None:
    """A restarted agent has forgotten who may talk to whom."""
    for friend in location.holdings.permitted(container):
        await _on_nodes_of(location, container, friend, ConnectContainers(one=container.address, other=friend.address))


async def destroy(location: Location, call: Call, _message: DestroyContainer) -> Done:
    """End a container and remove everything it has."""
    container = location.holdings.container(call.target, session=call.session)
    await location.freeing.container(container)
    return Done()


async def allow(location: Location, call: Call, message: AllowConnection) -> Done:
    """Let two containers talk to each other: two of the session, or one of it and an external one."""
    one, other = _two(location, call, message.source)
    await _on_nodes_of(location, one, other, ConnectContainers(one=one.address, other=other.address))
    location.holdings.permit(one, other)
    return Done()


async def disallow(location: Location, call: Call, message: DisallowConnection) -> Done:
    """Take it back."""
    one, other = _two(location, call, message.source)
    await _on_nodes_of(location, one, other, DisconnectContainers(one=one.address, other=other.address))
    location.holdings.forbid(one, other)
    return Done()


def _two(location: Location, call: Call, source: str) -> tuple[Container, Container]:
    one = location.holdings.visible_container(call.target, session=call.session, account=call.account)
    other = location.holdings.visible_container(source, session=call.session, account=call.account)
    if call.session not in (one.session, other.session):
        raise NotFound(f"neither {one.id} nor {other.id} is a container of this session")
    if one is other:
        raise BadRequest(f"container {one.id} may talk to itself anyway")
    return one, other


async def _on_nodes_of(
    location: Location, one: Container, other: Container, order: ConnectContainers | DisconnectContainers
) -> None:
    for node in sorted({one.node, other.node}):
        await location.nodes.get(node).call(order, timeout=CONNECT_TIMEOUT)
