"""One generation beside a moment: files, processes, connections, as `container.diff` and a rollback's answer tell them.

Files on disk are compared by the storage's layers (`storage/contrast.py`), files in memory and processes with what was seen
when the generation stood at the moment (`Evidence`). What cannot be told becomes a sentence. Synchronous, for worker
threads; changes nothing.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import islice
from typing import Literal

from tfcore.errors import TfError
from tfcore.wire.differences import (
    CompareContainer,
    Compared,
    EstablishedConnection,
    FileDifference,
    Left,
    LookFor,
    ProcessDifference,
)
from tfnode.containers.evidence import Evidence, Scene
from tfnode.kernel import sockets
from tfnode.kernel.fingerprint import MODE, SIZE, Fingerprint, Stamp
from tfnode.kernel.procfs import Inside, Process
from tfnode.storage.contrast import Change, OutOfTime, changes
from tfnode.storage.interface import Layered, Storage

TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")
"""Where whoever makes a file is to remove it."""

TOLD = 10
"""What a rollback tells of what was left, of each kind."""

MOST = 20_000
"""Changed files that are looked at; a container may have made millions."""

SECONDS = 1.0
"""That looking for files that were left may keep a rollback."""

LONGEST = 4096
"""Characters of a path that are told."""

UNREADABLE = (TfError, OSError, ValueError)


@dataclass
class Comparison:
    """A generation and a moment.

    Attributes:
        pairs: where the container has what, by labels of the storage: at the moment, and now.
        scene: the generation; None if another moment is compared with: then only files on disk can be.
        seen: how it looked when it stood at the moment; None if nobody knows.
        notes: what could not be told, so far.
    """

    storage: Storage
    pairs: Mapping[str, tuple[str, str]]
    scene: Scene | None
    seen: Evidence | None
    notes: list[str] = field(default_factory=list)

    def told(self, snapshot: str, wanted: CompareContainer) -> Compared:
        """All that differs, within bounds."""
        if self.scene and self.seen is None:
            self.notes.append("nobody has seen its processes and its files in memory when it stood at this snapshot")
        processes = sorted(self._processes(), key=lambda one: (one.kind, one.pid))
        connections = self._connections()
        found = (*self._in_memory(), *islice(self._on_disk(time.monotonic() + wanted.seconds), MOST + 1))
        if len(found) > MOST:
            self.notes.append(f"of more than {MOST} changed files only these were looked at")
        files = sorted(found[:MOST], key=lambda change: (change.path, change.kind))
        most = wanted.most
        return Compared(
            snapshot=snapshot,
            files=tuple(map(_file, files[:most])),
            more_files=len(files[most:]),
            bytes=sum(change.after or 0 for change in files),
            processes=tuple(processes[:most]),
            more_processes=len(processes[most:]),
            connections=tuple(connections[:most]),
            more_connections=len(connections[most:]),
            notes=tuple(self.notes),
        )

    def left(self, look_for: LookFor) -> Left:
        """What somebody has left in it.

        Raises:
            OSError, TfError: something cannot be read.
        """
        processes = self._left_running() if look_for in ("processes", "all") else []
        files = self._left_lying() if look_for in ("files", "all") else []
        return Left(
            processes=tuple(processes[:TOLD]),
            more_processes=len(processes[TOLD:]),
            files=tuple(files[:TOLD]),
            more_files=len(files[TOLD:]),
        )

    # files

    def _on_disk(self, until: float, below: tuple[str, ...] = ("",)) -> Iterator[Change]:
        if not isinstance(self.storage, Layered):
            self.notes.append(f"the storage driver {self.storage.name} cannot tell which files have changed")
            return
        for place, (then, now) in self.pairs.items():
            try:
                with self.storage.layers(then) as before, self.storage.layers(now) as after:
                    for part in below if not place else ("",):
                        for change in changes(before, after, until=until, below=part):
                            yield _moved(change, place)
            except OutOfTime:
                self.notes.append("there was not the time to look at all files")
                return
            except UNREADABLE as error:
                self.notes.append(f"files below {place or '/'} could not be compared: {error}")

    def _in_memory(self) -> Iterator[Change]:
        if self.seen is None or self.scene is None:
            return
        try:
            files = self.scene.files_in_memory()
        except UNREADABLE as error:
            self.notes.append(f"files in memory could not be looked at: {error}")
            return
        for place, after in files.items():
            before = self.seen.files.get(place, {})
            for path in before.keys() | after.keys():
                change = _stamped(path, before, after)
                if change:
                    yield _moved(change, place)

    def _left_lying(self) -> list[str]:
        found = (*islice(self._on_disk(time.monotonic() + SECONDS, TEMPORARY), MOST), *self._in_memory())
        new = [change.path for change in found if change.kind == "added"]
        return sorted(_legible(path) for path in new if path.startswith(tuple(f"{place}/" for place in TEMPORARY)))

    # processes

    def _processes(self) -> Iterator[ProcessDifference]:
        if self.seen is None or self.scene is None:
            return
        try:
            roster = _running(self.scene)
        except UNREADABLE as error:
            self.notes.append(f"its processes could not be looked at: {error}")
            return
        then, now = set(map(_life, self.seen.processes)), set(map(_life, roster))
        for process, inside in roster.items():
            if _life(process) not in then:
                yield ProcessDifference(kind="new", pid=inside.pid, command=inside.command)
        for process, inside in self.seen.roster.items():
            if _life(process) not in now and not inside.ended:
                yield ProcessDifference(kind="ended", pid=inside.pid, command=inside.command)

    def _left_running(self) -> list[str]:
        """The service's own may come and go: what runs one of its programs, unless somebody came to start it."""
        if self.seen is None or self.scene is None:
            return []
        then, now = set(map(_life, self.seen.processes)), self.scene.processes()
        new = [process for process in now if _life(process) not in then]
        if not new:
            return []
        programs = {process.program for process in (*self.seen.processes, *now) if _life(process) in then}
        pids = {process.pid for process in self.seen.processes}
        sessions = {inside.session for inside in self.seen.roster.values()}
        return [
            inside.command
            for process, inside in sorted(self.scene.roster(new).items(), key=lambda one: one[0].pid)
            if not inside.ended
            and not (process.program in programs and _descends(process, inside, pids=pids, sessions=sessions))
        ]

    # connections

    def _connections(self) -> list[EstablishedConnection]:
        if self.scene is None:
            return []
        try:
            found = sockets.established(self.scene.pid)
        except UNREADABLE as error:
            self.notes.append(f"its connections could not be looked at: {error}")
            return []
        return [
            EstablishedConnection(incoming=one.incoming, port=one.port, peer=one.peer, peer_port=one.peer_port)
            for one in found
            if one.incoming or not ip_address(one.peer).is_loopback  # the other end of it is told
        ]


def _running(scene: Scene) -> dict[Process, Inside]:
    roster = scene.roster(scene.processes())
    return {process: inside for process, inside in roster.items() if not inside.ended}


def _life(process: Process) -> tuple[int, int]:
    """A process, whatever program it runs by now."""
    return process.pid, process.started


def _descends(process: Process, inside: Inside, *, pids: set[int], sessions: set[int]) -> bool:
    """True if the service has started it by itself: a command from outside has a session of its own, and no parent within;
    when that has ended, the processes it has left still belong to that session."""
    return inside.session in sessions or (inside.session == process.pid and inside.parent in pids)


def _moved(change: Change, place: str) -> Change:
    return Change(f"{place.rstrip('/')}{change.path}", change.kind, change.before, change.after)


def _stamped(path: str, before: Fingerprint, after: Fingerprint) -> Change | None:
    """What two stamps say of a file in memory; directories are left out."""
    was, now = before.get(path), after.get(path)
    if was == now or any(stamp and stat.S_ISDIR(stamp[MODE]) for stamp in (was, now)):
        return None
    kind: Literal["added", "changed", "removed"] = "changed" if was and now else "removed" if was else "added"
    return Change(f"/{path}", kind, _size(was), _size(now))


def _size(stamp: Stamp | None) -> int | None:
    return stamp[SIZE] if stamp and stat.S_ISREG(stamp[MODE]) else None


def _file(change: Change) -> FileDifference:
    return FileDifference(path=_legible(change.path), kind=change.kind, before=change.before, after=change.after)


def _legible(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")[:LONGEST]
