"""What a failed test has changed in its containers, for its report: asked for while they still are as it left them.

Looking must not keep a test long, and must never hide its failure: there is one deadline for all containers, and what cannot
be told is a line that says why.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from pytest_tf.guarded import Guarded
from tfcore.errors import TfError
from tfnz.difference import Difference

SECONDS = 3.0
"""That looking at all containers of a test may take."""

LEAST = 0.2
"""Seconds with less than which it is no use to begin."""

SHOWN = 20
"""Lines of each kind."""


class Changes(NamedTuple):
    """What has changed in one container: in a few words, and in lines."""

    summary: str
    lines: str


def changes_in(some: Iterable[Guarded]) -> dict[Guarded, Changes]:
    """What has changed in containers since the snapshots they go back to; those without one, and those of which there is
    nothing to tell, are left out."""
    until = time.monotonic() + SECONDS
    some = [one for one in some if one.baseline]
    names = {str(one.container.ip): one.name for one in some}
    told = {one: _told(one, names, until) for one in some}
    return {one: changes for one, changes in told.items() if changes.lines}


def _told(one: Guarded, names: dict[str, str], until: float) -> Changes:
    seconds = until - time.monotonic()
    if seconds < LEAST:
        return Changes("not known", "(looking at the other containers has taken all the time there was)")
    try:
        difference = one.container.diff(one.baseline, most=SHOWN, timeout=seconds)
    except TfError as error:
        return Changes("not known", f"(it cannot be told: {error})")
    return Changes(difference.summary(), "\n".join(_with_names(difference, names).lines(SHOWN)))


def _with_names(difference: Difference, names: dict[str, str]) -> Difference:
    """Peers that are containers of the test are called by their fixtures' names."""
    known = tuple(replace(one, peer=names.get(one.peer, one.peer)) for one in difference.connections)
    return replace(difference, connections=known)
