"""What the location tells a node: boot, end, connect, make. Never a client's request."""

from __future__ import annotations

from ipaddress import IPv4Address

from tfcore.rpc.dispatcher import Call
from tfcore.wire import nodes as wire
from tfcore.wire.kept import DropKept, KeepMoment, MomentKept
from tfcore.wire.message import Done
from tfcore.wire.volumes import MakeVolume, RemoveVolume


async def boot_container(call: Call, msg: wire.BootContainer) -> Done:
    """Take a container on; it boots after this is answered."""
    await call.peer.boot(msg)
    return Done()


async def end_container(call: Call, msg: wire.EndContainer) -> Done:
    """Remove a container and its snapshots."""
    await call.peer.end(msg.container)
    return Done()


async def free_session(call: Call, msg: wire.FreeSession) -> Done:
    """Remove everything of a session but persistent volumes."""
    await call.peer.free(msg.session)
    return Done()


async def connect(call: Call, msg: wire.ConnectContainers) -> Done:
    """Let two addresses talk."""
    call.peer.groups.may_talk_differently(msg.one, msg.other)
    await call.peer.step(call.peer.network.allow, IPv4Address(msg.one), IPv4Address(msg.other))
    return Done()


async def disconnect(call: Call, msg: wire.DisconnectContainers) -> Done:
    """Stop two addresses from talking."""
    call.peer.groups.may_talk_differently(msg.one, msg.other)
    await call.peer.step(call.peer.network.disallow, IPv4Address(msg.one), IPv4Address(msg.other))
    return Done()


async def keep_moment(call: Call, msg: KeepMoment) -> MomentKept:
    """Keep a container's state beyond its life."""
    container = call.peer.containers.get(msg.container, session=msg.session)
    kept: MomentKept = await call.peer.keeping.keep(container, msg.kept, msg.snapshot)
    return kept


async def drop_kept(call: Call, msg: DropKept) -> Done:
    """Remove a kept snapshot."""
    await call.peer.keeping.drop(msg.kept)
    await call.peer.step(call.peer.sweep)
    return Done()


async def make_volume(call: Call, msg: MakeVolume) -> Done:
    """Make a volume, empty or with what a kept snapshot has of another."""
    volumes = call.peer.volumes
    content = call.peer.kept.get(msg.kept).volumes.get(msg.origin, "") if msg.kept else ""

    def make() -> None:
        volumes.make(msg.volume, session=msg.session, account=msg.account, persistent=msg.persistent, content=content)

    await call.peer.step(make)
    return Done()


async def remove_volume(call: Call, msg: RemoveVolume) -> Done:
    """Remove a volume with its snapshots."""
    await call.peer.step(call.peer.volumes.destroy, msg.volume)
    await call.peer.step(call.peer.sweep)
    return Done()
