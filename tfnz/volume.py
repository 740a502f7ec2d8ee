"""A volume: data that containers of one node can mount, with snapshots of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from tfcore.errors import BadRequest, NotFound, WrongState
from tfcore.wire import volumes as wire
from tfcore.wire.sessions import VolumeOffer
from tfnz import callbacks
from tfnz.tagged import Taggable

if TYPE_CHECKING:
    from tfnz.location import Location
    from tfnz.node import Node


class Volume(Taggable):
    """Made by `Node.create_volume`, or offered by the location; never by hand."""

    def __init__(self, location: Location, offer: VolumeOffer) -> None:
        self.location = location
        self._offer = offer
        self._gone = threading.Event()
        self.termination_callback: Callable[..., object] | None = None

    @property
    def uuid(self) -> str:  # type: ignore[override]
        """The volume's id."""
        return self._offer.id

    @property
    def tag(self) -> str:  # type: ignore[override]
        """Its tag, or ""."""
        return self._offer.tag

    @property
    def persistent(self) -> bool:
        """True if it outlives the session."""
        return self._offer.persistent

    @property
    def node(self) -> Node:
        """Where it lies: containers that mount it are spawned there.

        Raises:
            NotFound: that node is not of the location any more.
        """
        node = self.location.nodes.get(self._offer.node)
        if node is None:
            raise NotFound(f"the node of volume {self.uuid} is not of location {self.location.name} any more")
        return node

    @staticmethod
    def trees_intersect(current: Iterable[str], proposed: str) -> tuple[str, str] | None:
        """The first of the mount points `current` that lies on, above or below `proposed`, and that; None if none does
        (seed SDK, B24)."""
        wanted = PurePosixPath(proposed)
        for path in current:
            there = PurePosixPath(path)
            if wanted.is_relative_to(there) or there.is_relative_to(wanted):
                return path, proposed
        return None

    def snapshot(self, name: str = "baseline") -> str:
        """Keep the present state under `name`, replacing an older snapshot of that name; returns the name.

        Raises:
            BadRequest: not a name. WrongState: the volume is destroyed. (Both are `ValueError`s.)
        """
        self._check()
        return self.location._call(wire.SnapshotVolume(name=name), target=self.uuid, timeout=300).snapshot

    def rollback(self, name: str = "baseline") -> None:
        """Put the volume back to a snapshot, also under containers that run with it mounted.

        Raises:
            NotFound: no such snapshot.
        """
        self._check()
        self.location._call(wire.RollBackVolume(name=name), target=self.uuid, timeout=300)

    def destroy(self) -> None:
        """Remove it with all its data; containers that had it mounted must be gone.

        Raises:
            WrongState: a container has it mounted, or it is destroyed already (a `ValueError`).
        """
        self._check()
        self.location._call(wire.DestroyVolume(), target=self.uuid, timeout=300)
        self.location._offer.remove_volume(self.uuid)
        self.tell_end()

    def take_over(self, other: Volume) -> None:
        """Be `other` from now on, with its id and its data; what this one was is destroyed. For volumes of the session, as
        those that come with a container from a kept snapshot, where something else has this object in hand already.

        Raises:
            BadRequest: one of them is persistent. WrongState: a container has this one mounted, or one is destroyed.
        """
        self._check()
        other._check()
        if self.persistent or other.persistent:
            raise BadRequest(f"{self.display_name()} cannot become {other.display_name()}: one of them is persistent")
        self.location._call(wire.DestroyVolume(), target=self.uuid, timeout=300)
        self.location._offer.replace_volume(self, other)
        self._offer = other._offer

    def tell_end(self) -> None:
        """It is gone, whoever destroyed it (any thread)."""
        if not self._gone.is_set():
            self._gone.set()
            self.location._callbacks.post(callbacks.fitting(self.termination_callback, self, 0))

    def _check(self) -> None:
        if self._gone.is_set():
            raise WrongState(f"volume {self.uuid} is destroyed")

    def __repr__(self) -> str:
        return f"<Volume {self.display_name()}{' persistent' if self.persistent else ''}>"
