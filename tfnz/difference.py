"""What a container differs in from one of its snapshots, as `Container.diff` gives it: to be read, and to be asserted on.

Knows the wire's reply it is made from, and nothing of how it was found out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from tfcore.wire import differences as wire

SHOWN = 20
"""Entries of each kind that `str()` shows."""

LOOKING = 0.8
"""The share of its time that a node spends looking; the rest is for the way."""


@dataclass(frozen=True)
class FileChange:
    """A file, link, pipe or empty directory; directories with something in them only if their own mode or owner changed.

    Attributes:
        path: in the container.
        kind: `added`, `changed` or `removed`.
        before: its bytes in the snapshot, if it was a regular file.
        after: its bytes now, if it is one.
    """

    path: str
    kind: str
    before: int | None = None
    after: int | None = None

    def __str__(self) -> str:
        return f"{self.kind:<8}{self._sizes():>22}  {self.path}"

    def _sizes(self) -> str:
        sizes = [size(count) for count in (self.before, self.after) if count is not None]
        return " → ".join(dict.fromkeys(sizes))


@dataclass(frozen=True)
class ProcessChange:
    """A process that has begun or ended.

    Attributes:
        kind: `new` or `ended`.
        pid: its number in the container.
        command: its command line.
    """

    kind: str
    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.kind:<8}{self.pid:>6}  {self.command}"


@dataclass(frozen=True)
class Connection:
    """A TCP connection there is now.

    Attributes:
        incoming: it was opened from the other end.
        port: the one that was called, the container's or the other end's.
        peer: the other end's address; a tunnel's is the node's.
        peer_port: the other end's port.
    """

    incoming: bool
    port: int
    peer: str
    peer_port: int

    def __str__(self) -> str:
        if self.incoming:
            return f"to port {self.port} from {self.peer}:{self.peer_port}"
        return f"to {self.peer}:{self.peer_port} from inside"


@dataclass(frozen=True)
class Difference:
    """Everything that differs, within bounds; `str()` is a text of a few lines.

    Attributes:
        snapshot: what the container was compared with.
        files: by path, below its root, its session volumes, and where it has files in memory (/dev/shm).
        processes: that have begun or ended since it stood at the snapshot.
        connections: that are established.
        more_files, more_processes, more_connections: how many there are beyond those.
        bytes: in all files that were added or changed, as they are now.
        notes: a sentence for each thing that could not be told.
    """

    snapshot: str
    files: tuple[FileChange, ...] = ()
    processes: tuple[ProcessChange, ...] = ()
    connections: tuple[Connection, ...] = ()
    more_files: int = 0
    more_processes: int = 0
    more_connections: int = 0
    bytes: int = 0
    notes: tuple[str, ...] = ()

    @staticmethod
    def request(snapshot: str, to: str, most: int, timeout: float) -> wire.CompareContainer:
        """What to ask a node that has `timeout` seconds for its answer."""
        return wire.CompareContainer(name=snapshot, to=to, most=most, seconds=timeout * LOOKING)

    @classmethod
    def of(cls, told: wire.Compared) -> Self:
        """What a node has told."""
        return cls(
            snapshot=told.snapshot,
            files=tuple(FileChange(one.path, one.kind, one.before, one.after) for one in told.files),
            processes=tuple(ProcessChange(one.kind, one.pid, one.command) for one in told.processes),
            connections=tuple(Connection(one.incoming, one.port, one.peer, one.peer_port) for one in told.connections),
            more_files=told.more_files,
            more_processes=told.more_processes,
            more_connections=told.more_connections,
            bytes=told.bytes,
            notes=told.notes,
        )

    def summary(self) -> str:
        """`7 files, 1.2 MiB, 1 process`: what has changed; connections change nothing."""
        parts = []
        if number := len(self.files) + self.more_files:
            parts += [counted(number, "file"), size(self.bytes)]
        if number := len(self.processes) + self.more_processes:
            parts.append(counted(number, "process", "processes"))
        return ", ".join(parts) or "nothing"

    def lines(self, shown: int = SHOWN) -> Iterator[str]:
        """A line for each entry, at most `shown` of each kind, and the notes."""
        yield from _some(self.files, self.more_files, shown, ("file", "files"))
        yield from _some(self.processes, self.more_processes, shown, ("process", "processes"), "process ")
        yield from _some(self.connections, self.more_connections, shown, ("connection", "connections"), "connection ")
        yield from (f"({note})" for note in self.notes)

    def __str__(self) -> str:
        return "\n".join([f"changed since {self.snapshot}: {self.summary()}", *(f"  {line}" for line in self.lines())])


def _some(found: tuple[object, ...], more: int, shown: int, what: tuple[str, str], begin: str = "") -> Iterable[str]:
    yield from (f"{begin}{one}" for one in found[:shown])
    if rest := len(found[shown:]) + more:
        yield f"and {rest} more {what[rest > 1]}"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 process`, `2 processes`."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def size(count: int) -> str:
    """`512 B`, `1.5 KiB`, `1.2 MiB`."""
    number = float(count)
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{count} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
