"""Keeping a container's state, now or as one of its snapshots has it; and what a container from one begins with. Runs in the
agent's event loop.

Keeping is one of the container's transitions, but leaves no trace in it: its own snapshots, its spares and what it would go
back to are as before.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import replace

import msgspec

from tfcore.errors import WrongState
from tfcore.undo import Undo
from tfcore.wire.containers import ContainerWish
from tfcore.wire.kept import MomentKept
from tfnode.containers.container import Container
from tfnode.containers.labour import Labour
from tfnode.containers.life import FRESH, Birth, Generations, Moment, moment_named, moment_of
from tfnode.containers.preboot import hostname_of
from tfnode.containers.standing import DOWN, State
from tfnode.kept.store import KeptStore, moment_kept
from tfnode.volumes.volumes import Volumes


class Keeping:
    """Keeps states of this node's containers."""

    def __init__(self, store: KeptStore, generations: Generations, volumes: Volumes, executor: Executor) -> None:
        self._store = store
        self._generations = generations
        self._volumes = volumes
        self._labour = Labour("kept snapshots", executor)
        self._coming: dict[str, asyncio.Event] = {}

    def ids(self) -> tuple[str, ...]:
        """What there is, and what is under way."""
        return tuple({*self._store.ids(), *self._coming})

    async def keep(self, container: Container, identifier: str, snapshot: str = "") -> MomentKept:
        """Keep its present state, or that of its snapshot of this name; of one that has ended, the files it ended with.

        Raises:
            NotFound: no such snapshot. WrongState: there is no state, or `before_snapshot` failed. In any case nothing of it
                is left.
        """
        self._coming.setdefault(identifier, asyncio.Event())

        async def work() -> MomentKept:
            try:
                async with container.lock:
                    return await self._keep(container, identifier, snapshot)
            finally:
                if (coming := self._coming.pop(identifier, None)) is not None:
                    coming.set()

        return await self._labour.whole(work())

    async def begin(self, birth: Birth) -> Moment:
        """The first moment of a container that was spawned from a kept snapshot, with which it needs that no more: all its
        session volumes are there, with what was kept.

        Raises:
            NotFound: there is no such snapshot.
        """
        kept = self._store.get(birth.boot.kept)
        fresh = moment_of(birth, FRESH, asleep=kept.asleep)
        await self._labour.step(self._begin, replace(birth, grown_from=kept.root), fresh)
        return fresh

    def _begin(self, birth: Birth, fresh: Moment) -> None:
        with Undo() as undo:
            undo.push(self._generations.forget, fresh)
            for volume, label in fresh.volumes.items():
                self._volumes.snapshot(self._volumes.get(volume), label)
            self._generations.make_fresh(birth, fresh)
            undo.done()

    async def drop(self, identifier: str) -> None:
        """Remove one; if it is under way, when it is there. An unknown one is no error."""
        if (coming := self._coming.get(identifier)) is not None:
            await coming.wait()
        await self._labour.step(self._store.drop, identifier)

    async def _keep(self, container: Container, identifier: str, snapshot: str) -> MomentKept:
        moment = self._store.find(identifier)  # asked again, if an answer did not arrive
        if moment is None and snapshot:
            moment = await self._copy(container, identifier, snapshot)
        elif moment is None:
            moment = await self._now(container, identifier)
        size: int = await self._labour.step(self._store.add, moment)
        boot = container.birth.boot
        return MomentKept(
            size=size,
            wish=_lasting(container),
            config=boot.config,
            layers=boot.layers,
            volumes=tuple(moment.volumes),
            fleeting=container.birth.session_volumes,
        )

    async def _copy(self, container: Container, identifier: str, snapshot: str) -> Moment:
        source = moment_named(snapshot, container.moments, container.id)
        kept = moment_kept(identifier, source.volumes, asleep=source.asleep)
        await self._labour.step(self._store.copy, source, kept)
        return kept

    async def _now(self, container: Container, identifier: str) -> Moment:
        generation = container.generation
        if generation is None or container.state is State.GONE:
            raise WrongState(f"container {container.id} is {container.state}: there is nothing to keep")
        if container.state not in DOWN:
            await container.wakening.before_snapshot()
        asleep = container.state is State.ASLEEP
        kept = moment_kept(identifier, container.birth.session_volumes, asleep=asleep)
        await self._labour.step(self._generations.keep, (generation, kept))
        return kept


def _lasting(container: Container) -> ContainerWish:
    """What was wished of it, but for what is in its files by now. Services that call themselves by their host name, as
    RabbitMQ does, find their data under it: it stays."""
    wish = container.birth.boot.wish
    return msgspec.structs.replace(wish, pre_boot_files=(), sleep=False, hostname=hostname_of(container.birth.boot))
