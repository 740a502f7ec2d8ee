"""A container's boot, snapshots, rollbacks and output, asked for by its owner."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tfcore.errors import BadRequest
from tfcore.rpc.dispatcher import Call
from tfcore.wire import containers as wire
from tfcore.wire.differences import CompareContainer, Compared
from tfcore.wire.message import Done
from tfnode.cgroups.group import Usage
from tfnode.containers.container import Container
from tfnode.containers.life import FRESH, Generation
from tfnode.containers.troubles import troubles
from tfnode.storage.interface import Storage
from tfnode.storage.occupancy import is_nearly_full

_SNAPSHOT = re.compile(r"\A[0-9A-Za-z][0-9A-Za-z_-]{0,39}\Z")

TELL_EVERY = 0.1
"""Seconds between two looks at what a waiting container was last seen doing."""


def owned(call: Call) -> Container:
    """The container a call is for; NotFound if it is not on this node, or another account's.

    Which requests may be for one of another session of the account is the location's to decide (`links.VISITS`).
    """
    container: Container = call.peer.containers.get(call.target, session=call.session, visitor=call.account)
    return container


@contextmanager
def telling(call: Call, *containers: Container) -> Iterator[None]:
    """During this block `call` knows what the containers were last seen doing, should its time run out."""

    async def watch() -> None:
        while True:
            call.seen = "; ".join(map(_seen, containers))
            await asyncio.sleep(TELL_EVERY)

    watching = asyncio.get_running_loop().create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


def _seen(container: Container) -> str:
    return f"container {container.state}" + (f"; {container.seen}" if container.seen else "")


async def wait_ready(call: Call, _: wire.WaitReady) -> wire.ContainerReady:
    """Answer when it has booted; see `Container.ready`."""
    container = owned(call)
    with telling(call, container):
        return await container.ready()


async def start(call: Call, _: wire.StartContainer) -> Done:
    """Wake a sleeping container."""
    container = owned(call)
    with telling(call, container):
        await container.start()
    return Done()


async def reboot(call: Call, msg: wire.RebootContainer) -> wire.ContainerReady:
    """Boot it again in place."""
    container = owned(call)
    with telling(call, container):
        return await container.reboot(fresh=msg.fresh)


async def ask(call: Call, _: wire.AskContainer) -> wire.ContainerStatus:
    """What is known of it now."""
    container = owned(call)
    generation = container.generation
    if generation is None:
        return wire.ContainerStatus(state=container.state, generation=0, exit_code=container.standing.exit_code)
    usage = generation.group.usage()  # some files of the kernel's: a thread would take longer than they do
    return wire.ContainerStatus(
        state=container.state,
        generation=generation.number,
        processes=usage.processes,
        memory=usage.memory or 0,
        oom=usage.oom_kills > 0,
        exit_code=container.standing.exit_code,
        notes=generation.notes,
        spares=container.spares + call.peer.groups.spares_of(container.id),
        cpu_seconds=usage.cpu_seconds,
        troubles=await _troubles(call.peer.storage, container, generation, usage),
    )


async def _troubles(storage: Storage, container: Container, generation: Generation, usage: Usage) -> tuple[str, ...]:
    """What it has written takes long to count, and is asked for only where the disk is nearly full."""
    if not is_nearly_full(generation.root):
        return troubles(usage, None)
    return await container.labour.step(troubles, usage, lambda: storage.usage(generation.tree).bytes)


def snapshot_name(wish: str) -> str:
    """What a snapshot is called. BadRequest if it cannot be called so."""
    name = wish or f"s{secrets.token_hex(4)}"
    if not _SNAPSHOT.match(name) or name == FRESH:
        raise BadRequest(
            f"{name!r} cannot be the name of a snapshot",
            hint=f"up to 40 letters, digits, - and _, but not {FRESH!r}",
        )
    return name


async def snapshot(call: Call, msg: wire.SnapshotContainer) -> wire.Snapshotted:
    """Keep its present state."""
    name = snapshot_name(msg.name)
    begun = time.monotonic()
    container = owned(call)
    with telling(call, container):
        await container.snapshot(name)
    return wire.Snapshotted(snapshot=name, seconds=time.monotonic() - begun)


async def roll_back(call: Call, msg: wire.RollBackContainer) -> wire.RolledBack:
    """Put it back to a snapshot."""
    container = owned(call)
    with telling(call, container):
        done = await container.roll_back(msg.name, look_for=msg.look_for)
    call.peer.figures.rolled_back([done])
    return done


async def compare(call: Call, msg: CompareContainer) -> Compared:
    """What has changed in it since a snapshot."""
    return await owned(call).compare(msg)


async def drop_snapshot(call: Call, msg: wire.DropSnapshot) -> Done:
    """Forget a snapshot."""
    await owned(call).drop(msg.name)
    return Done()
