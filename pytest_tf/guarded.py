"""A container under the plugin's care: who made it, what it goes back to, where its log stood when a test began.

Its methods do one thing each and raise the SDK's errors; when they are called is `isolation.py`'s business.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tfcore.errors import TfError

if TYPE_CHECKING:
    from pytest_tf.specs import ContainerSpec
    from tfnz.container import Container

RANK = {"function": 0, "class": 1, "module": 2, "package": 3, "session": 4}
"""pytest's scopes, narrow to wide."""

_SCOPES = {"test": "function", "class": "class", "module": "module"}


def level_of(isolate: str, lives: str) -> str:
    """The scope after which a container isolated so is rolled back; "" if it does not outlive that scope.

    Args:
        lives: the scope of the fixture it was made in.
    """
    scope = _SCOPES.get(isolate, "")
    return scope if scope and RANK[scope] < RANK[lives] else ""


class Window(NamedTuple):
    """A piece of a container's log: records from `start` to before `end`, or to the last one."""

    start: int
    end: int | None = None


EVERYTHING = Window(0)


@dataclass(eq=False)
class Guarded:
    """One container.

    Attributes:
        name: of the fixture it was made in.
        owner: that fixture's definition.
        isolate: one of `options.ISOLATE`.
        spec: what it was made from, unless by the user's own call of the SDK.
        volumes: that it has mounted.
        baseline: the snapshot the next rollback returns to, once there is one.
        stale: a wider fixture was set up or torn down since the baseline: the next test needs a new one.
        trouble: why the baseline that is due could not be taken. told: a test has failed for it.
        used: by a test since the last rollback.
        included: fixtures whose work is in the baseline.
        broken: why it does not run, if the last rollback failed and building it again did, too.
        window: its log since the current test began.
        former: its log during the test before the last rollback.
    """

    container: Container
    name: str
    owner: Any
    isolate: str
    spec: ContainerSpec | None = None
    volumes: tuple[Any, ...] = ()
    baseline: str = ""
    stale: bool = False
    trouble: str = ""
    told: bool = False
    used: bool = False
    broken: str = ""
    window: Window = EVERYTHING
    former: Window = EVERYTHING
    included: set[Any] = field(default_factory=set)

    @property
    def level(self) -> str:
        """The pytest scope after which it is rolled back; "" for never, as when it does not outlive that scope."""
        return level_of(self.isolate, self.owner.scope)

    def shares_with(self, other: Guarded) -> bool:
        """True if both have a volume that rolls back with them."""
        return any(volume in other.volumes and not volume.persistent for volume in self.volumes)

    def take_baseline(self, *, mark_log: bool) -> float:
        """Snapshot it as it is now; the seconds that took."""
        begun = time.monotonic()
        self.container.wait_until_ready()
        self.baseline = self.container.snapshot()
        self.stale = False
        if mark_log:
            self.mark()
        return time.monotonic() - begun

    def roll_back(self, *, mark_log: bool) -> tuple[float, str]:
        """Back to the baseline; (seconds, how)."""
        begun = time.monotonic()
        rolled = self.container.rollback(self.baseline)
        seconds = time.monotonic() - begun
        self.used = False
        self.former = Window(self.window.start, rolled.log_mark)
        if mark_log:
            self.mark()
        return seconds, rolled.tier

    def rebuild(self) -> None:
        """Build it again from its baseline, whatever state it is in: same address, same tunnels."""
        self.container.rebuild(self.baseline)
        self.used = False
        self.broken = ""
        self.former, self.window = self.window, EVERYTHING

    def mark(self) -> None:
        """What it writes from now on belongs to the next test."""
        self.window = Window(self.container.log_mark())

    def has_died(self) -> bool:
        """True if it ended by itself and nothing has booted it since."""
        if self.container.end is None:
            return False
        try:
            return self.container.status().state in ("ended", "failed")
        except TfError:
            return True

    def log(self, window: Window) -> str:
        """What it wrote in a window."""
        lines = self.container.logs(since=window.start)
        count = None if window.end is None else max(0, window.end - window.start)
        return "".join(line["log"] for line in lines[:count])


def with_sharers(some: Collection[Guarded], living: Iterable[Guarded]) -> list[Guarded]:
    """Some containers and those that share a volume with one of them: what is done to one of them is done to all."""
    found = set(some)
    living = list(living)
    while more := {one for one in living if one not in found and any(one.shares_with(other) for other in found)}:
        found |= more
    return [one for one in living if one in found]
