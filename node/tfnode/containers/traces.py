"""Has anything happened to a container since it stood exactly at a moment? If not, going back there is doing nothing.

A *mark* says: this generation is at that moment, and this is what it looks like. It is set when a generation has booted from
the moment and nobody but its own probes has reached it meanwhile, and when a snapshot is taken of it. A rollback to
the marked moment asks `since`; whatever is in doubt counts as a trace. The mark stays where it is: what arrives while the
question is being answered shows the next time.

Runs in the agent's event loop; knows the machine only as `Evidence` to be taken and compared.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from tfcore.errors import TfError
from tfnode.containers.evidence import Evidence
from tfnode.containers.labour import Labour
from tfnode.containers.life import Generation, Moment

log = logging.getLogger(__name__)

SETTLING = (0.02, 0.04, 0.08, 0.16, 0.32)
"""Seconds between looks at a service that is ready but still starting processes."""

TICK = 0.011
"""Seconds after which the clock that stamps files has moved, on the slowest kernels (HZ=100)."""

FEW = 20
"""Processes that are looked at without a thread."""

UNREADABLE = (TfError, OSError, ValueError, LookupError)
"""What looking may raise; the last two are a table of the kernel's that says something unexpected."""


class Scene(Protocol):
    """Where one generation is looked at; see `evidence.Scene`."""

    def packets(self) -> int: ...

    def look(self) -> Evidence: ...

    def settled(self, seen: Evidence) -> Evidence: ...

    def stood_still(self, seen: Evidence) -> bool: ...

    def change(self, seen: Evidence) -> tuple[str, Evidence]: ...


@dataclass(frozen=True)
class Sight:
    """A generation as it was seen once.

    Attributes:
        touches: how often its user had done something to the container by then.
        alone: its user was not doing something at that very moment.
    """

    generation: Generation
    touches: int
    evidence: Evidence
    alone: bool = True


@dataclass(frozen=True)
class _Begin:
    generation: int
    touches: int
    packets: int


@dataclass
class _Mark:
    moment: Moment
    sight: Sight


class Traces:
    """The traces of one container.

    Args:
        name: what to call the container in the log.
        scene_of: where a generation is looked at; may raise what looking may.
        carries: whether a client has said something that has not reached the container yet.
        wanted: False for a container that is always rolled back.
    """

    def __init__(
        self,
        name: str,
        labour: Labour,
        *,
        scene_of: Callable[[Generation], Scene],
        carries: Callable[[], bool],
        wanted: bool,
    ) -> None:
        self._name = name
        self._labour = labour
        self._scene_of = scene_of
        self._carries = carries
        self._wanted = wanted
        self._touches = 0
        self._touching = 0
        self._last = ""
        self._begin: _Begin | None = None
        self._mark: _Mark | None = None
        self._doubtful: _Mark | None = None
        self._settling: asyncio.Task[None] | None = None

    # what its user does

    @contextmanager
    def touched(self, what: str) -> Iterator[None]:
        """The user does something to the container, during this block."""
        self._touches += 1
        self._touching += 1
        self._last = what
        try:
            yield
        finally:
            self._touching -= 1

    # where it stands

    def begin(self, generation: Generation) -> None:
        """Its main process is about to be started: whoever reaches it from now on has reached it before it was ready.
        In whatever thread starts it."""
        self._begin = self._mark = self._doubtful = None
        try:
            packets = self._scene_of(generation).packets()
        except UNREADABLE as error:
            log.info("%s: no rollback will be saved: %s", self._name, error)
            return
        self._begin = _Begin(generation.number, self._touches, packets)

    async def ready(self, generation: Generation, moment: Moment) -> None:
        """It has booted from `moment` and is ready: that is where it stands, unless somebody has reached it meanwhile."""
        begin, sight = self._begin, await self.look(generation)
        if sight is None:
            return
        if doubt := self._doubt(begin, sight):
            log.debug("%s: no rollback will be saved: %s", self._name, doubt)
            self._doubtful = _Mark(moment, sight)
            return
        self._follow(sight, moment)

    def _doubt(self, begin: _Begin | None, sight: Sight) -> str:
        """Why what was seen need not be what the moment looks like; empty if it must."""
        reached = begin != _Begin(sight.generation.number, sight.touches, sight.evidence.packets)
        if reached or not sight.alone or self._is_touched(sight):
            return "it was reached before it was ready"
        if sight.evidence.contested:
            return f"somebody else has just written to {', '.join(sight.evidence.contested)}"
        return ""

    async def look(self, generation: Generation, *, patient: bool = False) -> Sight | None:
        """As it is now, for `kept`; None if that cannot be told.

        Args:
            patient: wait a tick if something has just been written.
        """
        touches, alone = self._touches, not self._touching
        try:
            evidence = await self._labour.step(self._look, generation)
            if patient and evidence.fresh:
                await asyncio.sleep(TICK)
                evidence = await self._labour.step(self._look, generation)
        except UNREADABLE as error:
            log.info("%s: no rollback will be saved: %s", self._name, error)
            return None
        return Sight(generation, touches, evidence, alone)

    def kept(self, sight: Sight | None, moment: Moment) -> None:
        """A snapshot was taken after it was seen like this: it stands there, and what happened since then is a trace."""
        self.forget()
        if sight is None:
            return
        if sight.alone and not sight.evidence.fresh:
            self._mark = _Mark(moment, sight)
        else:
            self._doubtful = _Mark(moment, sight)

    async def foresee(self, generation: Generation) -> None:
        """It is ready and stands still, out of everybody's reach: how it looks now is how it will look when it goes on."""
        try:
            generation.evidence = await self._labour.step(self._look, generation)
        except UNREADABLE as error:
            log.info("%s: no rollback will be saved: %s", self._name, error)

    def swapped_in(self, generation: Generation, moment: Moment) -> None:
        """It has gone on, from where it was foreseen; it may not have started all its processes yet."""
        self.forget()
        if generation.evidence is not None:
            self._follow(Sight(generation, self._touches, generation.evidence), moment)

    def forget(self) -> None:
        """It stands nowhere in particular any more."""
        self._begin = self._mark = self._doubtful = None
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None

    async def since(self, generation: Generation, moment: Moment) -> str:
        """What has happened to it since it stood at `moment`, in a few words; empty if nothing has."""
        mark = self._mark
        if not self._wanted:
            return "it is always rolled back"
        if mark is None or mark.moment != moment or mark.sight.generation is not generation:
            return "nobody knows whether it is as in the snapshot"
        if blind := mark.sight.evidence.blind:
            return blind
        if self._is_touched(mark.sight):
            return self._last
        if self._carries():
            return "a client's bytes"
        sight = mark.sight
        try:
            if generation.group.frozen():
                return "it could not be let go after it had been held still"
            if self._stood_still(sight):
                return ""
            change, evidence = await self._labour.step(self._change, sight)
        except UNREADABLE as error:
            return str(error)
        if not change and mark.sight is sight:
            mark.sight = replace(sight, evidence=evidence)
        return change

    def reference(self, generation: Generation, moment: Moment) -> Evidence | None:
        """How it looked when it stood at `moment`, or nearly so: good for telling what is new, not for telling that nothing
        is. None if nobody has looked then."""
        for mark in (self._mark, self._doubtful):
            if mark is not None and mark.moment == moment and mark.sight.generation is generation:
                return mark.sight.evidence
        return None

    def _is_touched(self, sight: Sight) -> bool:
        return self._touches != sight.touches

    def _follow(self, sight: Sight, moment: Moment) -> None:
        self._mark = _Mark(moment, sight)
        self._settling = self._labour.begin(self._settle(sight))

    def _look(self, generation: Generation) -> Evidence:
        return self._scene_of(generation).look()

    def _stood_still(self, sight: Sight) -> bool:
        """In the event loop: of a few processes it takes less time to tell than a thread would."""
        if len(sight.evidence.processes) > FEW:
            return False
        return self._scene_of(sight.generation).stood_still(sight.evidence)

    def _change(self, sight: Sight) -> tuple[str, Evidence]:
        return self._scene_of(sight.generation).change(sight.evidence)

    def _resettled(self, sight: Sight) -> Evidence | None:
        """As it was seen but for processes and memory; None if somebody has reached it."""
        scene = self._scene_of(sight.generation)
        evidence = scene.settled(sight.evidence)
        return evidence if scene.packets() == evidence.packets else None

    async def _settle(self, sight: Sight) -> None:
        """Many a service answers before its last process is there, and a probe's last process may still be. Nobody else
        has reached it, so these belong to its boot: follow them until they stay the same."""
        for pause in SETTLING:
            await asyncio.sleep(pause)
            try:
                evidence = await self._labour.step(self._resettled, sight)
            except UNREADABLE as error:
                log.debug("%s: %s", self._name, error)
                return
            mark = self._mark
            if evidence is None or mark is None or mark.sight is not sight or self._is_touched(sight):
                return
            calm = evidence.processes == sight.evidence.processes
            sight = mark.sight = replace(sight, evidence=evidence)
            if calm:
                return
