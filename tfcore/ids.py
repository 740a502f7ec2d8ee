"""Ids of sessions, containers, volumes, nodes and streams: made here, parsed here, never guessed.

An id is a one-letter kind, a dash and 22 characters of base62 (131 bits from the system's generator), so that nobody
holds the id of somebody else's object by chance and the kind shows in every log line.
"""

from __future__ import annotations

import re
import secrets
from typing import Literal

Kind = Literal["s", "c", "v", "n", "r", "x", "p"]
"""s session, c container, v volume, n node, r request, x snapshot, p process."""

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LENGTH = 22
PATTERN = r"\A[scvnrxp]-[0-9A-Za-z]{22}\Z"
_SHAPE = re.compile(PATTERN)


def new_id(kind: Kind) -> str:
    """A fresh id of `kind`."""
    number = secrets.randbelow(len(ALPHABET) ** LENGTH)  # the system is asked once, not for every character
    characters = []
    for _ in range(LENGTH):
        number, character = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[character])
    return f"{kind}-{''.join(characters)}"


def is_id(text: str, kind: Kind | None = None) -> bool:
    """True if `text` is shaped like an id (of `kind`, if given)."""
    return bool(_SHAPE.match(text)) and (kind is None or text[0] == kind)


def short(identifier: str) -> str:
    """The first characters of an id: enough for people and interface names, not for look-ups."""
    return identifier[2:10]
