"""A container, and a node, as root sees them on the machine: processes, control groups, mounts, links, files.

For what must be compared from outside, because whoever is inside may be wrong or lie. Knows the names a node gives things,
nothing of the wire.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from tests.support import by_namespaces
from tfnode.testing.trees import Manifest, describe
from tfnz.container import Container

CGROUPS = Path("/sys/fs/cgroup")
NOT_FILES = ("proc", "sys", "dev")
"""What the kernel shows in a container's root, and no rollback is about; /dev/shm is described by itself."""


def groups_named(name: str) -> list[Path]:
    """The control groups of that name below any node's, in every hierarchy of the machine."""
    return [group for top in groups_of_nodes("*") for group in _below(top, name)]


def groups_of_nodes(name: str) -> list[Path]:
    """The control groups of the nodes of that name (a pattern): in the one tree of version 2 or in each of version 1."""
    return [top for pattern in (f"pytest-tf-{name}", f"*/pytest-tf-{name}") for top in CGROUPS.glob(pattern)]


def _below(top: Path, name: str) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):  # it is another node's, and that has just ended
        return [*top.glob(name), *top.glob(f"*/{name}")]
    return []


def processes_of(container: Container) -> set[int]:
    """All processes of a container, those of a spare generation included, as the host numbers them."""
    if tops := groups_named(container.uuid):
        return _members(group for top in tops for group in (top, *top.rglob("*")))
    return set().union(*by_namespaces.generations(container.uuid).values())


def generation_processes(container: Container, number: int) -> set[int]:
    """The processes of one generation."""
    if tops := groups_named(container.uuid):
        return _members(top / f"g{number}" for top in tops)
    return by_namespaces.generations(container.uuid).get(number, set())


def _members(groups: object) -> set[int]:
    found: set[int] = set()
    for group in groups:  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):  # not a group, or gone meanwhile
            found |= {int(pid) for pid in (group / "cgroup.procs").read_text().split()}
    return found


def main_process(container: Container) -> int:
    """The first process of the generation that lives now."""
    living = generation_processes(container, container.status().generation)
    first = [pid for pid in living if by_namespaces.numbers(pid)[-1:] == [1]]
    assert len(first) == 1, f"{container!r}: {first} of {living} are first processes"
    return first[0]


def root_of(container: Container) -> Path:
    """Its root directory, volumes and all, as its first process sees it."""
    return Path(f"/proc/{main_process(container)}/root")


def files_of(container: Container, *, without: Collection[str] = ()) -> dict[str, Manifest]:
    """Everything in it that a rollback brings back: the root with what is mounted in it, and /dev/shm.

    Args:
        without: further paths to leave out.
    """
    root = root_of(container)
    memory = describe(root / "dev/shm")
    memory[""] = replace(memory[""], modified=0)  # it is another file system in each generation
    return {"/": describe(root, without=(*NOT_FILES, *without)), "/dev/shm": memory}


MAY_BE_KEPT = ("pipe", "anon_inode:[event")


@dataclass(frozen=True)
class Holdings:
    """What an agent has: it must be no more after any session than before it, but for what it may `keep`."""

    mounts: frozenset[str]
    links: frozenset[str]
    groups: frozenset[str]
    trees: frozenset[str]
    processes: int
    descriptors: tuple[str, ...]
    kept: int = field(compare=False)
    """Pipes, of which the relay keeps some ready, and event descriptors: pyzmq makes some with the first large message."""


def no_more_than(before: Holdings, after: Holdings) -> bool:
    """True if an agent has nothing that it had not. Less it may: it was clearing away, at first."""
    sets = all(getattr(after, name) <= getattr(before, name) for name in ("mounts", "links", "groups", "trees"))
    more = Counter(after.descriptors) - Counter(before.descriptors)
    return sets and not more and after.processes <= before.processes


def new_in(before: Holdings, after: Holdings) -> list[str]:
    """What there is more, or less, than before, in words."""
    words = []
    for name in (entry.name for entry in fields(Holdings) if entry.compare):
        was, now = getattr(before, name), getattr(after, name)
        if isinstance(was, frozenset):
            was, now = sorted(was - now), sorted(now - was)
        elif isinstance(was, tuple):
            was, now = (dict(Counter(one) - Counter(other)) for one, other in ((was, now), (now, was)))
        if was != now:
            words.append(f"{name}: {was} before, {now} now")
    return words


def holdings(agent: int, *, name: str, root: Path) -> Holdings:
    """What the agent with this pid has now.

    Args:
        name: the node's.
        root: its directory.
    """
    place = Path(f"/proc/{agent}")
    descriptors = _descriptors(place / "fd")
    return Holdings(
        mounts=frozenset(
            f"{line.split()[0]} {line.split()[4]}" for line in (place / "mountinfo").read_text().splitlines()
        ),
        links=frozenset(line.partition(":")[0].strip() for line in (place / "net/dev").read_text().splitlines()[2:]),
        groups=frozenset(str(path) for top in groups_of_nodes(f"{name}-*") for path in top.glob("*")),
        trees=frozenset(path.name for part in ("data", "new", "trash") for path in (root / "storage" / part).glob("*")),
        processes=_in_its_namespace(agent),
        descriptors=tuple(name for name in descriptors if not name.startswith(MAY_BE_KEPT)),
        kept=sum(name.startswith(MAY_BE_KEPT) for name in descriptors),
    )


def _is_dead(process: str) -> bool:
    """Orphans of programs that were killed are collected, but not at once."""
    return "State:\tZ" in Path(f"/proc/{process}/status").read_text()


def _in_its_namespace(agent: int) -> int:
    wanted = os.readlink(f"/proc/{agent}/ns/pid_for_children")
    found = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                found += os.readlink(f"/proc/{name}/ns/pid") == wanted and not _is_dead(name)
    return found


def _descriptors(directory: Path) -> tuple[str, ...]:
    """What they stand for, sorted, without the numbers of sockets and pipes: those change with every connection."""
    found = []
    for entry in directory.iterdir():
        with contextlib.suppress(OSError):
            found.append(re.sub(r":\[\d+\]", "", os.readlink(entry)))
    return tuple(sorted(found))
