"""A container under the plugin's care: who made it, what it goes back to at the end of which level, where its log stood.

Its methods do one thing each and raise the SDK's errors; when they are called is `isolation.py`'s business.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_tf.baseline_cache import NOWHERE, Cached
from pytest_tf.levels import RANK, Level, narrower, scope_of
from tfcore.errors import TfError

if TYPE_CHECKING:
    from pytest_tf.specs import ContainerSpec
    from tfcore.wire.containers import RolledBack
    from tfcore.wire.differences import LookFor
    from tfnz.container import Container

log = logging.getLogger(__name__)


class Window(NamedTuple):
    """A piece of a container's log: records from `start` to before `end`, or to the last one."""

    start: int
    end: int | None = None


EVERYTHING = Window(0)


class Pushed(NamedTuple):
    """A level that has begun for a container.

    Attributes:
        snapshot: what the container goes back to when the level ends; levels between which nothing happened share one.
        trouble: why there is none.
    """

    level: Level
    snapshot: str
    trouble: str = ""


@dataclass(eq=False)
class Guarded:
    """One container.

    Attributes:
        name: of the fixture it was made in.
        owner: that fixture's definition.
        isolate: one of `options.ISOLATE`.
        spec: what it was made from, unless by the user's own call of the SDK.
        volumes: that it has mounted.
        cached: where its prepared state is kept.
        levels: that have begun for it, wide to narrow.
        baseline: the snapshot it was last taken as or put back to.
        touched: a test or a fixture may have changed it since.
        due: the snapshot it must be put back to before anybody uses it: a rollback that has been put off.
        taken: its snapshots, oldest first.
        kept: those that were in use when the others were last dropped.
        told: a test has failed for its trouble.
        broken: why it does not run, if the last rollback failed and building it again did, too.
        tier: how the last rollback was done.
        went_along: nothing had happened to it before that, but to another one that goes back with it.
        window: its log since the current test began.
        former: its log during the test before the last rollback.
    """

    container: Container
    name: str
    owner: Any
    isolate: str
    spec: ContainerSpec | None = None
    volumes: tuple[Any, ...] = ()
    cached: Cached = NOWHERE
    levels: list[Pushed] = field(default_factory=list)
    baseline: str = ""
    touched: bool = True
    due: str = ""
    taken: list[str] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    told: bool = False
    broken: str = ""
    tier: str = ""
    went_along: bool = False
    window: Window = EVERYTHING
    former: Window = EVERYTHING

    @property
    def scope(self) -> str:
        """The narrowest pytest scope after which it is rolled back; "" for never, as when it does not outlive that scope."""
        return scope_of(self.isolate, self.owner.scope)

    @property
    def trouble(self) -> str:
        """Why a level it is in has no snapshot; "" if all have."""
        return next((pushed.trouble for pushed in self.levels if pushed.trouble), "")

    def goes_back_after(self, level: Level, home: Level) -> bool:
        """True if it is rolled back at the end of a level.

        Args:
            home: the level it lives in.
        """
        return bool(self.scope) and RANK[level.scope] >= RANK[self.scope] and narrower(level, home)

    def is_as(self, snapshot: str) -> bool:
        """True if it is known to be as in a snapshot."""
        return self.baseline == snapshot and not self.touched

    def first_within(self, home: Level) -> int | None:
        """The index in `levels` of the widest one inside of another level; None if there is none."""
        return next((i for i, pushed in enumerate(self.levels) if narrower(pushed.level, home)), None)

    def shares_with(self, other: Guarded) -> bool:
        """True if both have a volume that rolls back with them."""
        return any(volume in other.volumes and not volume.persistent for volume in self.volumes)

    def stands_at(self, snapshot: str, *, mark_log: bool) -> None:
        """It was snapshot just now."""
        self.baseline = snapshot
        self.taken.append(snapshot)
        self.touched = False
        if mark_log:
            self.mark()

    def is_back(self, rolled: RolledBack, *, mark_log: bool) -> None:
        """It has been put back to its baseline."""
        self.touched = False
        self.tier = rolled.tier
        self.went_along = rolled.went_along
        self.former = Window(self.window.start, rolled.log_mark)
        if mark_log:
            self.mark()

    def rebuild(self) -> None:
        """Build it again from its baseline, whatever state it is in: same address, same tunnels."""
        self.container.rebuild(self.baseline)
        self.touched = False
        self.broken = ""
        self.former, self.window = self.window, EVERYTHING

    def put_off(self, snapshot: str) -> None:
        """Do not roll back now: a wider level is about to end, and one rollback does for both."""
        self.due = snapshot
        self.former = self.window

    def drop_unused(self) -> None:
        """Drop the snapshots that no level goes back to, newest first. One that others grew from stays until they go."""
        used = {self.baseline, self.due, *(pushed.snapshot for pushed in self.levels)}
        if used == self.kept:
            return
        self.kept = used
        for snapshot in [one for one in reversed(self.taken) if one not in used]:
            try:
                self.container.drop_snapshot(snapshot)
            except TfError as error:
                log.info("snapshot %s of %s stays for now: %s", snapshot, self.name, error)
            else:
                self.taken.remove(snapshot)

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


def keep(some: Sequence[Guarded], *, mark_log: bool) -> float:
    """Snapshot some containers as they are now, at one instant; the seconds that took."""
    begun = time.monotonic()
    for one in some:
        one.container.wait_until_ready()
    first = some[0].container
    name = first.snapshot() if len(some) == 1 else first.location.snapshot([one.container for one in some])
    for one in some:
        one.stands_at(name, mark_log=mark_log)
    return time.monotonic() - begun


def put_back(snapshots: dict[Container, str], *, look_for: LookFor = "nothing") -> dict[Container, RolledBack]:
    """Put one container, or several as one, back to a snapshot each; what is told of each."""
    first, *others = snapshots
    if not others:
        return {first: first.rollback(snapshots[first], look_for=look_for)}
    return first.location.rollback(list(snapshots), snapshots, look_for=look_for)


def back(some: Sequence[Guarded], *, mark_log: bool, look_for: LookFor) -> tuple[float, dict[Container, RolledBack]]:
    """Put some containers back to their baselines in one go; the seconds that took, and what is told of each."""
    begun = time.monotonic()
    rolled = put_back({one.container: one.baseline for one in some}, look_for=look_for)
    seconds = time.monotonic() - begun
    for one in some:
        one.is_back(rolled[one.container], mark_log=mark_log)
    return seconds, rolled


def with_sharers(some: Collection[Guarded], living: Iterable[Guarded]) -> list[Guarded]:
    """Some containers and those that share a volume with one of them: what is done to one of them is done to all."""
    found = set(some)
    living = list(living)
    while more := {one for one in living if one not in found and any(one.shares_with(other) for other in found)}:
        found |= more
    return [one for one in living if one in found]
