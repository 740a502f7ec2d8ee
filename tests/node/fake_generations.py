"""A machine made of lists: generations that are made, started and buried by noting so, and fail when told to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tfcore.errors import CommandFailed
from tfcore.images.description import parse_config
from tfcore.wire.containers import ContainerWish
from tfcore.wire.differences import CompareContainer, Compared, Left, LookFor
from tfcore.wire.nodes import BootContainer
from tfnode.containers.ahead import Fellows
from tfnode.containers.evidence import Evidence, Memory
from tfnode.containers.groups import Groups
from tfnode.containers.life import Birth, Generation, Moment, Swap
from tfnode.containers.room import Room
from tfnode.containers.sandbox import OWNER
from tfnode.kernel.fingerprint import Fingerprint
from tfnode.kernel.procfs import Process

CONFIG = (
    b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:'
    + b"0" * 64
    + b'"]},"config":{}}'
)


class FakeGenerations:
    """Keeps a diary; `failing` holds the names of verbs that fail, `gates` holds events that verbs wait for.

    Nobody can tell what was changed unless "scene" is taken out of `failing`.

    Args:
        name: whose they are, for a diary that several share.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.diary: list[str] = []
        self.failing: set[str] = {"scene"}
        self.gates: dict[str, threading.Event] = {}
        self.alive: dict[int, Generation] = {}
        self.scenes: dict[int, FakeScene] = {}
        self.full = False
        self.held = False

    def _note(self, verb: str, what: object) -> None:
        gate = self.gates.get(verb)
        if gate is not None:
            assert gate.wait(10), f"nobody opened the gate of {verb}"
        self._check(verb)
        self.diary.append(f"{self.name} {verb} {what}".strip())

    def _check(self, verb: str) -> None:
        if verb in self.failing:
            raise CommandFailed(f"{verb} was told to fail")

    def make_fresh(self, birth: Birth, moment: Moment) -> None:
        self._note("make_fresh", moment.name)

    def make(self, birth: Birth, number: int, moment: Moment, sandbox: FakeSandbox) -> Generation:  # type: ignore[override]
        self._note("make" if sandbox.reached else "make_beside", f"{number} from {moment.name}")
        sandbox.join(number)
        made = Generation(
            number=number,
            moment=moment.name,
            tree=f"{birth.id}.g{number}",
            root=Path("/nowhere"),
            runtime_id=f"{birth.id}.{number}",
            pid=1000 + number,
            group=SimpleNamespace(usage=lambda: SimpleNamespace(memory=1), frozen=lambda: self.held),  # type: ignore[arg-type]
            sandbox=sandbox,  # type: ignore[arg-type]
            notes=("nothing is limited here",),
        )
        self.alive[number] = made
        return made

    def renew(self, birth: Birth, dead: Generation, number: int) -> Generation:
        self._note("renew", f"{number} over {dead.number}")
        self.alive.pop(dead.number, None)
        dead.sandbox.leave(dead.number)
        dead.sandbox.join(number)
        self.alive[number] = replace(dead, number=number, started=False)
        return self.alive[number]

    def start(self, generation: Generation) -> None:
        self._note("start", generation.number)

    def kill(self, generation: Generation) -> None:
        self._note("kill", generation.number)

    def cut_off(self, generation: Generation) -> None:
        generation.sandbox.reset_connections()
        self.kill(generation)

    def hold(self, generation: Generation) -> None:
        self._note("hold", generation.number)

    def swap(self, pairs: Sequence[Swap]) -> None:
        self._note("swap", ", ".join(f"{old.number if old else None} for {new.number}" for old, new in pairs))
        for old, new in pairs:
            new.sandbox.switch()  # type: ignore[attr-defined]
            if old is not None:
                old.sandbox.reset_connections()

    def stop(self, generation: Generation, timeout: float) -> None:
        self._note("stop", generation.number)

    def take_over(self, birth: Birth, generation: Generation) -> list[str]:
        return []

    def crowded(self, generation: Generation) -> bool:
        return self.full

    def discard(self, trees: list[str]) -> None:
        assert trees == []

    def bury(self, birth: Birth, generation: Generation) -> None:
        self._note("bury", generation.number)
        generation.sandbox.leave(generation.number)
        del self.alive[generation.number]

    def keep(self, *kept: tuple[Generation, Moment]) -> None:
        self._note("keep", ", ".join(f"{moment.name} of {generation.number}" for generation, moment in kept))

    def seal(self, birth: Birth, generation: Generation, moment: Moment) -> None:
        self._note("seal", f"{moment.name} of {generation.number}")
        generation.sandbox.leave(generation.number)
        del self.alive[generation.number]

    def scene(self, birth: Birth, generation: Generation) -> FakeScene:  # type: ignore[override]
        self._check("scene")
        return self.scenes.setdefault(generation.number, FakeScene())

    def compare(
        self, birth: Birth, generation: Generation, moment: Moment, seen: Evidence | None, wanted: CompareContainer
    ) -> Compared:
        self._note("compare", f"{generation.number} with {moment.name}, {'seen' if seen else 'not seen'}")
        return Compared(snapshot=moment.name)

    def compare_moments(self, birth: Birth, before: Moment, after: Moment, wanted: CompareContainer) -> Compared:
        self._note("compare", f"{before.name} with {after.name}")
        return Compared(snapshot=before.name)

    def left(
        self, birth: Birth, generation: Generation, moment: Moment, seen: Evidence | None, look_for: LookFor
    ) -> Left:
        self._note("look", f"for {look_for} in {generation.number}, {'seen' if seen else 'not seen'}")
        return Left(processes=("sleep 9",))

    def remove_moment(self, moment: Moment) -> None:
        self._note("remove_moment", moment.name)

    def forget(self, moment: Moment) -> None:
        self._note("forget", moment.name)

    def leave(self, birth: Birth) -> None:
        self._note("leave", birth.id)


class FakeScene:
    """A generation that looks as `packets`, `files` and `processes` say; `meanwhile` is called when it has been compared."""

    def __init__(self) -> None:
        self.files: dict[str, Fingerprint] = {}
        self.counted = 0
        self.processes: frozenset[Process] = frozenset()
        self.fresh: frozenset[str] = frozenset()
        self.contested: frozenset[str] = frozenset()
        self.blind = ""
        self.meanwhile: Callable[[], None] = lambda: None

    def packets(self) -> int:
        return self.counted

    def look(self) -> Evidence:
        memory = Memory(0.0, "", b"")
        seen = (self.counted, self.processes, dict(self.files), memory)
        return Evidence(*seen, self.fresh, self.contested, self.blind)

    def settled(self, seen: Evidence) -> Evidence:
        return replace(seen, processes=self.processes)

    def stood_still(self, seen: Evidence) -> bool:
        return False

    def change(self, seen: Evidence) -> tuple[str, Evidence]:
        parts = (
            ("network traffic", self.counted != seen.packets),
            ("its processes", self.processes != seen.processes),
            ("its files", self.files != seen.files),
        )
        self.meanwhile()
        if seen.blind:
            return seen.blind, seen
        return next((name for name, differs in parts if differs), ""), seen


class FakeSandbox:
    """Counts resets; open as long as somebody uses it."""

    def __init__(self, *, beside: bool = False) -> None:
        self.resets = 0
        self.beside = beside
        self.reached = not beside
        self.users = {OWNER}

    @property
    def open(self) -> bool:
        return bool(self.users)

    def join(self, user: int) -> None:
        assert self.users
        self.users.add(user)

    def leave(self, user: int) -> None:
        self.users.discard(user)

    @property
    def is_free(self) -> bool:
        return self.users == {OWNER}

    @property
    def can_step_back(self) -> bool:
        return self.beside

    def step_back(self) -> None:
        self.reached = False

    def switch(self) -> None:
        self.reached = True

    def reset_connections(self) -> int:
        self.resets += 1
        return 0


class FakeSurroundings:
    """The agent around a container: commands answer what `answers` says, those in `endless` never do; ends are collected."""

    def __init__(self, *, ahead: bool = False, name: str = "") -> None:
        self.executor = ThreadPoolExecutor(4)
        self.generations = FakeGenerations(name)
        self.answers: dict[str, tuple[int, str]] = {}
        self.endless: set[str] = set()
        self.commands: list[str] = []
        self.ends: list[str] = []
        self.carrying = False
        self.beside: list[FakeSandbox] = []
        self.against = "" if ahead else "the test says so"
        self.against_group = ""
        self.groups: Groups | None = None
        self.memory = 1 << 40

    @property
    def room(self) -> Room:
        return Room(2, lambda: (1 << 40, self.memory))

    def open_beside(self, address: str) -> Any:
        self.beside.append(FakeSandbox(beside=True))
        return self.beside[-1]

    def company(self, container: Any, fellows: Fellows) -> str:
        return self.against_group if fellows else self.against

    def unite(self, sandboxes: Sequence[Any]) -> None:
        self.generations._note("unite", len(sandboxes))

    async def part(self, container: Any) -> None:
        if self.groups is not None:
            await self.groups.part(container.id)

    def snapshot_taken(self, container: Any) -> None:
        if self.groups is not None:
            self.groups.kept(container.id)

    async def execute(self, generation: Any, command: str | tuple[str, ...]) -> tuple[int, str]:
        self.commands.append(str(command))
        if command in self.endless:
            await asyncio.Event().wait()
        return self.answers.get(str(command), (0, ""))

    def carries(self, container: str) -> bool:
        return self.carrying

    def cut_connections(self, container: str) -> None:
        self.generations.diary.append("cut")

    def report_end(self, container: Any, reason: str, exit_code: int | None) -> None:
        self.ends.append(reason)


def birth_of(identifier: str, **wish: Any) -> Birth:
    """A container about to be born."""
    boot = BootContainer(
        container=identifier,
        session="s-" + "0" * 22,
        account="alice",
        address="10.117.0.2",
        wish=ContainerWish(image="test", **wish),
        config=CONFIG,
        layers=(),
    )
    return Birth(boot, parse_config(CONFIG), ())
