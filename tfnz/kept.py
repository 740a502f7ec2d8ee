"""Kept snapshots: the disk and the session volumes of a container, kept beyond its life and its session's for the account.

kept = container.keep("seeded", seconds=86400)
...                                            # any session of the account, on any machine, as long as it is kept
container = location.resume("seeded").wait_until_ready()
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfcore.errors import BadRequest, NotFound
from tfcore.wire import kept as wire
from tfcore.wire.containers import ContainerWish, Limits, Probe, SpawnContainer

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.location import Location
    from tfnz.node import Node


class Kept:
    """Made by `Container.keep`, or listed by the location; never by hand."""

    def __init__(self, location: Location, snapshot: wire.KeptSnapshot) -> None:
        self.location = location
        self._snapshot = snapshot

    @property
    def id(self) -> str:
        """Its id."""
        return self._snapshot.id

    @property
    def name(self) -> str:
        """Its name, unique for the account, or ""."""
        return self._snapshot.name

    @property
    def created(self) -> float:
        """When it was kept, in seconds since the epoch."""
        return self._snapshot.created

    @property
    def expires(self) -> float | None:
        """When it goes by itself, in seconds since the epoch; None: never."""
        return self._snapshot.expires

    @property
    def size(self) -> int:
        """The bytes it holds on its node's disk by itself, its image not counted."""
        return self._snapshot.size

    @property
    def image(self) -> str:
        """The name of the image its container was spawned from."""
        return self._snapshot.image

    @property
    def labels(self) -> dict[str, str]:
        """What it was labelled with."""
        return dict(self._snapshot.labels)

    @property
    def evictable(self) -> bool:
        """True if it may go when the account keeps more than the location allows."""
        return self._snapshot.evictable

    @property
    def node(self) -> Node:
        """Where it lies: containers are spawned from it there.

        Raises:
            NotFound: that node is not of the location any more.
        """
        node = self.location.nodes.get(self._snapshot.node)
        if node is None:
            raise NotFound(f"the node of kept snapshot {self.id} is not of location {self.location.name} any more")
        return node

    def forget(self) -> None:
        """Let it go; containers that were spawned from it live on.

        Raises:
            NotFound: it is gone already (a `ValueError`).
        """
        self.location._call(wire.ForgetKept(kept=self.id), timeout=300)

    def __repr__(self) -> str:
        return f"<Kept {self.name or self.id} {self.image} {self.size} bytes>"


def keep(
    container: Container,
    name: str,
    *,
    snapshot: str,
    seconds: float | None,
    labels: Mapping[str, str] | None,
    evictable: bool,
    replace: bool,
    timeout: float,
) -> Kept:
    """See `Container.keep`."""
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0):
        raise BadRequest(f"seconds={seconds!r} is no time to keep something for", hint="None keeps it for ever")
    request = wire.KeepSnapshot(
        name=name,
        snapshot=snapshot,
        seconds=None if seconds is None else float(seconds),
        labels=_labels(labels),
        evictable=bool(evictable),
        replace=bool(replace),
    )
    return Kept(container.location, container._ask(request, timeout=timeout).kept)


def _labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    given = dict(labels or {})
    for label, value in given.items():
        if not isinstance(label, str) or not isinstance(value, str):
            raise BadRequest(f"labels are text: {label!r}: {value!r} is not")
    return given


def all_of(location: Location) -> list[Kept]:
    """See `Location.kept`."""
    return [Kept(location, snapshot) for snapshot in location._call(wire.ListKept()).kept]


def find(location: Location, key: str) -> Kept:
    """See `Location.kept_snapshot`."""
    present = all_of(location)
    for kept in present:
        if key in (kept.id, kept.name) and key:
            return kept
    names = ", ".join(kept.name or kept.id for kept in present) or "none"
    raise NotFound(f"there is no kept snapshot {key!r} at {location.name} (there is: {names})", details={"kept": key})


def spawn_request(
    node: Node,
    kept: Kept,
    *,
    ready: Probe,
    limits: Limits,
    before_snapshot: str,
    after_boot: str,
    always_roll_back: bool,
    tag: str,
    refused: Mapping[str, Any],
) -> SpawnContainer:
    """What to ask for a container from a kept snapshot.

    Args:
        refused: arguments that make no sense for one, by name.

    Raises:
        BadRequest: one of those was given.
    """
    given = [name for name, value in refused.items() if value]
    if given:
        raise BadRequest(
            f"a container from a kept snapshot is as it was kept: {', '.join(given)} cannot be given",
            hint="ready, memory, cpus, pids, before_snapshot, after_boot, always_roll_back and tag can",
        )
    wish = ContainerWish(
        image=kept.image,
        limits=limits,
        ready=ready,
        before_snapshot=before_snapshot,
        after_boot=after_boot,
        always_roll_back=always_roll_back,
    )
    return SpawnContainer(node=node.pk, wish=wish, tag=tag, kept=kept.id)
