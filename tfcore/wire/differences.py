"""What a container differs in from one of its snapshots, and what was left in it when it was rolled back."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from tfcore.wire.message import Reply, Request
from tfcore.wire.values import Seconds, Text


class FileDifference(Struct, frozen=True, kw_only=True):
    """A file, directory or whatever else has a name; of directories only those without anything below them, and those whose
    own mode or owner has changed.

    Attributes:
        path: in the container; what is no UTF-8 stands there as `\\xff`.
        before: its bytes in the snapshot, if it was a regular file there.
        after: its bytes now, if it is one.
    """

    path: Text
    kind: Literal["added", "changed", "removed"]
    before: int | None = None
    after: int | None = None


class ProcessDifference(Struct, frozen=True, kw_only=True):
    """A process that has begun or ended since the container stood at the snapshot. `pid` is its number inside."""

    kind: Literal["new", "ended"]
    pid: int
    command: Text


class EstablishedConnection(Struct, frozen=True, kw_only=True):
    """A TCP connection there is now.

    Attributes:
        incoming: it was opened from the other end.
        port: the one that was called, here or there.
        peer: the other end's address.
        peer_port: the other end's port.
    """

    incoming: bool
    port: int
    peer: str
    peer_port: int


class Compared(Reply, frozen=True, kw_only=True, tag="container.compared"):
    """What differs, at most as many of each kind as were asked for; `more_…` is how many there are besides.

    Attributes:
        snapshot: what it was compared with.
        bytes: in all files that are new or have changed, as they are now.
        notes: a sentence for each thing that could not be told.
    """

    snapshot: str
    files: tuple[FileDifference, ...] = ()
    more_files: int = 0
    bytes: int = 0
    processes: tuple[ProcessDifference, ...] = ()
    more_processes: int = 0
    connections: tuple[EstablishedConnection, ...] = ()
    more_connections: int = 0
    notes: tuple[str, ...] = ()


class CompareContainer(Request[Compared], frozen=True, kw_only=True, tag="container.compare"):
    """What has changed in the container since a snapshot (empty: the newest)? It leaves no trace.

    Attributes:
        to: until this snapshot, instead of until now; only files can be told then, none in memory.
        most: entries of each kind.
        seconds: that looking may take; what has been found by then is told.
    """

    name: str = ""
    to: str = ""
    most: Annotated[int, Meta(ge=1, le=1000)] = 100
    seconds: Seconds = 5.0


LookFor = Literal["nothing", "processes", "files", "all"]
"""What a rollback is to tell of what had been left in the container."""


class Left(Struct, frozen=True, kw_only=True):
    """What a rollback did away with that nobody had cleared away.

    Attributes:
        processes: command lines of those that were running and are not the service's own.
        files: paths of new files where temporary ones go: /tmp, /var/tmp, /dev/shm.
        more_processes, more_files: how many there were besides.
    """

    processes: tuple[str, ...] = ()
    more_processes: int = 0
    files: tuple[str, ...] = ()
    more_files: int = 0
