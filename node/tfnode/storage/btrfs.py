"""The driver for btrfs: every tree and every snapshot is a subvolume, and copying one takes the same time whatever it holds.

    data/web.1f/subvolume/fs            the tree "web": an overlay's upper directory, on the image's layers
    data/web.1f/subvolume/work.web.1f   that overlay's work directories: in the same subvolume, or no file could be renamed
    data/b.2a/subvolume/fs              the snapshot "b": the same, as it was

A rollback is a writable snapshot of the snapshot. It stands on the image's layers alone, however many came before it, so
stacks never grow. Image layers stay where the caller has them, on whatever file system.

Trees are overlays even where nothing lies below them: a bare directory would let a container's users make subvolumes inside,
which no snapshot of ours would hold, and an overlay can be told that fsync costs nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tfnode.storage import subvolumes
from tfnode.storage.failures import told_as
from tfnode.storage.interface import Capabilities, Empty, Image, Kind, OverlayMount, Parent
from tfnode.storage.inventoried import GoingBack
from tfnode.storage.inventory import CONTENT, Inventory
from tfnode.storage.metastore import Record
from tfnode.storage.parents import make_empty, origin_of
from tfnode.storage.removal import remove_tree
from tfnode.storage.shelf import Shelf
from tfnode.storage.treecopy import copy_root_attributes

SUBVOLUME = "subvolume"
WORK = "work."


POWERS = Capabilities(
    instant_snapshot=True,
    rollback_keeps_newer=True,
    rollback_while_mounted=True,
    quota=False,
    shares_blocks=True,
)
"""What it can do anywhere."""


class Btrfs(GoingBack):
    """Subvolumes below `root`, a directory on btrfs. It is `Layered` as well.

    Raises:
        WrongState: another process or another driver has the root.
        StorageFailed: the directory cannot be used.
    """

    name = "btrfs"

    def __init__(self, root: Path) -> None:
        shelf = partial(Shelf, delete=_delete)
        super().__init__(Inventory(root, self.name, shelf=shelf, content=Path(SUBVOLUME, CONTENT)), POWERS)

    def prepare(self, key: str, parent: Parent) -> None:
        if isinstance(parent, str):
            self.clone(parent, key)
            return
        with told_as(f"preparing {key}", self._root):
            origin = origin_of(self._store, parent)
            self._inventory.create(key, Kind.TREE, origin, lambda room: _make_tree(room, parent))

    def mounts(self, key: str) -> OverlayMount:
        with told_as(f"a work directory for {key}", self._root):
            tree = self._store.tree(key)
            upper = self._inventory.content(tree)
            work = _work_of(upper.parent, tree.directory) / secrets.token_hex(4)
            work.mkdir()
            lowers = tuple(reversed(tree.origin.layers)) or (self._inventory.nothing(),)
            return OverlayMount(lowers, upper, work, volatile=True)

    def snapshot(self, key: str, name: str) -> None:
        with told_as(f"snapshot {name} of {key}", self._root):
            tree = self._store.tree(key)
            source = self._subvolume(tree)
            self._inventory.create(
                name, Kind.SNAPSHOT, tree.origin, lambda room: subvolumes.snapshot(source, room / SUBVOLUME)
            )

    @contextmanager
    def layers(self, label: str) -> Iterator[tuple[Path, ...]]:
        """See `Layered.layers`."""
        record = self._store.get(label)
        yield (self._inventory.content(record), *reversed(record.origin.layers))

    def _copy(self, snapshot: Record, room: Path) -> None:
        subvolumes.snapshot(self._subvolume(snapshot), room / SUBVOLUME)

    def _subvolume(self, record: Record) -> Path:
        return self._inventory.directory(record) / SUBVOLUME


def _make_tree(room: Path, parent: Image | Empty) -> None:
    subvolume = room / SUBVOLUME
    subvolumes.create(subvolume)
    subvolume.chmod(0o711)  # as all directories on the way to a container's root (`shelf.MODE`)
    upper = subvolume / CONTENT
    match parent:
        case Image(layers) if layers:
            upper.mkdir()
            copy_root_attributes(layers[-1], upper)  # it becomes the root directory, so it looks like the one it covers
        case Image():
            make_empty(upper, Empty())
        case empty:
            make_empty(upper, empty)


def _work_of(subvolume: Path, directory: str) -> Path:
    """Where the work directories of a tree are; those of the tree that it was copied from are cleared away.

    Not in the copying, which would take a time that depends on how often the original was mounted.
    """
    own = subvolume / f"{WORK}{directory}"
    for work in subvolume.glob(f"{WORK}*"):
        if work != own:
            remove_tree(work)
    own.mkdir(exist_ok=True)
    return own


def _delete(room: Path) -> None:
    """Remove a directory of the shelf, finished or not."""
    if subvolumes.is_subvolume(room / SUBVOLUME):
        subvolumes.destroy(room / SUBVOLUME)
    remove_tree(room)
