"""What the drivers do in the same way, because the inventory does it: everything but making, showing and copying data.

`Inventoried` answers the verbs that ask nothing of a driver; `GoingBack` those that need only one thing of it, a copy of a
snapshot. Neither knows what the data look like.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from tfnode.storage.failures import told_as
from tfnode.storage.interface import Capabilities, Info, Kind, Usage
from tfnode.storage.inventory import Inventory
from tfnode.storage.metastore import Origin, Record


class Inventoried:
    """The verbs of `Storage` that an inventory answers.

    Args:
        inventory: the driver's own; closed with the driver.
        capabilities: what may be relied on below the inventory's root.
    """

    def __init__(self, inventory: Inventory, capabilities: Capabilities) -> None:
        self._inventory = inventory
        self._store = inventory.store
        self._root = inventory.root
        self._capabilities = capabilities

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def remove(self, label: str) -> None:
        self._inventory.remove(label)

    def retire(self, name: str) -> None:
        self._inventory.retire(name)

    def stat(self, label: str) -> Info:
        return self._inventory.stat(label)

    def walk(self) -> Iterator[Info]:
        return self._inventory.walk()

    def usage(self, label: str) -> Usage:
        return self._inventory.usage(label)

    def sweep(self) -> int:
        return self._inventory.sweep()

    def close(self) -> None:
        self._inventory.close()


class GoingBack(Inventoried, ABC):
    """The verbs of `Storage` that give a tree a copy of a snapshot, for drivers whose copies stand on the image alone."""

    def rollback(self, key: str, name: str) -> None:
        with told_as(f"rollback of {key} to {name}", self._root):
            self._store.tree(key)
            with self._store.held(name) as snapshot:
                self._inventory.replace(key, _grown_from(snapshot), lambda room: self._copy(snapshot, room))

    def clone(self, name: str, key: str) -> None:
        with told_as(f"clone {key} of {name}", self._root), self._store.held(name) as snapshot:
            self._inventory.create(key, Kind.TREE, _grown_from(snapshot), lambda room: self._copy(snapshot, room))

    @abstractmethod
    def _copy(self, snapshot: Record, room: Path) -> None:
        """Make, in the fresh directory `room`, data of a tree that are as the snapshot's."""


def _grown_from(snapshot: Record) -> Origin:
    return Origin(snapshot.label, snapshot.origin.layers)
