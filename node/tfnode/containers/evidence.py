"""What one generation leaves where it can be seen: packets on its links, processes, files, memory that has a name.

`Scene.look` takes it all down; `Scene.change` compares, the cheapest first, and names the first thing that differs. Judged
is only that: whether it may be the same as before, or may not. What processes keep for themselves (memory, unlinked files)
is not seen, and need not be: nobody who has not reached them can have changed it but they themselves.

Synchronous, for worker threads; knows no moment and no rollback. What cannot be read is an error or a reason to be blind,
never "no change".
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfcore.errors import TfError
from tfnode.cgroups.group import Group
from tfnode.kernel import procfs
from tfnode.kernel.fingerprint import (
    Fingerprint,
    contents,
    counts_seconds,
    doors,
    fingerprint,
    first_difference,
    is_fresh,
    now,
)
from tfnode.kernel.paths import open_in_root, open_process_root
from tfnode.kernel.procfs import Inside, Mounted, Process, SharedMapping

MEMORY_FILES = "tmpfs"
QUEUES = "mqueue"
"""File systems of the container's own that no storage driver knows. Of a message queue neither stamps (they are in whole
seconds) nor content tell whether messages came and went."""

LEGIBLE = 4 << 20
"""Bytes of shared memory that are read and compared; more takes too long."""

PRIVATE = ("/dev/zero", "/memfd:", "anon_inode:", "/[aio]", "socket:")
"""How the kernel names shared mappings that nobody can open: they are their processes' memory, as any other."""

SEGMENT = "/SYSV"
"""How it names a System V segment."""


@dataclass(frozen=True)
class Memory:
    """Memory that has a name, which may be written to without a stamp.

    Attributes:
        cpu: processor seconds used so far; as long as they stay the same nobody has written. None if not accounted for.
        hidden: what may be written to unseen; empty if there is no such thing.
        digest: of everything else.
    """

    cpu: float | None
    hidden: str
    digest: bytes


@dataclass(frozen=True)
class Evidence:
    """What was seen.

    Attributes:
        fresh: trees of which a file may have been changed again, unseen, in the tick in which it was looked at (`is_fresh`).
        contested: those of them that other containers may write to.
        blind: why nobody can tell by this whether a tree has changed; what is in memory has been taken down anyway.
        roster: how the processes look from inside, as far as they had not ended meanwhile.
    """

    packets: int
    processes: frozenset[Process]
    files: dict[str, Fingerprint]
    memory: Memory
    fresh: frozenset[str] = frozenset()
    contested: frozenset[str] = frozenset()
    blind: str = ""
    roster: dict[Process, Inside] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Scene:
    """Where to look.

    Attributes:
        pid: of the first process.
        group: with all of them.
        trees: directories with what was written to its root file system and its volumes, by what to call them.
        others_write: those of `trees` that other containers may write to.
        blind: why nobody can or wants to tell whether a tree has changed; `trees` is empty then.
    """

    pid: int
    group: Group
    trees: dict[str, Path]
    others_write: frozenset[str] = field(default=frozenset())
    blind: str = ""

    def packets(self) -> int:
        """How many have passed its links. OSError if it has ended."""
        return procfs.packets(self.pid)

    def look(self) -> Evidence:
        """All there is; whatever happens meanwhile, if not seen now, makes a difference later: packets come first.

        Raises:
            OSError: something cannot be read.
            Exhausted: there are too many files in memory.
        """
        began = now()
        packets = self.packets()
        files, memory = self.files_in_memory(), self._memory()
        trees, blind = self._trees_or_why_not()
        files |= trees
        fresh = frozenset(place for place, taken in files.items() if is_fresh(taken, began))
        contested = fresh & self.others_write
        processes = self.processes()
        return Evidence(packets, processes, files, memory, fresh, contested, blind, self.roster(processes))

    def _trees_or_why_not(self) -> tuple[dict[str, Fingerprint], str]:
        if self.blind:
            return {}, self.blind
        try:
            trees = self._trees()
        except (OSError, TfError) as error:
            return {}, str(error)
        for place, taken in trees.items():
            if counts_seconds(taken):
                return {}, f"{place or '/'}: its file system keeps times by the second"
        return trees, ""

    def settled(self, seen: Evidence) -> Evidence:
        """As `seen`, but with the processes and the memory as they are now."""
        processes = self.processes()
        return replace(seen, processes=processes, memory=self._memory(), roster=self.roster(processes))

    def stood_still(self, seen: Evidence) -> bool:
        """True if nothing can have changed, since none of its processes has run and nothing has arrived. That takes a moment
        to tell, however much it has written. False says nothing, as for one with volumes: others write to those.

        Raises:
            OSError: one of its processes has ended.
        """
        if seen.blind or seen.memory.cpu is None or self.trees.keys() > {""}:
            return False
        return self.packets() == seen.packets and self._cpu_at_rest(seen.processes) == seen.memory.cpu

    def _cpu_at_rest(self, processes: Iterable[Process]) -> float | None:
        """Processor time used so far; None if one is running, which has not been charged for that yet."""
        if not all(procfs.is_at_rest(process.pid) for process in processes):
            return None
        return self.group.cpu_seconds()

    def change(self, seen: Evidence) -> tuple[str, Evidence]:
        """The first difference to what was seen, or why nobody can tell; empty if there is none. And what was seen, with the
        processor time that had been used by now, if that is so: what happens from then on is for the next look.

        Raises:
            OSError: something cannot be read.
            Exhausted: there are too many files.
        """
        cpu = None if seen.blind else self._cpu_at_rest(self.processes())
        change = self._change(seen)
        if change or cpu is None:
            return change, seen
        return "", replace(seen, memory=replace(seen.memory, cpu=cpu))

    def _change(self, seen: Evidence) -> str:
        if seen.blind:
            return seen.blind
        if self.packets() != seen.packets:
            return "network traffic"
        if self.processes() != seen.processes:
            return "its processes"
        files = self._trees() | self.files_in_memory()
        for place in seen.files.keys() | files.keys():
            if path := first_difference(seen.files.get(place, {}), files.get(place, {})):
                return f"{place}{path}"
        if door := self._door_of_others(files):
            return f"others may talk to it by {door}, and what they have said may wait there unseen"
        return self._change_of_memory(seen.memory)

    def processes(self) -> frozenset[Process]:
        """Those of its group, as they are now."""
        found = set()
        for pid in self.group.pids():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                found.add(procfs.process(pid))
        return frozenset(found)

    def roster(self, processes: Iterable[Process]) -> dict[Process, Inside]:
        """How processes look from inside; those that have ended meanwhile are left out."""
        found = {}
        for process in processes:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found[process] = procfs.inside(process.pid)
        return found

    def _trees(self) -> dict[str, Fingerprint]:
        with ExitStack() as stack:
            return {name: fingerprint(_opened(path, stack)) for name, path in self.trees.items()}

    def files_in_memory(self) -> dict[str, Fingerprint]:
        """The stamps of the files of its own that no storage knows, by where they are mounted. Errors as `look`."""
        with ExitStack() as stack:
            return {mount.place: fingerprint(top) for mount, top in self._in_memory(stack)}

    def _in_memory(self, stack: ExitStack) -> Iterator[tuple[Mounted, int]]:
        """The file systems in memory, and descriptors of their top directories."""
        root = open_process_root(self.pid)
        stack.callback(os.close, root)
        for mount in procfs.writable_mounts(self.pid, (MEMORY_FILES, QUEUES)):
            top = open_in_root(root, mount.place, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, top)
            if os.fstat(top).st_dev != mount.device:
                raise OSError(errno.ESTALE, "something else is mounted there by now", mount.place)
            yield mount, top

    def _door_of_others(self, files: dict[str, Fingerprint]) -> str:
        """A socket or pipe in a volume by which another container may have reached it; empty if there is none."""
        return next((f"{place}{path}" for place in sorted(self.others_write) for path in doors(files[place])), "")

    def _change_of_memory(self, seen: Memory) -> str:
        if seen.cpu is not None and self.group.usage().cpu_seconds == seen.cpu:
            return ""
        memory = self._memory()
        if hidden := seen.hidden or memory.hidden:
            return f"processor time, and {hidden} may be written to unseen"
        return "" if memory.digest == seen.digest else "shared memory"

    def _memory(self) -> Memory:
        """Processor time comes first: what is written after it was read shows in it."""
        cpu = self.group.usage().cpu_seconds
        with ExitStack() as stack:
            mounted = list(self._in_memory(stack))
            found = {mount: contents(top, most=LEGIBLE) for mount, top in mounted if mount.kind == MEMORY_FILES}
            queues = [mount for mount, top in mounted if mount.kind == QUEUES and os.listdir(top)]
        too_much = [mount for mount, digest in found.items() if digest is None]
        hidden = next((mount.place for mount in (*queues, *too_much)), "")
        digest = hashlib.blake2b(repr([(mount.place, found[mount]) for mount in found]).encode())
        for pid, mapping in self._mappings({mount.device for mount in found}):
            if mapping.name.startswith(SEGMENT) and mapping.end - mapping.start <= LEGIBLE:
                digest.update(_segment(pid, mapping))
            else:
                hidden = hidden or mapping.name
        return Memory(cpu, hidden, digest.digest())

    def _mappings(self, legible: set[int]) -> Iterator[tuple[int, SharedMapping]]:
        """Each thing once that a process may write to in memory and is not on one of the `legible` file systems."""
        found: dict[tuple[int, int, int], tuple[int, SharedMapping]] = {}
        for process in sorted(self.processes(), key=lambda process: process.pid):
            for mapping in procfs.shared_mappings(process.pid):
                readable = mapping.device in legible and not mapping.name.endswith(" (deleted)")
                if not readable and not mapping.name.startswith(PRIVATE):
                    size = mapping.end - mapping.start
                    found.setdefault((mapping.device, mapping.inode, size), (process.pid, mapping))
        yield from found.values()


def _opened(path: Path, stack: ExitStack) -> int:
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    stack.callback(os.close, top)
    return top


def _segment(pid: int, mapping: SharedMapping) -> bytes:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(mapping.start)
        return memory.read(mapping.end - mapping.start)
