"""Containers from kept snapshots: what is wished of them, and their volumes. All is checked before anything changes."""

from __future__ import annotations

from msgspec.structs import replace

from tfcore.errors import BadRequest, NotFound, WrongState
from tfcore.ids import new_id
from tfcore.images.description import ImageDescription, Layer, describe
from tfcore.rpc.dispatcher import DEFAULT_TIMEOUT, Call
from tfcore.undo import Undo
from tfcore.wire.containers import ContainerWish, Limits, Mount, Probe, SpawnContainer
from tfcore.wire.volumes import MakeVolume
from tflocation.handlers.volumes import take_back_all
from tflocation.holdings import Container, Volume
from tflocation.kept.shelf import Kept
from tflocation.location import Location


def origin(location: Location, call: Call, message: SpawnContainer, former: Container | None) -> Kept | None:
    """The kept snapshot a container is to begin with, or began with; None for one from an image.

    Raises:
        NotFound: the account has none of that id. WrongState: it is on another node.
    """
    if former is not None:
        return location.kept.find(former.kept)
    if not message.kept:
        return None
    kept = location.kept.get(message.kept, account=call.account)
    if kept.node != message.node:
        raise WrongState(
            f"the kept snapshot {kept.title} is on node {kept.node}, and the container is to be on {message.node}",
            hint="spawn it on the snapshot's node",
        )
    return kept


def image_of(kept: Kept) -> ImageDescription:
    """Its image, as it was when it was kept."""
    layers = [
        Layer(diff_id=layer.diff_id, digest=layer.digest, size=layer.size, media_type=layer.media_type)
        for layer in kept.recipe.layers
    ]
    return describe(kept.recipe.config, tuple(layers))


def wish_of(kept: Kept, asked: ContainerWish, mounts: tuple[Mount, ...]) -> ContainerWish:
    """What was wished for the container it was taken of, with these volumes and what may be wished anew. Pure."""
    was = kept.recipe.wish
    return replace(
        was,
        mounts=mounts,
        limits=was.limits if asked.limits == Limits() else asked.limits,
        ready=was.ready if asked.ready == Probe() else asked.ready,
        before_snapshot=asked.before_snapshot or was.before_snapshot,
        after_boot=asked.after_boot or was.after_boot,
        always_roll_back=asked.always_roll_back or was.always_roll_back,
    )


def mounts_again(kept: Kept, former: Container) -> tuple[Mount, ...]:
    """Those of a container that is booted again."""
    paths = [mount.path for mount in kept.recipe.wish.mounts]
    return tuple(Mount(volume=volume, path=path) for volume, path in zip(former.volumes, paths, strict=True))


def check(location: Location, call: Call, kept: Kept, asked: ContainerWish) -> None:
    """Refuse what cannot be had.

    Raises:
        BadRequest: volumes are asked for. WrongState: a persistent volume it had mounted is gone.
    """
    if asked.mounts:
        raise BadRequest("a container from a kept snapshot has the volumes it was kept with, and no others")
    for mount in kept.recipe.wish.mounts:
        if mount.volume in kept.recipe.fleeting:
            continue
        try:
            location.holdings.volume(mount.volume, session=call.session, account=call.account)
        except NotFound as gone:
            raise WrongState(
                f"the kept snapshot {kept.title} had the persistent volume {mount.volume} mounted on {mount.path}, which "
                "is gone; persistent volumes are not kept",
                details={"volume": mount.volume},
            ) from gone


async def make_volumes(location: Location, call: Call, kept: Kept, made: list[Volume]) -> tuple[Mount, ...]:
    """Where which volume is to be: new ones of the session with what was kept, persistent ones as they are now.

    Args:
        made: is added the new ones, as far as they came to be.
    """
    mounts = []
    with Undo() as undo:
        undo.push(take_back_all, location, made)
        for mount in kept.recipe.wish.mounts:
            fleeting = mount.volume in kept.recipe.fleeting
            volume = await _made(location, call, kept, mount.volume, made) if fleeting else mount.volume
            mounts.append(Mount(volume=volume, path=mount.path))
        undo.done()
    return tuple(mounts)


async def _made(location: Location, call: Call, kept: Kept, former: str, made: list[Volume]) -> str:
    volume = Volume(id=new_id("v"), session=call.session, account=call.account, node=kept.node)
    location.guard.volumes(call.account)
    location.holdings.add_volume(volume)
    made.append(volume)
    order = MakeVolume(
        volume=volume.id,
        session=volume.session,
        account=volume.account,
        persistent=False,
        kept=kept.id if former in kept.recipe.volumes else "",
        origin=former if former in kept.recipe.volumes else "",
    )
    location.sweep.unborn.add(volume.id)
    try:
        await location.nodes.get(kept.node).call(order, timeout=call.timeout or DEFAULT_TIMEOUT)
    finally:
        location.sweep.unborn.discard(volume.id)
    return volume.id
