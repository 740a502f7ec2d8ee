"""The volumes of this node: made, mounted, shown to containers, kept at a moment and put back.

A volume is an identity; what it shows is a *tree* of the storage, and a rollback replaces the tree. Mounts are made below
one directory in the agent's mount namespace; containers get bind mounts of them. Knows containers only as pids that have
a volume mounted somewhere. Synchronous, for worker threads.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tfcore.errors import NotFound, WrongState
from tfcore.undo import Undo
from tfnode.kernel import mounts
from tfnode.kernel.mounts import Attribute
from tfnode.storage.interface import BindMount, Empty, Kind, OverlayMount, Storage
from tfnode.volumes.ledger import Entry, Ledger

log = logging.getLogger(__name__)

FORBIDDEN = Attribute.NOSUID | Attribute.NODEV
"""What no volume may carry into a container."""


@dataclass
class Volume:
    """One volume while the agent lives.

    Attributes:
        entry: what the ledger holds of it.
        users: where it is mounted: (container, path inside).
        lock: held by whoever changes what it shows.
    """

    entry: Entry
    users: frozenset[tuple[str, str]] = frozenset()
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def id(self) -> str:
        """The volume's id."""
        return self.entry.id

    def add_user(self, container: str, path: str) -> None:
        """A container has it mounted."""
        with self.lock:
            self.users |= {(container, path)}

    def remove_user(self, container: str, path: str) -> None:
        """It has not any more."""
        with self.lock:
            self.users -= {(container, path)}


class Volumes:
    """All volumes of the node."""

    def __init__(self, storage: Storage, directory: Path, ledger: Ledger, uid_base: int) -> None:
        self._storage = storage
        self._directory = directory
        self._ledger = ledger
        self._uid_base = uid_base
        self._lock = threading.Lock()
        self._volumes = {entry.id: Volume(entry) for entry in ledger.all()}
        self._mounted: set[str] = set()

    def all(self) -> list[Volume]:
        """Every volume."""
        with self._lock:
            return list(self._volumes.values())

    def get(self, identifier: str) -> Volume:
        """The volume of this id; NotFound if there is none."""
        with self._lock:
            try:
                return self._volumes[identifier]
            except KeyError as missing:
                raise NotFound(f"there is no volume {identifier} on this node") from missing

    def make(self, identifier: str, *, session: str, account: str, persistent: bool, content: str = "") -> None:
        """Make a volume, empty or with the content of a snapshot; making one that is there already changes nothing.

        Args:
            content: the snapshot's label in the storage.

        Raises:
            NotFound: no such snapshot.
        """
        with self._lock:
            if identifier in self._volumes:
                return
        entry = Entry(id=identifier, session=session, account=account, persistent=persistent, tree=f"{identifier}.t0")
        with Undo() as undo:
            self._storage.prepare(entry.tree, content or Empty(uid=self._uid_base, gid=self._uid_base))
            undo.push(self._storage.remove, entry.tree)
            self._ledger.put(entry)
            undo.done()
        with self._lock:
            self._volumes[identifier] = Volume(entry)

    def destroy(self, identifier: str) -> None:
        """Remove a volume with its snapshots; an unknown one is no error.

        Raises:
            WrongState: a container has it mounted.
        """
        with self._lock:
            volume = self._volumes.get(identifier)
        if volume is None:
            return
        if volume.users:
            names = ", ".join(sorted({container for container, _ in volume.users}))
            raise WrongState(f"volume {identifier} is mounted in {names}", hint="destroy the containers first")
        self._remove_labels(identifier)
        self._ledger.remove(identifier)
        with self._lock:
            self._volumes.pop(identifier, None)

    def _remove_labels(self, identifier: str) -> None:
        """Trees first, then snapshots, newest first. What others have grown from those goes on."""
        mine = [info for info in self._storage.walk() if info.label.startswith(identifier + ".")]
        for info in sorted(mine, key=lambda info: (info.kind is Kind.SNAPSHOT, -info.created)):
            self._let_go(info.label)  # former trees too, that could not be discarded
            forget = self._storage.retire if info.kind is Kind.SNAPSHOT else self._storage.remove
            forget(info.label)

    # trees

    def source(self, volume: Volume) -> Path:
        """A directory, in the agent's mount namespace, that shows the volume as it is now."""
        return self._show(volume.entry.tree, persistent=volume.entry.persistent)

    def present(self, volume: Volume) -> tuple[str, Path]:
        """The tree the volume shows now, for `bring_up_to_date`, and a directory that shows it."""
        with volume.lock:
            return volume.entry.tree, self.source(volume)

    def grow(self, volume: Volume, snapshot: str) -> str:
        """Another tree for the volume, showing one of its snapshots; nobody sees it until `adopt`."""
        tree = f"{volume.id}.t{self._count(volume)}"
        self._storage.clone(snapshot, tree)
        return tree

    def _count(self, volume: Volume) -> int:
        """A number that no tree and no snapshot of the volume has."""
        with volume.lock:
            volume.entry = msgspec.structs.replace(volume.entry, count=volume.entry.count + 1)
            self._ledger.put(volume.entry)
            return volume.entry.count

    def show_grown(self, tree: str) -> Path:
        """A directory that shows a tree from `grow`."""
        return self._show(tree, persistent=False)

    def adopt(self, volume: Volume, tree: str, pids: dict[str, int]) -> str:
        """The volume shows `tree` from now on, also to the containers that run with it mounted.

        Args:
            pids: a process of each of those, by the container's id.

        Returns:
            The tree it showed before, for `discard`.

        Raises:
            MountFailed: a container's mount could not be replaced; all are as they were.
        """
        with volume.lock, Undo() as undo:
            before = self.source(volume)
            after = self._show(tree, persistent=volume.entry.persistent)
            for container, path in sorted(volume.users):
                if container in pids:
                    undo.push(_replace, pids[container], path, before)
                    _replace(pids[container], path, after)
            old = volume.entry.tree
            self._ledger.put(msgspec.structs.replace(volume.entry, tree=tree))
            volume.entry = msgspec.structs.replace(volume.entry, tree=tree)
            undo.done()
        return old

    def bring_up_to_date(self, volume: Volume, container: str, pid: int, *, seen: str) -> None:
        """A container made while the volume showed the tree `seen` sees what it shows by now.

        Raises:
            MountFailed: its mount could not be replaced; it sees the old tree.
        """
        with volume.lock:
            if volume.entry.tree == seen:
                return
            for user, path in volume.users:
                if user == container:
                    _replace(pid, path, self.source(volume))

    def discard(self, tree: str) -> None:
        """Let a tree go that no volume shows."""
        self._let_go(tree)
        self._storage.remove(tree)

    def catch_up(self) -> None:
        """There may be room again to write down what a full disk did not take."""
        self._ledger.catch_up()

    def _show(self, tree: str, *, persistent: bool) -> Path:
        target = self._directory / tree
        with self._lock:
            if tree in self._mounted:
                return target
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            description = self._storage.mounts(tree)
            if persistent and isinstance(description, OverlayMount):
                description = description.durable()
            mounts.mount_tree(description, target, FORBIDDEN)
            self._mounted.add(tree)
        return target

    def _let_go(self, tree: str) -> None:
        with self._lock:
            if tree in self._mounted:
                mounts.unmount(self._directory / tree)
                (self._directory / tree).rmdir()
                self._mounted.discard(tree)

    # moments

    def snapshot(self, volume: Volume, label: str) -> None:
        """Keep the volume's present content under a storage label; who writes to it has been frozen."""
        with volume.lock:
            self._storage.snapshot(volume.entry.tree, label)

    def snapshot_named(self, volume: Volume, name: str) -> None:
        """Keep the volume's present content as the user's `name`, in place of an older snapshot of that name."""
        with volume.lock:
            older = self._named(volume, name)
            self.snapshot(volume, f"{volume.id}.s{self._count(volume)}.{name}")
        for label in older:
            try:
                self._storage.remove(label)
            except WrongState as used:
                log.debug("an older snapshot stays until its volume goes: %s", used)

    def label_of(self, volume: Volume, name: str) -> str:
        """The storage's label of the user's snapshot `name`; NotFound if there is none."""
        labels = self._named(volume, name)
        if not labels:
            raise NotFound(f"volume {volume.id} has no snapshot {name!r}")
        return labels[-1]

    def _named(self, volume: Volume, name: str) -> list[str]:
        shape = re.compile(rf"\A{re.escape(volume.id)}\.s\d+\.{re.escape(name)}\Z")
        return [info.label for info in self._storage.walk() if shape.match(info.label)]

    def roll_back(self, volume: Volume, label: str, pids: dict[str, int]) -> None:
        """Show a snapshot instead of the present content, also to containers that run with the volume mounted.

        Args:
            pids: a process of each running container, by the container's id.

        Raises:
            NotFound: no such snapshot. MountFailed: a container's mount could not be replaced; all are as they were.
        """
        tree = self.grow(volume, label)
        with Undo() as undo:
            undo.push(self.discard, tree)
            old = self.adopt(volume, tree, pids)
            undo.done()
        self.discard(old)

    def close(self) -> None:
        """Unmount everything."""
        for tree in list(self._mounted):
            self._let_go(tree)


def _replace(pid: int, path: str, source: Path) -> None:
    fd = mounts.open_mount(BindMount(source))
    try:
        mounts.forbid(fd, FORBIDDEN)
        mounts.replace_mount(pid, Path(path), fd)
    except ProcessLookupError:
        log.info("process %d has ended: its container's next life has the volume as it is then", pid)
    finally:
        os.close(fd)
