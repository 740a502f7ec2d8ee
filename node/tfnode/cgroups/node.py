"""The one group everything of a node lives in, and what a dead node leaves of it.

Knows which driver fits the machine; the rest of the agent only sees `Group`s.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from tfcore.errors import BadRequest, DeadlineExceeded
from tfnode.cgroups import layout
from tfnode.cgroups.group import KILL_SECONDS, REMOVE_SECONDS, Driver, Group
from tfnode.cgroups.layout import Layout
from tfnode.cgroups.v1 import V1
from tfnode.cgroups.v2 import V2
from tfnode.cgroups.without import Without

log = logging.getLogger(__name__)

PREFIX = "pytest-tf-"
NAME = re.compile(r"\A[0-9A-Za-z][0-9A-Za-z_.-]{0,99}\Z")


def open_node_group(name: str, seen: Layout | None = None) -> Group:
    """Make the group of node `name`, after ending and removing what an earlier life of it left.

    Args:
        name: unique among the nodes of this machine: letters, digits, `_`, `.`, `-`.
        seen: the machine's layout; looked up by default.

    Returns:
        The node's group. `notes` says what this machine's control groups cannot do; where there are none we may use, that is
        all of it, and the group works by signals.

    Raises:
        BadRequest: a name that cannot be a directory's.
        DeadlineExceeded: an earlier life's processes would not end.
    """
    if not NAME.match(name):
        raise BadRequest(f"{name!r} cannot be a node's name", hint="letters, digits, and _ . - after the first")
    driver = driver_for(layout.see() if seen is None else seen)
    group = Group(driver, f"/{PREFIX}{name}")
    try:
        _end(group)
        group.create()
    except OSError as refused:
        log.warning("control groups are out of reach: %s", refused)
        with contextlib.suppress(OSError, DeadlineExceeded):
            group.remove()
        return Group(Without(f"{refused.filename}: {refused.strerror}"), group.path)
    return group


def driver_for(seen: Layout) -> Driver:
    """The driver for what is mounted."""
    if seen.controllers:
        return V1(seen.controllers)
    if seen.unified is not None:
        return V2(seen.unified)
    return Without("none are mounted")


def end_node_groups(name: str, seen: Layout | None = None) -> None:
    """End every process a dead node left in its groups, frozen ones too, and remove the groups.

    For whoever outlives the node's agent: in v1 a frozen process does not die even when the kernel kills its whole pid
    namespace, until somebody thaws it.

    Raises:
        DeadlineExceeded: some would not end, or the kernel would not let a group go.
    """
    _end(Group(driver_for(layout.see() if seen is None else seen), f"/{PREFIX}{name}"))


def _end(group: Group) -> None:
    group.kill(timeout=KILL_SECONDS)
    group.remove(timeout=REMOVE_SECONDS)


def node_group_names(seen: Layout | None = None) -> frozenset[str]:
    """The names of all nodes, living or dead, that have a group on this machine."""
    found = layout.see() if seen is None else seen
    return frozenset(path.name.removeprefix(PREFIX) for top in _tops(found) for path in top.glob(f"{PREFIX}*"))


def _tops(seen: Layout) -> Iterator[Path]:
    if seen.unified is not None:
        yield seen.unified
    yield from seen.controllers.values()
