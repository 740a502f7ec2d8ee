"""The zfs driver's place for trees and snapshots: what `shelf` is for directories, for datasets.

    tank/tf-…             one dataset per storage root, never mounted
    tank/tf-…/web.1f      the dataset of a tree, mounted on ROOT/data/web.1f, the files in its "fs"
    tank/tf-…/web.1f@b.2a a snapshot, in the dataset of the tree that it was taken of

A name that the metastore does not know is litter. A dataset is litter that has to stay for a while when it holds snapshots
that are known: it is unmounted, and holds what the newest of them holds and nothing more. A snapshot is never needed by
anything that the metastore does not know to stand on it, because trees are clones of what they grew from and never move.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from tfcore.errors import StorageFailed
from tfcore.undo import Undo
from tfnode.kernel.mounts import is_mounted
from tfnode.storage import datasets
from tfnode.storage.datasets import Contents
from tfnode.storage.shelf import MODE, PRIVATE

log = logging.getLogger(__name__)

_libc = ctypes.CDLL(None, use_errno=True)


class ZfsShelf:
    """The datasets of the storage root `root`, a directory on ZFS.

    Raises:
        StorageFailed: it is on none, or ZFS refuses.
        HostLacks: this machine has no `zfs`.
        OSError: the directories cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self._data = root / "data"
        for directory in (root, self._data):
            directory.mkdir(mode=MODE, parents=True, exist_ok=True)
        root.chmod(PRIVATE)
        self._building: set[str] = set()
        self._litter: list[str] = []
        self._emptied: set[str] = set()
        self._sweeping = threading.Lock()
        self._base = _base_of(root, self._data)
        self._fsync_can_be_free = datasets.property_of(self._base, "sync") is not None
        self._where = {name.partition("@")[2]: name for names in self._contents().snapshots.values() for name in names}

    # --- what an inventory asks for

    def finished(self, directory: str) -> Path:
        """Where a tree's dataset is mounted."""
        return self._data / directory

    def unfinished(self, directory: str) -> Path:
        """The same: nothing is moved when it is finished."""
        return self._data / directory

    @contextlib.contextmanager
    def building(self, label: str) -> Iterator[str]:
        """A fresh name, after `label`, for a dataset or a snapshot. If the block fails, it is removed."""
        directory = f"{label}.{secrets.token_hex(4)}"
        with self.spared(directory), Undo() as undo:
            undo.push(self.scrap, directory)
            yield directory
            undo.done()

    @contextlib.contextmanager
    def spared(self, directory: str) -> Iterator[None]:
        """Nothing of this name is litter inside the block."""
        self._building.add(directory)
        try:
            yield
        finally:
            self._building.discard(directory)

    def place(self, directory: str) -> None:
        """Nothing is to be done: the row of the metastore makes it known."""

    def discard(self, directory: str) -> None:
        """Nothing is to be done: without its row it is litter."""

    def collect(self, known: set[str]) -> None:
        """See what is litter; `known` are the names the metastore has, and all others that are to stay.

        Call it so that no transaction can come between the making of `known` and this.
        """
        found = self._contents()
        kept = known | self._building  # in this order: what is begun after the look has not been seen
        names = (*found.origins, *(name for held in found.snapshots.values() for name in held))
        self._litter = [name for name in names if _last_part(name) not in kept]

    def empty_trash(self) -> int:
        """Destroy the litter; returns how many datasets and snapshots went. What is in use stays for next time."""
        with self._sweeping:
            litter = set(self._litter)
            left, stuck = set(litter), set[str]()
            while left and (going := next_to_go(self._contents(), left - stuck)):
                stuck |= {name for name in going if not self._destroyed(name)}
                left -= going - stuck
            if left:
                self._empty_husks(left)
            return len(litter - left)

    # --- what the driver makes of it

    def create(self, directory: str, *, durable: bool) -> Path:
        """A new dataset, empty and mounted; returns where."""
        datasets.create(f"{self._base}/{directory}", self._options(durable=durable))
        place = self.shown(directory)
        place.chmod(MODE)
        return place

    def clone(self, name: str, directory: str, *, durable: bool) -> Path:
        """A new dataset with the content of the snapshot `name`, mounted; returns where.

        Args:
            durable: fsync means what it says; otherwise it costs nothing, where this ZFS can be told so.
        """
        datasets.clone(self._where[name], f"{self._base}/{directory}", self._options(durable=durable))
        return self.shown(directory)

    def keep(self, directory: str, name: str) -> None:
        """Keep what the dataset holds as the snapshot `name`, what was written to a mapped file a moment ago included."""
        _flush(self.shown(directory))
        whole = f"{self._base}/{directory}@{name}"
        datasets.snapshot(whole)
        self._where[name] = whole

    def settle(self, directory: str) -> None:
        """Have a dataset's files counted: ZFS knows what they occupy when it has written them, as it does for a snapshot."""
        passing = f"{self._base}/{directory}@_settled.{secrets.token_hex(4)}"
        with self.spared(_last_part(passing)):
            datasets.snapshot(passing)
            datasets.destroy(passing)

    def has(self, name: str) -> bool:
        """True if there is a snapshot of this name."""
        return name in self._where

    def shown(self, directory: str) -> Path:
        """Where a dataset is mounted; it is mounted if it is not, as after a restart."""
        place = self._data / directory
        if not is_mounted(place):
            datasets.mount(f"{self._base}/{directory}")
        return place

    def hide(self, directory: str) -> None:
        """Unmount a dataset, if nobody works in it."""
        place = self._data / directory
        if is_mounted(place):
            datasets.unmount(f"{self._base}/{directory}")
        with contextlib.suppress(OSError):
            place.rmdir()

    def scrap(self, directory: str) -> None:
        """Remove the dataset or snapshot of this name, whose making failed; nothing happens if there is none."""
        found = self._contents()
        names = (
            *(name for held in found.snapshots.values() for name in held),
            *found.origins,
        )  # in the order they can go
        for name in names:
            if _last_part(name) == directory:
                self._destroy(name)

    @contextlib.contextmanager
    def looked_at(self, name: str) -> Iterator[Path]:
        """Where the content of the snapshot `name` can be seen, for the length of the block."""
        with self.building("_look") as directory:
            try:
                yield self.clone(name, directory, durable=True)
            finally:
                self.scrap(directory)

    def close(self) -> None:
        """Unmount everything. What is in use stays mounted."""
        for name in self._contents().origins:
            with contextlib.suppress(StorageFailed):
                self.hide(_last_part(name))

    # --- inside

    def _contents(self) -> Contents:
        return datasets.contents(self._base)

    def _options(self, *, durable: bool) -> Mapping[str, str]:
        free = {} if durable or not self._fsync_can_be_free else {"sync": "disabled"}
        return {"canmount": "noauto", **free}  # nobody but us is to mount it, at boot least of all

    def _destroyed(self, name: str) -> bool:
        try:
            self._destroy(name)
        except StorageFailed as refused:
            log.info("%s stays until the next sweep: %s", name, refused)
            return False
        return True

    def _destroy(self, name: str) -> None:
        datasets.destroy(name)
        dataset, _, snapshot = name.partition("@")
        if snapshot:
            self._where.pop(snapshot, None)
        else:
            self._emptied.discard(name)
            with contextlib.suppress(FileNotFoundError):
                (self._data / _last_part(dataset)).rmdir()

    def _empty_husks(self, litter: set[str]) -> None:
        """Datasets that stay only for their snapshots, each once; after a restart nobody knows which have been emptied."""
        for dataset, held in self._contents().snapshots.items():
            if dataset in litter - self._emptied:
                with contextlib.suppress(StorageFailed):
                    self.hide(_last_part(dataset))
                    datasets.back_to_newest(held[-1])
                    self._emptied.add(dataset)


def next_to_go(found: Contents, litter: set[str]) -> set[str]:
    """What of the litter can be destroyed now: datasets without snapshots, snapshots without clones."""
    empty = {name for name in found.origins if name in litter and not found.snapshots.get(name)}
    unused = {
        name for held in found.snapshots.values() for name in held if name in litter and not found.clones_of(name)
    }
    return empty | unused


def _base_of(root: Path, data: Path) -> str:
    """The dataset of a storage root, made if it is not there. It moves with the dataset that the root is in."""
    above = datasets.containing(root)
    point = Path(datasets.property_of(above, "mountpoint") or "/")
    inside = root.resolve().relative_to(point) if root.resolve().is_relative_to(point) else root
    base = f"{above}/tf-{hashlib.sha256(os.fsencode(inside)).hexdigest()[:12]}"
    present = datasets.property_of(base, "mountpoint")
    if present is None:
        real = datasets.property_of(above, "sync") is not None  # not the one in user space, which lacks much
        extras = {"xattr": "sa", "acltype": "posixacl", "atime": "off"} if real else {}
        datasets.create(base, {"canmount": "off", "mountpoint": str(data), **extras})
    elif present != str(data):
        datasets.set_property(base, "mountpoint", str(data))
    return base


def _last_part(name: str) -> str:
    """Of "tank/tf/web.1f" it is "web.1f", of "tank/tf/web.1f@b.2a" it is "b.2a"."""
    return name.rpartition("@")[2].rpartition("/")[2]


def _flush(directory: Path) -> None:
    """Pages of mapped files reach the file system only when they are written back, and a snapshot has what reached it."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(directory))
    finally:
        os.close(fd)
