"""Which control groups this process can see, read off its mount table. Pure but for `see`.

v2 is one tree (`cgroup2`) mounted on /sys/fs/cgroup. v1 is a tree per controller, or per set of controllers mounted
together, each at its own mount point below it. "Hybrid", as older systemd has it, is v1 with a `cgroup2` without
controllers at its side: that is v1 for us, and `private_hierarchies` leaves the other out because crun refuses to work when
it sees both (crun 1.8, "hybrid mode not supported").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MOUNTINFO = Path("/proc/thread-self/mountinfo")
"""The calling thread's: mount namespaces belong to threads."""

OPTIONS_OF_NO_CONTROLLER = frozenset({"rw", "ro", "none", "xattr", "clone_children", "noprefix", "cpuset_v2_mode"})


@dataclass(frozen=True)
class Layout:
    """What is mounted.

    Attributes:
        unified: mount point of the v2 tree, if it is what /sys/fs/cgroup is.
        controllers: v1: mount point of each controller ("memory", "name=systemd").
        hybrid: a v2 tree is mounted beside v1 controllers.
    """

    unified: Path | None = None
    controllers: Mapping[str, Path] = field(default_factory=dict)
    hybrid: bool = False


@dataclass(frozen=True)
class _Mount:
    number: int
    parent: int
    point: Path
    fstype: str
    options: tuple[str, ...]


def see(root: Path = ROOT) -> Layout:
    """The layout below `root`, as this thread's mount namespace has it."""
    return read_layout(MOUNTINFO.read_text(), root)


def read_layout(mountinfo: str, root: Path = ROOT) -> Layout:
    """The layout that a mount table (proc_pid_mountinfo(5)) describes."""
    visible = _visible([_read_mount(line) for line in mountinfo.splitlines()], root)
    controllers = {
        name: mount.point for mount in visible if mount.fstype == "cgroup" for name in _controllers_of(mount.options)
    }
    unified = [mount.point for mount in visible if mount.fstype == "cgroup2"]
    if controllers:
        return Layout(controllers=controllers, hybrid=bool(unified))
    return Layout(unified=root if root in unified else None)


def _read_mount(line: str) -> _Mount:
    before, _, after = line.partition(" - ")
    fstype, _source, options = after.split(" ", 2)
    number, parent, _device, _part, point = before.split(" ")[:5]
    return _Mount(int(number), int(parent), Path(point), fstype, tuple(options.split(",")))


def _visible(mounts: list[_Mount], root: Path) -> list[_Mount]:
    """Those at or below `root` that a path leads to: not covered by others, at their place or above it.

    The order of the table does not say which mount covers which: one that was made before it was attached comes too early.
    """
    children = {(mount.parent, mount.point): mount for mount in mounts if mount.parent != mount.number}
    numbers = {mount.number for mount in mounts}
    start = next((mount.parent for mount in mounts if mount.parent not in numbers or mount.parent == mount.number), 0)

    def found_at(path: Path) -> int:
        current = start
        for place in (*reversed(path.parents), path):
            while child := children.get((current, place)):
                current = child.number
        return current

    return [mount for mount in mounts if mount.point.is_relative_to(root) and found_at(mount.point) == mount.number]


def _controllers_of(options: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        option
        for option in options
        if option not in OPTIONS_OF_NO_CONTROLLER and ("=" not in option or option.startswith("name="))
    )
