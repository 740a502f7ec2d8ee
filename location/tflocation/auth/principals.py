"""A principal: what a public key stands for, and the text under which ZeroMQ reports it with every message.

The text carries the number of the row behind it, so that a connection made under a revoked key is never taken for its
successor of the same name. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tfcore.errors import BadRequest

Role = Literal["account", "node", "invitation"]

_NAME = r"[0-9A-Za-z][0-9A-Za-z_.-]{0,99}"
"""As the wire's `Name`."""

_TEXT = re.compile(rf"\A(account|node|invitation):({_NAME})#([0-9]{{1,18}})\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody with a key.

    Attributes:
        number: of the row of its key; never used again.
        id: a node's id, else "".
        operator: may ask about everything.
    """

    role: Role
    name: str
    number: int
    id: str = ""
    operator: bool = False

    @property
    def text(self) -> str:
        """As libzmq's User-Id."""
        return f"{self.role}:{self.name}#{self.number}"


def check_name(name: str) -> str:
    """`name` if an account or node can be called so. Raises `BadRequest` if not."""
    if not re.fullmatch(_NAME, name):
        raise BadRequest(f"{name[:100]!r} cannot be a name", hint="use up to 100 letters, digits, - _ and .")
    return name


def parse(text: str) -> tuple[Role, str, int] | None:
    """Role, name and number in a User-Id, or None if it is none of ours."""
    match = _TEXT.match(text)
    if match is None:
        return None
    role: Role = match[1]  # type: ignore[assignment]  # the pattern allows the three only
    return role, match[2], int(match[3])
