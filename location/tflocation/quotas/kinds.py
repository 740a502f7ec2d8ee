"""What accounts can be limited in, how an operator writes a limit, and how numbers are told. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tfcore.errors import BadRequest, QuotaExceeded

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
"""Powers of 1024, as `docker run --memory` has them."""

NO_LIMIT = ("none", "unlimited")

_NUMBER = re.compile(r"\A(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Kind:
    """One thing to be limited in.

    Attributes:
        noun: after a number, for people.
        bytes: its numbers are bytes.
        parts: it may be had in parts; otherwise its numbers are whole.
        way_out: what its user can do about a refusal.
    """

    noun: str
    bytes: bool = False
    parts: bool = False
    way_out: str = "end some of them"


KINDS = {
    "sessions": Kind("sessions", way_out="disconnect one"),
    "containers": Kind("containers", way_out="destroy one"),
    "memory": Kind("of memory for containers", bytes=True, way_out="ask for less with memory=, or destroy containers"),
    "cpu": Kind("cores for containers", parts=True, way_out="ask for less with cpus=, or destroy containers"),
    "volumes": Kind("volumes", way_out="destroy one"),
    "tunnels": Kind("open connections through tunnels", way_out="close some"),
    "disk": Kind("of images and kept snapshots", bytes=True, way_out="remove images or forget kept snapshots"),
}
"""By the names that operators write."""


def parse_all(words: Iterable[str]) -> dict[str, float | None]:
    """`containers=20 memory=8G tunnels=none` as numbers; None takes a limit away.

    Raises:
        BadRequest: a word is none of the kind; the message shows what is.
    """
    return dict(_parse(word) for word in words)


def _parse(word: str) -> tuple[str, float | None]:
    name, equals, text = word.partition("=")
    if name not in KINDS or not equals:
        raise BadRequest(
            f"{word[:100]!r} is no quota", hint=f"write NAME=LIMIT with one of {', '.join(KINDS)}, or NAME=none"
        )
    return name, None if text in NO_LIMIT else _number(name, KINDS[name], text)


def _number(name: str, kind: Kind, text: str) -> float:
    match = _NUMBER.match(text)
    if match is None or (match[2] and not kind.bytes):
        example = "8G" if kind.bytes else "2.5" if kind.parts else "20"
        raise BadRequest(f"{name}={text[:100]} is no limit", hint=f"a number as in {name}={example}, or {name}=none")
    number = float(match[1]) * UNITS[match[2].upper()]
    if not math.isfinite(number) or number >= 1 << 53:
        raise BadRequest(f"{name}={text[:100]} is too large", hint=f"{name}=none is no limit at all")
    return number if kind.parts else float(int(number))


def told(name: str, number: float) -> str:
    """A number of that kind for people: `20`, `2.5`, `8 GiB`."""
    if not KINDS[name].bytes:
        return _plain(number)
    for unit, size in reversed(UNITS.items()):
        if unit and number >= size:
            return f"{number / size:.4g} {unit}iB"
    return f"{_plain(number)} bytes"


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"


def written(limits: dict[str, float]) -> str:
    """Limits in the order of `KINDS`, as an operator would write them; "-" for none."""
    return " ".join(f"{name}={_short(name, limits[name])}" for name in KINDS if name in limits) or "-"


def _short(name: str, number: float) -> str:
    if KINDS[name].bytes:
        for unit, size in reversed(UNITS.items()):
            if number and number % size == 0:
                return f"{int(number // size)}{unit}"
    return _plain(number)


def refusal(account: str, kind: str, *, most: float, used: float, more: float) -> QuotaExceeded:
    """What is said to whoever wants `more` than is left."""
    about = KINDS[kind]
    return QuotaExceeded(
        f"account {account} is limited to {told(kind, most)} {about.noun}: {told(kind, used)} in use, and "
        f"{told(kind, more)} more asked for",
        hint=f"{about.way_out}, or ask the location's operator: tf-location account quota {account} {kind}=LIMIT",
        details={"quota": kind, "limit": _plain(most), "used": _plain(used), "asked": _plain(more)},
    )
