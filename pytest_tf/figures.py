"""What a run cost: boots, baselines and rollbacks, with their times. Plain numbers, so that xdist workers can send them.

Pure; the printing is `report.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

Boot = tuple[float, str]
"""(seconds until ready, container)"""

Prepared = tuple[float, str, bool]
"""(seconds it took, container, whether it was there from an earlier run)"""

Rollback = tuple[float, str, str, str]
"""(seconds, how, container, after which test)"""

Leak = tuple[str, str, str, int, str]
"""(which test, container, `process` or `file`, how many, some of their names)"""


@dataclass
class Figures:
    """Counts and times of one pytest process, or of several put together.

    Attributes:
        locations: where containers ran.
        boots: of all containers, in order.
        rollbacks: that succeeded, in order.
        baselines: seconds each took.
        rebuilt: names of containers that had to be built again from their baseline.
        prepared: the containers with a preparation.
        kept: directories that evidence was written to.
        leaks: what tests left in containers, in order.
        forked: names of containers that another worker had booted.
    """

    locations: list[str] = field(default_factory=list)
    boots: list[Boot] = field(default_factory=list)
    rollbacks: list[Rollback] = field(default_factory=list)
    baselines: list[float] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)
    prepared: list[Prepared] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    forked: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.locations)

    def as_dict(self) -> dict[str, Any]:
        """For `workeroutput`: lists, numbers and texts only."""
        return asdict(self)

    @classmethod
    def from_dict(cls, sent: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        return cls(**{f.name: list(sent.get(f.name, ())) for f in fields(cls)})

    def add(self, other: Figures) -> None:
        """Take another process's figures in."""
        self.locations += [name for name in other.locations if name not in self.locations]
        for f in fields(self)[1:]:
            getattr(self, f.name).extend(getattr(other, f.name))


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; 0 if there are none."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
