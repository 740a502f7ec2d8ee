"""A location in memory, as far as the plugin knows one: its containers are dicts of files, and all that is asked of them is
written down.

    world = World()
    world.connect("somewhere", None)          # in place of `pytest_tf.session.connect`
    world.happened                            # ["spawn db", "ready db", "snapshot db s1", "rollback db s1", "destroy db"]
    world.fail("rollback db", ContainerDied("…"))   # the next time only

What it promises is what the real suites show of the real thing; it has no network, no processes and no time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal

from tfcore.errors import NotFound, TfError, WrongState
from tfcore.wire.containers import ContainerStatus, RolledBack
from tfcore.wire.differences import Left, LookFor
from tfnz.difference import Connection, Difference, FileChange, ProcessChange

GIB = 1 << 30


class World:
    """All locations of a test, and what happened there, in order."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.locations: list[FakeLocation] = []
        self.refuses: TfError | None = None
        self.notes: tuple[str, ...] = ()
        self.volumes: dict[str, FakeVolume] = {}
        self.kept: dict[str, FakeKept] = {}
        self._failures: dict[str, TfError] = {}
        self._meetings: dict[str, threading.Barrier] = {}
        self._lock = threading.Lock()

    def connect(self, name: str, address: str | None) -> FakeLocation:
        """See `pytest_tf.session.connect`."""
        self.happens(f"connect {name}{f' at {address}' if address else ''}")
        if self.refuses is not None:
            raise self.refuses
        self.locations.append(FakeLocation(self, name))
        return self.locations[-1]

    def happens(self, what: str) -> None:
        """Write it down, or raise what was ordered for it."""
        with self._lock:
            self.happened.append(what)
            failure = next(
                (self._failures.pop(begin) for begin in list(self._failures) if what.startswith(begin)), None
            )
        for begin, barrier in self._meetings.items():
            if what.startswith(begin):
                barrier.wait(timeout=10)
        if failure is not None:
            raise failure

    def fail(self, begin: str, error: TfError) -> None:
        """What begins like this fails the next time."""
        self._failures[begin] = error

    def meet(self, begin: str, parties: int) -> None:
        """What begins like this goes on only when as many have come that far, at the same time."""
        self._meetings[begin] = threading.Barrier(parties)

    def that(self, *verbs: str) -> list[str]:
        """What happened, of these kinds."""
        return [what for what in self.happened if what.split()[0] in verbs]


class FakeLocation:
    """See `tfnz.Location`."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.containers: dict[str, FakeContainer] = {}
        self.nodes = {"n1": FakeNode(self)}

    def node(self) -> FakeNode:
        return self.nodes["n1"]

    def volume(self, key: str) -> FakeVolume:
        if key not in self.world.volumes:
            raise NotFound(f"there is no volume {key!r}")
        return self.world.volumes[key]

    def image_identity(self, image: str) -> str:
        return f"sha256:{image}"

    def kept(self) -> list[FakeKept]:
        return list(self.world.kept.values())

    def kept_snapshot(self, key: str) -> FakeKept:
        if key not in self.world.kept:
            raise NotFound(f"there is no kept snapshot {key!r}")
        return self.world.kept[key]

    def resume(self, kept: FakeKept) -> FakeContainer:
        container = FakeContainer(self.node(), kept.image, {"hostname": kept.host, "pre_boot_files": kept.files})
        container.volumes = {path: FakeVolume(self.node(), "", False) for path in kept.volumes}
        return container

    def snapshot(self, containers: Sequence[FakeContainer], name: str = "") -> str:
        name = name or f"s{max(one.count for one in containers) + 1}"
        self.world.happens(f"snapshot {'+'.join(one.name for one in containers)} {name}")
        for one in containers:
            one.count += 1
            one.kept[name] = dict(one.files)
        return name

    def rollback(
        self,
        containers: Sequence[FakeContainer],
        snapshots: dict[FakeContainer, str],
        *,
        look_for: LookFor = "nothing",
    ) -> dict[FakeContainer, RolledBack]:
        names = " ".join(dict.fromkeys(snapshots[one] for one in containers))
        self.world.happens(f"rollback {'+'.join(one.name for one in containers)} {names}")
        clean = {one: one.is_clean(snapshots[one]) for one in containers}
        done = {}
        for one in containers:
            one.looked_for.append(look_for)
            left, one.running = Left(processes=tuple(one.running if look_for != "nothing" else ())), []
            done[one] = one.back(snapshots[one], clean[one], all(clean.values()), left)
        return done

    def disconnect(self) -> None:
        self.world.happens("disconnect")
        self.containers.clear()


@dataclass
class FakeNode:
    """See `tfnz.Node`."""

    location: FakeLocation
    alive: bool = True
    pk: str = "n1"
    stats: Any = field(default_factory=lambda: SimpleNamespace(memory=20 * GIB))

    def spawn_container(self, image: str, **wishes: Any) -> FakeContainer:
        return FakeContainer(self, image, wishes)

    def create_volume(self, *, tag: str | None = None, persistent: bool = False) -> FakeVolume:
        self.location.world.happens(f"volume {tag or ''}".strip())
        volume = FakeVolume(self, tag or "", persistent)
        if tag:
            self.location.world.volumes[tag] = volume
        return volume


@dataclass(frozen=True)
class FakeKept:
    """See `tfnz.Kept`."""

    world: World
    name: str
    image: str
    files: dict[str, bytes]
    labels: dict[str, str]
    host: str
    node: FakeNode
    volumes: tuple[str, ...]

    @property
    def created(self) -> float:
        return float(list(self.world.kept).index(self.name))

    def forget(self) -> None:
        self.world.happens(f"forget {self.host}")
        del self.world.kept[self.name]


@dataclass(eq=False)
class FakeVolume:
    """See `tfnz.Volume`."""

    node: FakeNode
    tag: str
    persistent: bool
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def uuid(self) -> str:
        return f"v-{id(self)}"

    def display_name(self) -> str:
        return f"v-1:{self.tag}"

    def take_over(self, other: FakeVolume) -> None:
        assert not self.persistent
        self.node.location.world.happens("take over volume")
        self.files = other.files

    def destroy(self) -> None:
        self.node.location.world.happens("destroy volume")


class FakeContainer:
    """See `tfnz.Container`. Its name is its host name; `files` are all it has, `log` what it has said, and `running`
    what a test has started in it."""

    def __init__(self, node: FakeNode, image: str, wishes: dict[str, Any]) -> None:
        self.world = node.location.world
        self.location = node.location
        self.node = node
        self.image = image
        self.wishes = wishes
        self.startup_notes: tuple[str, ...] = self.world.notes
        self.volumes: dict[str, FakeVolume] = wishes.get("volumes", {})
        self.name = wishes.get("hostname") or f"own-{len(self.location.containers) + 1}"
        self.world.happens(f"spawn {self.name}")
        self.uuid = f"c-{id(self)}"
        self.ip = f"10.0.0.{len(self.location.containers) + 1}"
        self.files: dict[str, bytes] = {
            path: content.encode() if isinstance(content, str) else content
            for path, content in wishes.get("pre_boot_files", {}).items()
        }
        self.partners: set[FakeContainer] = set()
        self.log: list[str] = []
        self.end: TfError | None = None
        self.tells_clean = False
        self.state = "ready"
        self.generation = 1
        self.count = 0
        self.kept: dict[str, dict[str, bytes]] = {}
        self.running: list[str] = []
        self.connections: tuple[Connection, ...] = ()
        self.looked_for: list[str] = []
        self.location.containers[self.uuid] = self

    def wait_until_ready(self, timeout: float = 60.0) -> FakeContainer:
        self.world.happens(f"ready {self.name}")
        if self.end is not None:
            raise self.end
        return self

    def put(self, path: str, data: str) -> None:
        self.files[path] = data.encode()

    def fetch(self, path: str) -> bytes:
        if path not in self.files:
            raise NotFound(f"there is no file {path}")
        return self.files[path]

    def die(self) -> None:
        """Its main process ends."""
        self.end = WrongState("it ended")
        self.state = "ended"

    def snapshot(self, name: str = "") -> str:
        self.count += 1
        name = name or f"s{self.count}"
        self.world.happens(f"snapshot {self.name} {name}")
        self.kept[name] = dict(self.files)
        return name

    def keep(
        self,
        name: str = "",
        *,
        labels: dict[str, str],
        evictable: bool,
        seconds: float | None = None,
        replace: bool = False,
        timeout: float = 300.0,
    ) -> FakeKept:
        self.world.happens(f"keep {self.name} {name[:9]}".strip())
        assert evictable
        assert bool(name) == replace == (seconds is None)
        key = name or f"x-{len(self.world.kept)}"
        kept = FakeKept(
            self.world, key, self.image, dict(self.files), labels, self.name, self.location.node(), tuple(self.volumes)
        )
        self.world.kept[key] = kept
        return kept

    def drop_snapshot(self, name: str) -> None:
        self.world.happens(f"drop {self.name} {name}")
        if name not in self.kept:
            raise NotFound(f"there is no snapshot {name}")
        del self.kept[name]

    def _boot(self, snapshot: str, says: str) -> int:
        mark = len(self.log)
        self.files = dict(self.kept[snapshot])
        self.generation += 1
        self.log.append(f"{says}\n")
        self.end, self.state = None, "ready"
        return mark

    def diff(self, snapshot: str = "", *, to: str = "", most: int = 100, timeout: float = 15.0) -> Difference:
        self.world.happens(f"diff {self.name} {snapshot} {to}".strip())
        assert 0 < timeout <= 3 or to, "nobody waits longer for it"
        then, now = self.kept[snapshot], self.kept[to] if to else self.files
        kinds = {path: "changed" if path in then.keys() & now else "added" if path in now else "removed"
                 for path in sorted(then.keys() | now) if then.get(path) != now.get(path)}  # fmt: skip
        sizes = [{path: len(content) for path, content in files.items()} for files in (then, now)]
        files = tuple(FileChange(path, kind, *(size.get(path) for size in sizes)) for path, kind in kinds.items())
        new = tuple(ProcessChange("new", 7, command) for command in self.running)
        amount = sum(change.after or 0 for change in files)
        return Difference(snapshot, files[:most], new, self.connections, len(files[most:]), bytes=amount)

    def rollback(self, snapshot: str = "", *, look_for: LookFor = "nothing") -> RolledBack:
        self.world.happens(f"rollback {self.name} {snapshot}")
        self.looked_for.append(look_for)
        left, self.running = Left(processes=tuple(self.running if look_for != "nothing" else ())), []
        clean = self.is_clean(snapshot)
        return self.back(snapshot, clean, clean, left)

    def is_clean(self, snapshot: str) -> bool:
        return self.tells_clean and self.files == self.kept[snapshot]

    def back(self, snapshot: str, clean: bool, stays: bool, left: Left) -> RolledBack:
        mark = self._boot(snapshot, "booted")
        tier: Literal["clean", "created"] = "clean" if stays else "created"
        along = clean and not stays
        return RolledBack(
            generation=self.generation, seconds=0.01, tier=tier, log_mark=mark, went_along=along, left=left
        )

    def rebuild(self, snapshot: str = "") -> None:
        self.world.happens(f"rebuild {self.name} {snapshot}")
        self._boot(snapshot, "booted again")

    def logs(self, since: int = 0) -> Sequence[dict[str, Any]]:
        return [{"log": text, "stream": "stdout", "time": 0.0} for text in self.log[since:]]

    def log_mark(self) -> int:
        return len(self.log)

    def status(self) -> ContainerStatus:
        return ContainerStatus(state=self.state, generation=self.generation, processes=3)

    def all_tunnels(self) -> list[Any]:
        return []

    def allow_connection_from(self, other: FakeContainer) -> None:
        self.world.happens(f"allow {other.name} {self.name}")
        self.partners.add(other)
        other.partners.add(self)

    def destroy(self) -> None:
        self.world.happens(f"destroy {self.name}")
        self.location.containers.pop(self.uuid)


Connect = Callable[[str, str | None], FakeLocation]
