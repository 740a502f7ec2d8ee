"""The driver that copies: every tree and every snapshot is a plain directory of its own.

It needs no root and nothing special of the file system, and defines what the other drivers have to do. Slow and big, unless
the file system shares blocks. Without root it keeps only what an ordinary user may make: own files, no device nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tfnode.storage.failures import told_as
from tfnode.storage.interface import BindMount, Capabilities, Empty, Image, Kind, Parent
from tfnode.storage.inventoried import GoingBack
from tfnode.storage.inventory import CONTENT, Inventory
from tfnode.storage.metastore import Record
from tfnode.storage.parents import make_empty, origin_of
from tfnode.storage.treecopy import Whiteouts, copy_tree, merge_layers

POWERS = Capabilities(
    instant_snapshot=False,
    rollback_keeps_newer=True,
    rollback_while_mounted=True,
    quota=False,
    shares_blocks=False,
)
"""What it can do anywhere; blocks are shared where the file system can."""


class Directory(GoingBack):
    """Plain copies below `root`. It is `Tracing` and `Layered` as well.

    Raises:
        WrongState: another process or another driver has the root.
        StorageFailed: the directory cannot be used.
    """

    name = "directory"

    def __init__(self, root: Path) -> None:
        inventory = Inventory(root, self.name)
        super().__init__(inventory, replace(POWERS, shares_blocks=inventory.shares_blocks))

    def prepare(self, key: str, parent: Parent) -> None:
        if isinstance(parent, str):
            self.clone(parent, key)
            return
        with told_as(f"preparing {key}", self._root):
            origin = origin_of(self._store, parent)
            self._inventory.create(key, Kind.TREE, origin, lambda room: _fill(room / CONTENT, parent))

    def mounts(self, key: str) -> BindMount:
        return BindMount(self._inventory.content(self._store.tree(key)))

    def written(self, key: str) -> Path:
        """See `Tracing.written`: it is the whole tree."""
        return self._inventory.content(self._store.tree(key))

    @contextmanager
    def layers(self, label: str) -> Iterator[tuple[Path, ...]]:
        """See `Layered.layers`: there is one only."""
        yield (self._inventory.content(self._store.get(label)),)

    def snapshot(self, key: str, name: str) -> None:
        with told_as(f"snapshot {name} of {key}", self._root):
            tree = self._store.tree(key)
            content = self._inventory.content(tree)
            self._inventory.create(name, Kind.SNAPSHOT, tree.origin, lambda room: copy_tree(content, room / CONTENT))

    def _copy(self, snapshot: Record, room: Path) -> None:
        copy_tree(self._inventory.content(snapshot), room / CONTENT)


def _fill(target: Path, parent: Image | Empty) -> None:
    match parent:
        case Image(layers) if layers:
            merge_layers(tuple(reversed(layers)), target, Whiteouts.APPLY)
        case Image():
            make_empty(target, Empty())
        case empty:
            make_empty(target, empty)
