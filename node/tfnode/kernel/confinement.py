"""Root of the machine, or root of a user namespace only: which of the two we are, and what the kernel does otherwise then.

An ordinary user's node is the second (`process.userns`). Nothing here is asked before it has entered its namespace. Knows
nothing of how that was done.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MACHINE = "0 0 4294967295"
"""What /proc/PID/uid_map says where ids are the machine's own."""


@dataclass(frozen=True)
class Extent:
    """`count` ids from `inside` on are, one level further out, those from `outside` on (user_namespaces(7))."""

    inside: int
    outside: int
    count: int


def confined(uid_map: str | None = None) -> bool:
    """True in a user namespace that is not the machine's own.

    Args:
        uid_map: the text of /proc/self/uid_map; read by default.
    """
    text = _read("uid_map") if uid_map is None else uid_map
    return text.split() != MACHINE.split()


def extents(id_map: str) -> Iterator[Extent]:
    """The lines of a `uid_map` or `gid_map`."""
    for line in id_map.splitlines():
        inside, outside, count = map(int, line.split())
        yield Extent(inside, outside, count)


def roomiest_extent(id_map: str) -> Extent:
    """The largest extent of a map. All ids of a further namespace within have to be in one: the kernel maps no others."""
    return max(extents(id_map), key=lambda one: one.count)


@functools.cache
def overlay_marks() -> str:
    """How the names of overlayfs's own extended attributes begin.

    `trusted.*` is the machine's root's alone; in a user namespace overlays are mounted with `userxattr`, and keep their
    marks in `user.*` (Linux 5.11).
    """
    return "user.overlay." if confined() else "trusted.overlay."


@functools.cache
def opaque_mark() -> str:
    """The attribute, with the value "y", of a directory that hides all the layers below have in it."""
    return f"{overlay_marks()}opaque"


def _read(name: str) -> str:
    return Path("/proc/self", name).read_text()
