"""The default driver: a tree is an overlay's upper directory, a snapshot a directory below it. Going back copies nothing.

    tree "web"        data/web.1f/fs         upper: what changed since the tree began or was rolled back
    snapshot "b"      data/b.2a/fs           a copy of an upper, or a former upper itself (`seal`)
    snapshot "a"      data/a.09/fs
    image layers      wherever the caller keeps them

Each stands on the next; the metastore knows the order. A rollback puts a fresh upper on another stack. A stack of more than
`LONGEST_CHAIN` snapshots is merged into one directory by the snapshot that would make it longer, because every look-up of a
missing name asks each layer.

Every mount gets a work directory of its own: the kernel refuses one that a volatile overlay has used (PLATFORM.md 4).
Needs a file system that can be below an overlay, and the rights to mount one: `overlay_probe` finds out.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tfnode.storage.failures import told_as
from tfnode.storage.interface import Capabilities, Empty, Image, Kind, OverlayMount, Parent
from tfnode.storage.inventoried import Inventoried
from tfnode.storage.inventory import CONTENT, Inventory
from tfnode.storage.metastore import Origin, Record
from tfnode.storage.parents import make_empty, origin_of
from tfnode.storage.treecopy import Whiteouts, copy_root_attributes, merge_layers

LONGEST_CHAIN = 20
"""Snapshots between a tree and its image. A judgement: each makes every look-up of a missing name a little longer."""


POWERS = Capabilities(
    instant_snapshot=False,
    rollback_keeps_newer=True,
    rollback_while_mounted=True,
    quota=False,
    shares_blocks=False,
    stacks=True,
)
"""What it can do anywhere; blocks are shared where the file system can."""


class Overlay(Inventoried):
    """Overlays below `root`. It is `Sealing`, `Tracing` and `Layered` as well.

    Raises:
        WrongState: another process or another driver has the root.
        StorageFailed: the directory cannot be used.
    """

    name = "overlay"

    def __init__(self, root: Path) -> None:
        inventory = Inventory(root, self.name)
        super().__init__(inventory, replace(POWERS, shares_blocks=inventory.shares_blocks))

    def prepare(self, key: str, parent: Parent) -> None:
        with told_as(f"preparing {key}", self._root):
            origin = origin_of(self._store, parent)
            self._inventory.create(key, Kind.TREE, origin, lambda room: self._make_upper(room, parent))

    def mounts(self, key: str) -> OverlayMount:
        with told_as(f"a work directory for {key}", self._root):
            tree = self._store.tree(key)
            work = self._inventory.directory(tree) / f"work.{secrets.token_hex(4)}"
            work.mkdir()
            return OverlayMount(self._lowers(tree.origin), self._inventory.content(tree), work, volatile=True)

    def snapshot(self, key: str, name: str) -> None:
        with told_as(f"snapshot {name} of {key}", self._root):
            tree = self._store.tree(key)
            parts, origin = self._to_be_kept(tree)
            self._inventory.create(
                name, Kind.SNAPSHOT, origin, lambda room: merge_layers(parts, room / CONTENT, Whiteouts.KEEP)
            )

    def seal(self, key: str, name: str) -> None:
        """See `Sealing.seal`; where the stack has become too long, it is merged, which takes a copy like any snapshot."""
        tree = self._store.tree(key)
        if self._is_too_high(tree):
            self.snapshot(key, name)
            return
        with told_as(f"sealing {key} as {name}", self._root):
            content = self._inventory.content(tree)
            self._inventory.hand_over(key, name, lambda room: _make_upper_like(room, content))

    def written(self, key: str) -> Path:
        """See `Tracing.written`: what is below the upper directory never changes."""
        return self._inventory.content(self._store.tree(key))

    @contextmanager
    def layers(self, label: str) -> Iterator[tuple[Path, ...]]:
        """See `Layered.layers`."""
        with told_as(f"looking at {label}", self._root):
            record = self._store.get(label)
            found = (self._inventory.content(record), *self._lowers(record.origin))
        yield found

    def rollback(self, key: str, name: str) -> None:
        with told_as(f"rollback of {key} to {name}", self._root):
            self._store.tree(key)
            origin = origin_of(self._store, name)
            self._inventory.replace(key, origin, lambda room: self._make_upper(room, name))

    def clone(self, name: str, key: str) -> None:
        self.prepare(key, name)

    def _make_upper(self, room: Path, parent: Parent) -> None:
        match parent:
            case Image(layers) if layers:
                _make_upper_like(room, layers[-1])
            case Image():
                make_empty(room / CONTENT, Empty())
            case Empty():
                make_empty(room / CONTENT, parent)
            case name:
                _make_upper_like(room, self._inventory.content(self._store.snapshot(name)))

    def _lowers(self, origin: Origin) -> tuple[Path, ...]:
        snapshots = (self._inventory.content(record) for record in self._store.chain(origin.parent))
        return (*snapshots, *reversed(origin.layers)) or (self._inventory.nothing(),)

    def _is_too_high(self, tree: Record) -> bool:
        return len(self._store.chain(tree.origin.parent)) >= LONGEST_CHAIN

    def _to_be_kept(self, tree: Record) -> tuple[tuple[Path, ...], Origin]:
        """The directories a snapshot of the tree copies, top first, and what it then stands on."""
        own = self._inventory.content(tree)
        if not self._is_too_high(tree):
            return (own,), tree.origin
        chain = self._store.chain(tree.origin.parent)
        return (own, *(self._inventory.content(record) for record in chain)), Origin(None, tree.origin.layers)


def _make_upper_like(room: Path, top: Path) -> None:
    """An empty upper; it becomes the root directory, so it looks like the one it covers."""
    upper = room / CONTENT
    upper.mkdir()
    copy_root_attributes(top, upper)
