"""What a container is made of and what can be done with one generation of it: the seam between the container's story
(`container.py`) and the machine's tools (`generations.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tfcore.errors import NotFound
from tfcore.images.description import ImageConfig
from tfcore.wire.differences import CompareContainer, Compared, Left, LookFor
from tfcore.wire.nodes import BootContainer
from tfnode.cgroups.group import Group
from tfnode.containers.evidence import Evidence, Scene
from tfnode.containers.sandbox import Sandbox

FRESH = "fresh"
"""The snapshot every container has: its image with the pre-boot files, or the kept snapshot it was spawned from, before the
first process."""


@dataclass(frozen=True)
class Moment:
    """A snapshot of a container.

    Attributes:
        root: the storage's label of its root file system.
        volumes: the storage's labels of its session volumes, by volume.
        asleep: its main process had not been started, and is not when the container boots from it.
    """

    name: str
    root: str
    volumes: dict[str, str] = field(default_factory=dict)
    asleep: bool = False


@dataclass
class Generation:
    """One life of a container's processes, from the moment it grew from.

    Attributes:
        number: counts from 1.
        moment: the snapshot's name it grew from.
        tree: the storage's key of its root file system.
        root: where that is mounted in the agent's mount namespace.
        runtime_id: what the runtime knows it by.
        pid: of its first process.
        group: its control group.
        sandbox: what it has joined.
        stop_signal: what asks its main process to end.
        volume_trees: trees grown for it, by volume; the volumes adopt them when it takes over.
        volumes_seen: the trees it has of its other volumes, as those were when it was made.
        notes: a sentence for each limit this machine cannot enforce.
        ahead: it was booted beside another generation, is ready, and stands still until it is swapped in.
        evidence: how it looked when it had been booted ahead and stood still.
        started: its main process has been started.
        turn: held by whoever starts something in it, holds it still, or ends it.
    """

    number: int
    moment: str
    tree: str
    root: Path
    runtime_id: str
    pid: int
    group: Group
    sandbox: Sandbox
    stop_signal: int = 15
    volume_trees: dict[str, str] = field(default_factory=dict)
    volumes_seen: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    ahead: bool = False
    evidence: Evidence | None = field(default=None, repr=False, compare=False)
    started: bool = False
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def memory(self) -> int:
        """Bytes that it uses; for a worker thread."""
        return self.group.usage().memory or 0


@dataclass(frozen=True)
class Birth:
    """What every generation of one container has in common.

    Attributes:
        session_volumes: the mounted volumes that roll back with it; persistent ones do so only when asked by name.
        grown_from: the storage's label of the kept snapshot it begins with, instead of its image.
    """

    boot: BootContainer
    image: ImageConfig
    layers: tuple[Path, ...]
    session_volumes: tuple[str, ...] = ()
    grown_from: str = ""

    @property
    def id(self) -> str:
        """The container's id."""
        return self.boot.container


def moment_of(birth: Birth, name: str, *, asleep: bool) -> Moment:
    """What a snapshot of this container by that name is called in the storage. `FRESH` comes before any volume's content,
    unless it is that of a kept snapshot."""
    volumes = () if name == FRESH and not birth.boot.kept else birth.session_volumes
    return Moment(
        name,
        f"{birth.id}.{'z' if asleep else 's'}.{name}",
        {volume: f"{volume}.c.{birth.id[2:]}.{name}" for volume in volumes},
        asleep,
    )


def moment_named(name: str, moments: Mapping[str, Moment], container: str) -> Moment:
    """One of a container's snapshots; NotFound if there is none of that name."""
    try:
        return moments[name]
    except KeyError as missing:
        names = ", ".join(moments) or "none"
        raise NotFound(f"container {container} has no snapshot {name!r} (it has: {names})") from missing


Swap = tuple[Generation | None, Generation]
"""The generation that is the container, if there is one, and the one that was booted beside it."""


class Generations(Protocol):
    """Makes, starts, stops and buries generations. Synchronous: for worker threads."""

    def make_fresh(self, birth: Birth, moment: Moment) -> None:
        """Grow the image's tree, or the kept snapshot's, write the pre-boot files into it and keep that as a moment."""

    def make(self, birth: Birth, number: int, moment: Moment, sandbox: Sandbox) -> Generation:
        """A generation that only needs to be started; nothing remains if that fails."""

    def renew(self, birth: Birth, dead: Generation, number: int) -> Generation:
        """The files of a dead generation with new processes, that only need to be started."""

    def start(self, generation: Generation) -> None:
        """Start its main process."""

    def kill(self, generation: Generation) -> None:
        """End all its processes; they are gone when this returns."""

    def cut_off(self, generation: Generation) -> None:
        """End all its processes and reset every connection of its sandbox: none is closed as if all had been said."""

    def hold(self, generation: Generation) -> None:
        """Stop all its processes where they are, until it is swapped in."""

    def swap(self, pairs: Sequence[Swap]) -> None:
        """Let each new one, which was booted beside the old one and stands still, serve in its place; the old ones never run
        again then, their connections have been reset, and only their burial is left. If that fails, all old ones go on."""

    def stop(self, generation: Generation, timeout: float) -> None:
        """Ask its main process to end, as the image says, and kill what is left after `timeout` seconds."""

    def take_over(self, birth: Birth, generation: Generation) -> list[str]:
        """Its volumes show its trees from now on, to other containers too, and it shows what its other volumes show by now;
        returns the former trees, for `discard`."""

    def crowded(self, generation: Generation) -> bool:
        """True if the disk it is on is nearly full."""

    def discard(self, trees: list[str]) -> None:
        """Let volumes' former trees go."""

    def bury(self, birth: Birth, generation: Generation) -> None:
        """Remove what a dead generation leaves: runtime's record, group, mount, trees."""

    def keep(self, *kept: tuple[Generation, Moment]) -> None:
        """Take snapshots of living generations and their session volumes, all frozen, at one instant; of all or of none."""

    def seal(self, birth: Birth, generation: Generation, moment: Moment) -> None:
        """Take a snapshot of a dead generation, which is buried with that."""

    def scene(self, birth: Birth, generation: Generation) -> Scene:
        """Where a living generation leaves traces."""

    def compare(
        self, birth: Birth, generation: Generation, moment: Moment, seen: Evidence | None, wanted: CompareContainer
    ) -> Compared:
        """What differs from a moment, as far as it can be told.

        Args:
            seen: how the generation looked then.
        """

    def compare_moments(self, birth: Birth, before: Moment, after: Moment, wanted: CompareContainer) -> Compared:
        """What differs between two moments."""

    def left(
        self, birth: Birth, generation: Generation, moment: Moment, seen: Evidence | None, look_for: LookFor
    ) -> Left:
        """What was left in a generation since a moment.

        Raises:
            OSError, Exhausted: something cannot be read.
        """

    def remove_moment(self, moment: Moment) -> None:
        """Remove a snapshot; WrongState if something grew from it, and then it stays as it is."""

    def forget(self, moment: Moment) -> None:
        """Remove a snapshot, at the end of its container; what others have grown from it goes on."""

    def leave(self, birth: Birth) -> None:
        """The container is gone: its volumes have one user less, its group goes."""
