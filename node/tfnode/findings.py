"""One thing that a node wants of its machine, and whether it is there. Knows nothing of how that was found out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing a node wants of its machine.

    Attributes:
        name: short and stable, for programs.
        ok: the machine has it.
        sentence: for people: what there is, or what is missing and what that means.
        way_out: what to do about it; empty if it is there.
        needed: no node runs without it.
    """

    name: str
    ok: bool
    sentence: str
    way_out: str = ""
    needed: bool = True
