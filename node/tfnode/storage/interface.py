"""The storage seam: what a driver does for root file systems and volumes alike. Knows no driver and no disk.

The words:

* A **key** names an active tree: writable, one owner.
* A **name** names a snapshot: immutable, shared by whoever grows from it.
* A **parent** is what a tree grew from: an image's layers, a snapshot's name, or nothing at all.
* Keys and names are chosen by the caller, share one name space and match `LABEL`.

The life of a snapshot. A container is to run from an image:

    storage.prepare("web", Image(layers))        the tree "web" now shows the image
    mount = storage.mounts("web")                a description; the caller mounts it and starts the container

The container boots and is seeded. The caller freezes it, so that the disk stands still, and keeps this moment:

    storage.snapshot("web", "baseline")          the tree is as it was and goes on; "baseline" stays as it is for ever

A test writes, deletes and breaks. The caller ends the container and goes back:

    storage.rollback("web", "baseline")          "web" shows the baseline again; what the test did is moved aside
    mount = storage.mounts("web")                a rolled-back tree has to be mounted anew

While the next test runs, a spare is made ready from the same moment, although "web" is in use:

    storage.clone("baseline", "web-spare")

Any number of snapshots, taken in any order, stay valid whatever is rolled back to which. One that somebody grew from
cannot be removed before them. At the end, the trees first, then the snapshots, newest first:

    storage.remove("web-spare"); storage.remove("web"); storage.remove("baseline")
    storage.sweep()                              gives back the disk space; after a crash it also clears what nobody knows

Who has no use for a snapshot any more, but does not know who else grew from it, retires it: its label is free at once, and a
later sweep removes it when nothing needs it.

A volume is a tree with `Empty` as its parent. A container and its volumes are kept at one moment by freezing once and
taking a snapshot of each.

The rules for callers. Calls are synchronous and may block on the disk: make them in a worker thread, and hold a lock per
key. A description is for one mount at a time, never two. A tree may be mounted while it is copied by `snapshot` (the caller
has frozen its writers) and, where the driver says `rollback_while_mounted`, while it is rolled back or removed: then the old
mount keeps the old content until it is let go, and `sweep` must wait for that.

The promises of drivers. Every call happens as a whole or not at all: after an error, or the death of the process half way,
trees and snapshots are what they were before. Such a crash may leave litter, which `sweep` removes. Nothing is flushed to
disk: a power cut may cost the newest trees and snapshots.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from tfcore.errors import BadRequest

LABEL = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
"""What a key or a name looks like: it becomes part of a file name and of mount options."""


@dataclass(frozen=True)
class Image:
    """The unpacked layers of an image, bottom first.

    Each is a directory as overlayfs wants it: a deleted name is a character device 0:0, a directory that hides what is
    below has the xattr `trusted.overlay.opaque` = "y"; owners are already those of the container's id range.
    """

    layers: tuple[Path, ...]


@dataclass(frozen=True)
class Empty:
    """Nothing: a tree that is one empty directory of this owner (None: who runs the driver) and mode."""

    uid: int | None = None
    gid: int | None = None
    mode: int = 0o755


Parent = Image | Empty | str
"""What a tree grows from; a string is a snapshot's name."""


@dataclass(frozen=True)
class OverlayMount:
    """An overlay to be mounted.

    Args:
        lowers: directories below, top first.
        upper: the directory that is written to.
        work: an empty directory beside it, for this mount only.
        volatile: nothing is flushed to disk, so that a service's fsync costs nothing.
    """

    lowers: tuple[Path, ...]
    upper: Path
    work: Path
    volatile: bool

    def durable(self) -> OverlayMount:
        """The same, but fsync means what it says: for data that outlives its session."""
        return replace(self, volatile=False)


@dataclass(frozen=True)
class BindMount:
    """A directory to be shown in another place as it is."""

    source: Path


Mount = OverlayMount | BindMount


class Kind(enum.Enum):
    """What a label names."""

    TREE = "tree"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True)
class Usage:
    """What a tree or a snapshot occupies by itself, without its parents. Shared blocks count in full.

    Args:
        bytes: allocated on disk; a hole counts nothing.
        inodes: files, directories and everything else with an inode.
    """

    bytes: int
    inodes: int


@dataclass(frozen=True)
class Info:
    """What is known of one tree or snapshot.

    Args:
        label: its key or name.
        kind: which of the two.
        parent: the snapshot that must outlive it, if any.
        layers: the image layers it rests on, bottom first; they must outlive it.
        created: seconds since 1970.
    """

    label: str
    kind: Kind
    parent: str | None
    layers: tuple[Path, ...]
    created: float


@dataclass(frozen=True)
class Capabilities:
    """What callers and suites may rely on beyond the promises above.

    Args:
        instant_snapshot: `snapshot` takes the same time whatever the tree holds.
        rollback_keeps_newer: going back to an older snapshot leaves the newer ones valid. A driver without it raises
            WrongState and names the newer ones before anything is changed.
        rollback_while_mounted: `rollback` and `remove` may be called while the tree is mounted.
        quota: the driver is `Limiting` as well.
        shares_blocks: what a snapshot has in common with its tree is on the disk once.
        stacks: a snapshot holds only what its parents do not: what it costs to keep it is theirs as well.
    """

    instant_snapshot: bool
    rollback_keeps_newer: bool
    rollback_while_mounted: bool
    quota: bool
    shares_blocks: bool
    stacks: bool = False


@dataclass(frozen=True)
class Probe:
    """What a driver says about a directory it might be given.

    Args:
        usable: it would work there.
        sentence: why, or why not, for people.
    """

    usable: bool
    sentence: str


class Storage(Protocol):
    """Trees and snapshots below one directory of the host. See the top of this file.

    All verbs raise StorageFailed when the disk or the kernel refuses, and Exhausted when the disk is full. A label that is
    not shaped like `LABEL` is a BadRequest. Nothing has changed after an error.
    """

    @property
    def name(self) -> str:
        """The driver's name, as configuration and `tf-node check` have it."""

    @property
    def capabilities(self) -> Capabilities:
        """What may be relied on, here, beyond the promises."""

    def prepare(self, key: str, parent: Parent) -> None:
        """Make the tree `key`, showing `parent`.

        Raises:
            WrongState: the label is taken.
            NotFound: no such snapshot, or a layer is not a directory.
        """

    def mounts(self, key: str) -> Mount:
        """How to mount the tree: good for one mount; ask again for the next.

        Raises:
            NotFound: no such tree.
            WrongState: it is a snapshot; clone it first.
        """

    def snapshot(self, key: str, name: str) -> None:
        """Keep the present content of `key` as `name`. The tree goes on and may be mounted, but nobody may be writing.

        Raises:
            NotFound: no such tree.
            WrongState: the label `name` is taken.
        """

    def rollback(self, key: str, name: str) -> None:
        """Make `key` show `name` again, whatever it showed before. Mount it anew afterwards.

        Raises:
            NotFound: no such tree or snapshot.
            WrongState: a driver without `rollback_keeps_newer` would have to remove snapshots; they are named.
        """

    def clone(self, name: str, key: str) -> None:
        """Make another tree, `key`, from the snapshot `name`; the same as `prepare(key, name)`."""

    def remove(self, label: str) -> None:
        """Forget a tree or a snapshot; its disk space is given back by the next `sweep`.

        Raises:
            NotFound: nothing has this label.
            WrongState: a tree or snapshot grew from it; the message names them.
        """

    def retire(self, name: str) -> None:
        """Remove a snapshot, whatever grew from it: nobody can name it any more, what grew from it goes on, and the next
        `sweep` that finds nothing left of that removes it. `walk` shows it until then, under a label of the storage's own.

        Raises:
            NotFound: nothing has this label.
            WrongState: it is a tree.
        """

    def stat(self, label: str) -> Info:
        """What is known of it; NotFound if nothing has this label."""

    def walk(self) -> Iterator[Info]:
        """Everything there is, as of now, oldest first. (To remove all: the trees, then the snapshots, newest first.)"""

    def usage(self, label: str) -> Usage:
        """What it occupies; counted by looking, so it takes a while for a big tree. NotFound if nothing has this label."""

    def sweep(self) -> int:
        """Delete everything on disk that no tree or snapshot needs; returns how many directories went. May run at any time,
        beside every other call, and is called once at the start of the node."""

    def close(self) -> None:
        """Let go of the directory, so that another process may open it. Trees and snapshots stay."""


@runtime_checkable
class Sealing(Protocol):
    """An optional power: a snapshot without a copy, for a tree that nobody has mounted."""

    def seal(self, key: str, name: str) -> None:
        """Like `snapshot`, in a time that does not depend on the content: the tree's own data becomes the snapshot, and the
        tree goes on, empty, above it. The caller answers for it that `key` is not mounted."""


@runtime_checkable
class Limiting(Protocol):
    """An optional power: a limit to what a tree may occupy."""

    def limit(self, key: str, bytes: int) -> None:  # noqa: A002 - the unit is the word
        """Let writes beyond `bytes` fail with "disk quota exceeded"; NotFound if there is no such tree."""


@runtime_checkable
class Tracing(Protocol):
    """An optional power: what was written to a tree can be looked at, by somebody who only wants to know whether anything
    was."""

    def written(self, key: str) -> Path:
        """A directory with everything that was written to the tree since it began, and perhaps more; each change of the tree
        changes it, or something in it. To be looked at only. NotFound if there is no such tree."""


@runtime_checkable
class Layered(Protocol):
    """An optional power: what a tree or a snapshot shows can be read without mounting it, beside another one."""

    def layers(self, label: str) -> AbstractContextManager[tuple[Path, ...]]:
        """Directories, top first, that show it when they are stacked as an `Image`'s are; for the length of the block, and
        to be looked at only. What two labels have in common are the same directories, if the driver can tell.

        Raises:
            NotFound: nothing has this label.
        """


def checked(label: str) -> str:
    """`label` itself, if it may be a key or a name.

    Raises:
        BadRequest: it may not.
    """
    if not LABEL.match(label):
        raise BadRequest(
            f"{label!r} cannot name a tree or a snapshot",
            hint="use 1 to 100 letters, digits, dots, dashes and underscores, the first a letter or digit",
        )
    return label
