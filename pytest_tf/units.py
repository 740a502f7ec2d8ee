"""Which containers are snapshot and rolled back as one: those that may talk to each other.

Had one of them its new state while another one still lived in its old one, the old one could write into the new one; and a
location lets the next lives of such containers boot among themselves. Knows nothing of when that is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from pytest_tf.guarded import Guarded

Unit = tuple[Guarded, ...]
"""Containers that are treated as one; most often a single one."""


def units_of(some: Iterable[Guarded]) -> list[Unit]:
    """Some containers, put together where one may talk to another, directly or by way of others of them.

    Those that share a volume, or are on different nodes, are units of their own: no location puts these back as one.
    """
    left = list(some)
    found: list[Unit] = []
    while left:
        linked = _linked(left[0], left)
        left = [one for one in left if one not in linked]
        found += [linked] if _can_be_one(linked) else [(one,) for one in linked]
    return found


def _linked(first: Guarded, some: Sequence[Guarded]) -> Unit:
    found = {first}
    while more := {one for one in some if one not in found and any(_may_talk(one, other) for other in found)}:
        found |= more
    return tuple(one for one in some if one in found)


def _may_talk(one: Guarded, other: Guarded) -> bool:
    return other.container in one.container.partners


def _can_be_one(linked: Unit) -> bool:
    same_node = all(one.container.node is other.container.node for one, other in pairwise(linked))
    return same_node and not any(one.shares_with(other) for one in linked for other in linked if one is not other)


def share(unit: Unit, other: Unit) -> bool:
    """True if a container of each has a volume that rolls back with both."""
    return any(one.shares_with(two) for one in unit for two in other)
