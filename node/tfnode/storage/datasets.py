"""ZFS as its own commands have it: datasets, snapshots and clones by `zfs`, one program for each step.

Only words that every ZFS understands (`zfs list -p` is not one of them). Knows nothing of trees and labels.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tfcore.commands import run
from tfcore.errors import CommandFailed, Exhausted, StorageFailed

SECONDS = 120.0
"""What a command may take: destroying may wait for a pool that is busy."""

PATIENCE, FIRST_PAUSE = 0.5, 0.01
"""Seconds that a dataset may stay busy which nobody should be using, and the first pause between two looks."""

FULL = ("out of space", "no space left", "quota exceeded")


@dataclass(frozen=True)
class Contents:
    """What is below one dataset.

    Args:
        origins: its children, each with the snapshot it is a clone of, if it is one.
        snapshots: each child's snapshots, oldest first. All names are those of whole ZFS: "tank/a", "tank/a@s".
    """

    origins: Mapping[str, str | None]
    snapshots: Mapping[str, tuple[str, ...]]

    def clones_of(self, snapshot: str) -> list[str]:
        """The datasets that cannot be without this snapshot."""
        return [name for name, origin in self.origins.items() if origin == snapshot]


def containing(path: Path) -> str:
    """The dataset that the existing directory `path` is in.

    Raises:
        StorageFailed: it is on no ZFS; the message says what `zfs` says.
        HostLacks: there is no `zfs` on this machine.
    """
    return _zfs("list", "-H", "-o", "name", str(path)).strip()


def property_of(dataset: str, name: str) -> str | None:
    """A property's value; None if the dataset is not there, or this ZFS does not know the property."""
    try:
        return _zfs("get", "-H", "-o", "value", name, dataset).strip()
    except StorageFailed:
        return None


def set_property(dataset: str, name: str, value: str) -> None:
    """Set a property; StorageFailed if this ZFS does not know it or the value."""
    _zfs("set", f"{name}={value}", dataset)


def contents(base: str) -> Contents:
    """What is below `base` now."""
    origins: dict[str, str | None] = {}
    snapshots: dict[str, tuple[str, ...]] = {}
    for line in _zfs("list", "-H", "-r", "-t", "filesystem,snapshot", "-o", "name,origin", base).splitlines():
        name, origin = line.split("\t")
        dataset, _, snapshot = name.partition("@")
        if snapshot:
            snapshots[dataset] = (*snapshots.get(dataset, ()), name)
        elif name != base:
            origins[name] = None if origin == "-" else origin
    return Contents(origins, snapshots)


def create(dataset: str, options: Mapping[str, str]) -> None:
    """Make an empty dataset. It may be mounted afterwards or not."""
    _zfs("create", *_chosen(options), dataset)


def clone(snapshot: str, dataset: str, options: Mapping[str, str]) -> None:
    """Make a dataset with the content of a snapshot. It may be mounted afterwards or not."""
    _zfs("clone", *_chosen(options), snapshot, dataset)


def snapshot(name: str) -> None:
    """Keep what a dataset holds on disk as "dataset@name"."""
    _zfs("snapshot", name)


def back_to_newest(snapshot: str) -> None:
    """Let a dataset hold what its newest snapshot holds; StorageFailed if there is a newer one."""
    _zfs("rollback", snapshot)


def destroy(name: str) -> None:
    """Remove one dataset or one snapshot, never what depends on it: StorageFailed if something does, or uses it.

    ZFS may take a moment to notice that nobody has a dataset mounted any more.
    """
    deadline, pause = time.monotonic() + PATIENCE, FIRST_PAUSE
    while True:
        try:
            _zfs("destroy", name)
        except StorageFailed as refused:
            if "is busy" not in refused.message or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(pause)
        pause *= 2


def mount(dataset: str) -> None:
    """Mount it where its property says, in this process's mount namespace."""
    _zfs("mount", dataset)


def unmount(dataset: str) -> None:
    """Take that mount away; StorageFailed while somebody works in it."""
    _zfs("unmount", dataset)


def _chosen(options: Mapping[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def _zfs(*arguments: str) -> str:
    try:
        return run(["zfs", *arguments], timeout=SECONDS).decode()
    except CommandFailed as failed:
        if any(word in failed.message for word in FULL):
            raise Exhausted(failed.message, hint="nothing was changed; free space in the pool") from failed
        raise StorageFailed(failed.message, hint="nothing was changed; look at the pool: zpool status") from failed
