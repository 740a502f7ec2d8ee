"""Which kept snapshots have to go: those whose time is over, and what an account has beyond the limit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Set

from tflocation.kept.shelf import Kept

GIVEN_UP = 900.0
"""Seconds after which nobody will ask again for one that was being made when the location ended."""


def overdue(all_kept: Iterable[Kept], now: float, *, under_way: Set[str] = frozenset()) -> list[Kept]:
    """Those that have expired, and those that nobody finishes.

    Args:
        now: seconds since the epoch.
        under_way: ids of those that are just being made.
    """
    return [kept for kept in all_kept if _is_over(kept, now, under_way)]


def _is_over(kept: Kept, now: float, under_way: Set[str]) -> bool:
    if kept.state == "making":
        return kept.id not in under_way and now - kept.created >= GIVEN_UP
    return kept.state == "kept" and kept.expires is not None and kept.expires <= now


def beyond(of_account: Iterable[Kept], limit: int, *, used: Set[str] = frozenset()) -> list[Kept]:
    """The oldest evictable ones of an account that have to go for the rest to hold `limit` bytes or less; not those that
    something is being spawned from. If that is not enough, the rest stays all the same."""
    present = sorted((kept for kept in of_account if kept.state == "kept"), key=lambda kept: kept.created)
    excess = sum(kept.size for kept in present) - limit
    going = []
    for kept in present:
        if excess <= 0:
            break
        if kept.evictable and kept.id not in used:
            going.append(kept)
            excess -= kept.size
    return going
