"""What one's account may have at a location, and has: for people who wonder, and for those who were refused.

A refusal itself is `tfcore.errors.QuotaExceeded`, raised by what was asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfcore.wire.sessions import AskStatus

if TYPE_CHECKING:
    from tfnz.location import Location


@dataclass(frozen=True)
class Quota:
    """One limit of an account.

    Attributes:
        kind: `sessions`, `containers`, `memory`, `cpu`, `volumes`, `tunnels` or `disk`.
        used: how much of it there is now, by all sessions of the account; bytes of memory and disk, cores of cpu.
        limit: how much there may be.
    """

    kind: str
    used: float
    limit: float

    def __str__(self) -> str:
        if self.kind in ("memory", "disk"):
            return f"{self.kind} {self.used / 2**30:.2f} of {self.limit / 2**30:.2f} GiB"
        return f"{self.kind} {self.used:g} of {self.limit:g}"


def quotas(location: Location) -> list[Quota]:
    """The limits of the account a session belongs to; none if it is not limited.

    Raises:
        TfError: the location cannot be asked.
    """
    report = json.loads(location._call(AskStatus()).report)
    mine = report.get("quotas", {}).get(location.account, {})  # an older location knows no quotas
    return [Quota(kind, numbers["used"], numbers["limit"]) for kind, numbers in mine.items()]
