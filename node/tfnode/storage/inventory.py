"""What every driver that keeps directories has in common: the metastore and the shelf changed together.

The drivers own one of these each. It knows in which order things become true, so that a crash at any moment leaves the old
state or the new one; it does not know what a driver puts into the directories.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from tfnode.storage.failures import told_as
from tfnode.storage.filedata import shares_blocks
from tfnode.storage.interface import Info, Kind, Usage
from tfnode.storage.metastore import Metastore, Origin, Record
from tfnode.storage.occupancy import occupied
from tfnode.storage.shelf import Shelf

CONTENT = "fs"
"""The subdirectory with the files themselves; a driver may keep other things beside it."""

Build = Callable[[Path], object]
"""Fills a fresh directory: makes `CONTENT` in it. What it returns is of no interest."""


class Places(Protocol):
    """Where the data are. `Shelf` says what each of these is for."""

    def finished(self, directory: str) -> Path: ...

    def unfinished(self, directory: str) -> Path: ...

    def building(self, label: str) -> AbstractContextManager[str]: ...

    def place(self, directory: str) -> None: ...

    def discard(self, directory: str) -> None: ...

    def collect(self, known: set[str]) -> None: ...

    def empty_trash(self) -> int: ...


class Inventory:
    """The trees and snapshots below `root`.

    Args:
        root: made if it is not there.
        driver: the driver's name.
        shelf: makes the place for the data.
        content: where the files themselves are, below such a directory.

    Raises:
        WrongState: another process has the root open; or another driver, or a newer version, made it.
        StorageFailed: the directory cannot be used.
    """

    def __init__(
        self,
        root: Path,
        driver: str,
        *,
        shelf: Callable[[Path], Places] = Shelf,
        content: Path = Path(CONTENT),
    ) -> None:
        self.root = root
        self._content = content
        with told_as(f"opening the storage below {root}", root):
            self._shelf = shelf(root)
            self.shares_blocks = shares_blocks(root)
            self.store = Metastore(root, driver)

    def close(self) -> None:
        """Let the root go."""
        self.store.close()

    def directory(self, record: Record) -> Path:
        """The directory of a tree or snapshot."""
        return self._shelf.finished(record.directory)

    def content(self, record: Record) -> Path:
        """Its files."""
        return self.directory(record) / self._content

    def nothing(self) -> Path:
        """An empty directory: an overlay needs at least one below."""
        nothing = self.root / "nothing"
        nothing.mkdir(exist_ok=True)
        return nothing

    # --- what drivers build their verbs from

    def create(self, label: str, kind: Kind, origin: Origin, build: Build) -> None:
        """A new tree or snapshot, filled by `build`.

        Raises:
            WrongState: the label is taken.
            NotFound: its parent is gone.
        """
        self.store.require_free(label)
        with self._shelf.building(label) as directory:
            build(self._shelf.unfinished(directory))
            with self.store.transaction():
                self.store.add(label, kind, directory, origin)
                self._shelf.place(directory)

    def replace(self, key: str, origin: Origin, build: Build) -> None:
        """Give the tree other data, filled by `build`; what it had is litter from then on.

        Raises:
            NotFound: no such tree, or its new parent is gone.
        """
        with self._shelf.building(key) as directory:
            build(self._shelf.unfinished(directory))
            with self.store.transaction():
                before = self.store.move(key, directory)
                self.store.stand_on(key, origin)
                self._shelf.place(directory)
        self._shelf.discard(before)

    def hand_over(self, key: str, name: str, build: Build) -> None:
        """Let the tree's data become the snapshot `name`, and the tree stand on that with other data, filled by `build`.

        Raises:
            NotFound: no such tree.
            WrongState: the label `name` is taken.
        """
        origin = self.store.tree(key).origin
        self.store.require_free(name)
        with self._shelf.building(key) as directory:
            build(self._shelf.unfinished(directory))
            with self.store.transaction():
                before = self.store.move(key, directory)
                self.store.add(name, Kind.SNAPSHOT, before, origin)
                self.store.stand_on(key, Origin(name, origin.layers))
                self._shelf.place(directory)

    # --- verbs that are the same for every such driver

    def remove(self, label: str) -> None:
        """See `Storage.remove`."""
        with told_as(f"removing {label}", self.root), self.store.transaction():
            directory = self.store.forget(label)
        self._shelf.discard(directory)

    def retire(self, name: str) -> None:
        """See `Storage.retire`."""
        with told_as(f"retiring {name}", self.root), self.store.transaction():
            directory = self.store.retire(name)
        if directory is not None:
            self._shelf.discard(directory)

    def stat(self, label: str) -> Info:
        """See `Storage.stat`."""
        with told_as(f"looking up {label}", self.root):
            return self.store.get(label).info()

    def walk(self) -> Iterator[Info]:
        """See `Storage.walk`."""
        with told_as("listing the storage", self.root):
            return iter([record.info() for record in self.store.records()])

    def usage(self, label: str, count: Callable[[Record], Usage] | None = None) -> Usage:
        """See `Storage.usage`; a snapshot is counted once and remembered. `count` does it if no files are to be seen."""
        with told_as(f"counting {label}", self.root):
            record = self.store.get(label)
            if record.usage is not None:
                return record.usage
            usage = count(record) if count else occupied(self.content(record))
            with self.store.transaction():
                self.store.keep_usage(label, usage)
            return usage

    def sweep(self, kept: Collection[str] = ()) -> int:
        """See `Storage.sweep`; `kept` are directories without a row that are no litter."""
        with told_as("sweeping", self.root):
            with self.store.transaction():
                self.store.forget_retired()
            with self.store.transaction():
                self._shelf.collect({*kept, *(record.directory for record in self.store.records())})
            return self._shelf.empty_trash()
