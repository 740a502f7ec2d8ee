"""The kept snapshots on this node's disk. All there is to know of them is in their storage labels:

    x-<id>.s              the root file system; `z` instead of `s` if its main process had not been started
    x-<id>.v.<volume>     what a session volume had at the same instant

The root is kept last, so a snapshot without one is a leftover of a crash. Whose they are and how long they last is the
location's affair. Synchronous, for worker threads.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tfcore.errors import NotFound
from tfcore.undo import Undo
from tfnode.containers.life import Moment
from tfnode.images.layers import LayerStore
from tfnode.storage.interface import Info, Kind, Storage
from tfnode.storage.sealing import copy_snapshot

log = logging.getLogger(__name__)

_ROOT = re.compile(r"\A(?P<kept>x-\w{22})\.(?P<how>[sz])\Z")
_VOLUME = re.compile(r"\A(?P<kept>x-\w{22})\.v\.(?P<volume>\w{22})\Z")
_OURS = re.compile(r"\Ax-\w{22}\.")


def moment_kept(identifier: str, volumes: Iterable[str], *, asleep: bool) -> Moment:
    """What a kept snapshot with these volumes is called in the storage."""
    labels = {volume: f"{identifier}.v.{volume[2:]}" for volume in volumes}
    return Moment(identifier, f"{identifier}.{'z' if asleep else 's'}", labels, asleep)


def kept_on_disk(infos: Iterable[Info]) -> dict[str, Moment]:
    """The kept snapshots that are whole, by id, oldest first."""
    roots: dict[str, bool] = {}
    volumes: dict[str, list[str]] = {}
    for info in infos:
        if root := _ROOT.match(info.label):
            roots[root["kept"]] = root["how"] == "z"
        elif volume := _VOLUME.match(info.label):
            volumes.setdefault(volume["kept"], []).append(f"v-{volume['volume']}")
    return {
        identifier: moment_kept(identifier, volumes.get(identifier, ()), asleep=asleep)
        for identifier, asleep in roots.items()
    }


class KeptStore:
    """All of them. Opening it removes what a crash has left half done, and pins the image layers the others stand on."""

    def __init__(self, storage: Storage, layers: LayerStore) -> None:
        self._storage = storage
        self._layers = layers
        self._lock = threading.Lock()
        self._pins: dict[str, Sequence[str]] = {}
        infos = list(storage.walk())
        self._moments = kept_on_disk(infos)
        self._remove_leftovers(infos)
        for identifier in self._moments:
            self._pin(identifier)

    def _remove_leftovers(self, infos: list[Info]) -> None:
        whole = {label for moment in self._moments.values() for label in (moment.root, *moment.volumes.values())}
        doomed = [info for info in infos if _OURS.match(info.label) and info.label not in whole]
        for info in sorted(doomed, key=lambda info: (info.kind is Kind.SNAPSHOT, -info.created)):
            log.info("%s was left half kept by a crash; it is removed", info.label)
            if info.kind is Kind.TREE:
                self._storage.remove(info.label)
            else:
                self._storage.retire(info.label)
        self._storage.sweep()

    def ids(self) -> tuple[str, ...]:
        """Which there are."""
        with self._lock:
            return tuple(self._moments)

    def find(self, identifier: str) -> Moment | None:
        """The one with this id."""
        with self._lock:
            return self._moments.get(identifier)

    def get(self, identifier: str) -> Moment:
        """The one with this id; NotFound if there is none."""
        moment = self.find(identifier)
        if moment is None:
            raise NotFound(f"there is no kept snapshot {identifier} on this node")
        return moment

    def copy(self, source: Moment, kept: Moment) -> None:
        """Keep one of a container's snapshots: `kept` has a root and, of the volumes, those that `source` has.

        Raises:
            TfError: nothing of it is left.
        """
        with Undo() as undo:
            for volume, label in kept.volumes.items():
                copy_snapshot(self._storage, source.volumes[volume], label)
                undo.push(self._storage.retire, label)
            copy_snapshot(self._storage, source.root, kept.root)
            undo.done()

    def add(self, kept: Moment) -> int:
        """It is on the disk: take note of it; returns the bytes that keeping it costs."""
        if self.find(kept.name) is None:
            with self._lock:
                self._moments[kept.name] = kept
            self._pin(kept.name)
        return sum(self._bytes(label) for label in (kept.root, *kept.volumes.values()))

    def _bytes(self, label: str) -> int:
        """Of a snapshot, and of those it keeps from going, if it does not hold their content as well."""
        size = 0
        wanted: str | None = label
        while wanted is not None:
            size += self._storage.usage(wanted).bytes
            wanted = self._storage.stat(wanted).parent if self._storage.capabilities.stacks else None
        return size

    def drop(self, identifier: str) -> None:
        """Remove one; what has grown from it goes on. An unknown one is no error."""
        with self._lock:
            moment = self._moments.pop(identifier, None)
            pinned = self._pins.pop(identifier, ())
        if moment is None:
            return
        for label in (moment.root, *moment.volumes.values()):
            with suppress(NotFound):
                self._storage.retire(label)
        for diff_id in pinned:
            self._layers.unpin(diff_id)

    def _pin(self, identifier: str) -> None:
        layers = [_diff_id(path) for path in self._storage.stat(self._moments[identifier].root).layers]
        for diff_id in layers:
            self._layers.pin(diff_id)
        with self._lock:
            self._pins[identifier] = layers


def _diff_id(layer: Path) -> str:
    """Of a layer by where it is unpacked (`images.shelf`)."""
    return f"sha256:{layer.parent.name}"
