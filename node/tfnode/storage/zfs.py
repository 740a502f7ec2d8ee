"""The driver for ZFS: a tree is a dataset, a snapshot a snapshot of it, and going back is another clone.

Trees are datasets mounted as they are, not overlays: before 2.2 ZFS cannot carry an overlay's upper directory, and this way
what works does not depend on its version. An image is therefore copied, once, into a dataset that its trees are clones of.

`zfs rollback` would have to destroy every newer snapshot. So a rollback makes a new clone and gives it to the tree; the
dataset before it stays until nobody has it mounted and no snapshot is in it. Container roots ignore fsync where ZFS can be
told to (`sync=disabled`); volumes do not.

`zfs mount` decides where a dataset appears, so this driver mounts, in the calling process's mount namespace, what the others
only describe. Which dataset is where, and what is litter, is `zfs_shelf`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfnode.storage.failures import told_as
from tfnode.storage.interface import BindMount, Capabilities, Empty, Image, Kind, Parent, Usage
from tfnode.storage.inventoried import GoingBack
from tfnode.storage.inventory import CONTENT, Inventory
from tfnode.storage.metastore import Record
from tfnode.storage.occupancy import occupied
from tfnode.storage.parents import make_empty, origin_of
from tfnode.storage.zfs_images import ZfsImages
from tfnode.storage.zfs_shelf import ZfsShelf

POWERS = Capabilities(
    instant_snapshot=True,
    rollback_keeps_newer=True,
    rollback_while_mounted=True,
    quota=False,
    shares_blocks=True,
)
"""What it can do anywhere."""


class Zfs(GoingBack):
    """Datasets for `root`, a directory on ZFS. It is `Layered` as well.

    Raises:
        WrongState: another process or another driver has the root.
        StorageFailed: the directory cannot be used, or is on no ZFS.
        HostLacks: there is no `zfs` on this machine.
    """

    name = "zfs"

    def __init__(self, root: Path) -> None:
        with told_as(f"opening the storage below {root}", root):
            self._shelf = ZfsShelf(root)
            self._images = ZfsImages(root, self._shelf)
        super().__init__(Inventory(root, self.name, shelf=lambda _: self._shelf), POWERS)

    def prepare(self, key: str, parent: Parent) -> None:
        if isinstance(parent, str):
            self.clone(parent, key)
            return
        with told_as(f"preparing {key}", self._root):
            if isinstance(parent, Image) and parent.layers:
                self._prepare_image(key, parent)
            else:
                empty = parent if isinstance(parent, Empty) else Empty()
                origin = origin_of(self._store, parent)
                self._inventory.create(key, Kind.TREE, origin, lambda room: self._make_empty(room, empty))

    def mounts(self, key: str) -> BindMount:
        with told_as(f"mounting {key}", self._root):
            return BindMount(self._shelf.shown(self._store.tree(key).directory) / CONTENT)

    def snapshot(self, key: str, name: str) -> None:
        with told_as(f"snapshot {name} of {key}", self._root):
            tree = self._store.tree(key)
            self._inventory.create(
                name, Kind.SNAPSHOT, tree.origin, lambda room: self._shelf.keep(tree.directory, room.name)
            )

    @contextmanager
    def layers(self, label: str) -> Iterator[tuple[Path, ...]]:
        """See `Layered.layers`: there is one only; that of a snapshot is a clone, which is gone afterwards."""
        record = self._store.get(label)
        if record.kind is Kind.TREE:
            yield (self._shelf.shown(record.directory) / CONTENT,)
            return
        with self._store.held(label), self._shelf.looked_at(record.directory) as place:
            yield (place / CONTENT,)

    def usage(self, label: str) -> Usage:
        return self._inventory.usage(label, self._occupied)

    def sweep(self) -> int:
        return self._inventory.sweep(self._images.kept())

    def close(self) -> None:
        try:
            self._shelf.close()
        finally:
            super().close()

    def _prepare_image(self, key: str, image: Image) -> None:
        origin = origin_of(self._store, image)
        self._store.require_free(key)
        with self._images.unpacked(image.layers) as name:
            self._inventory.create(
                key, Kind.TREE, origin, lambda room: self._shelf.clone(name, room.name, durable=False)
            )

    def _make_empty(self, room: Path, empty: Empty) -> None:
        make_empty(self._shelf.create(room.name, durable=True) / CONTENT, empty)

    def _copy(self, snapshot: Record, room: Path) -> None:
        self._shelf.clone(snapshot.directory, room.name, durable=not snapshot.origin.layers)

    def _occupied(self, record: Record) -> Usage:
        """Of a snapshot by way of a clone, which is gone afterwards."""
        if record.kind is Kind.TREE:
            self._shelf.settle(record.directory)
            return occupied(self._shelf.shown(record.directory) / CONTENT)
        with self._store.held(record.label), self._shelf.looked_at(record.directory) as place:
            return occupied(place / CONTENT)
