"""Rounds of a campaign: a session each, in which one act after the other meets a fault; and shrinking one that fails."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.faults.campaign.faults import draw
from tests.faults.campaign.world import ACTS, Act, Broken, World
from tests.support.daemons import PrivateLocation
from tests.support.line import nothing_more, session_at
from tfcore.failpoints import VARIABLE, Order

ACTS_A_ROUND = 8


@dataclass(frozen=True)
class Step:
    """One act, and the fault it meets."""

    act: Act
    order: Order

    def __str__(self) -> str:
        return f"{self.act.__name__} with {self.order}"


@dataclass
class Tally:
    """What has happened so far.

    Attributes:
        fired: how often each fault has.
        outcomes: how acts ended: "done", or the error's code.
        broken: what did not hold, with the smallest steps that show it.
    """

    rounds: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """How many have fired."""
        return sum(self.fired.values())


class Armoury:
    """The file that arms a location's failpoints."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fired = path.with_suffix(".fired")

    def arm(self, *orders: Order) -> None:
        """These and no others, from now on."""
        with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False) as file:
            file.write("".join(f"{order}\n" for order in orders))
        os.replace(file.name, self._path)

    def fired(self) -> list[str]:
        """The names of those that have fired since it was asked last."""
        with contextlib.suppress(FileNotFoundError):
            lines = self._fired.read_text().splitlines()
            self._fired.unlink()
            return lines
        return []


def steps_of(seed: int, number: int) -> list[Step]:
    """What is done in a round."""
    random = Random(f"{seed}/{number}")
    return [Step(random.choice(ACTS), draw(random)) for _ in range(ACTS_A_ROUND)]


class Campaign:
    """Against one private location, whose failpoints it arms."""

    def __init__(self, place: PrivateLocation, image: str, seed: int) -> None:
        self._place = place
        self._image = image
        self._seed = seed
        self.armoury = armoury_of(place)
        self.tally = Tally()

    def round(self, number: int) -> None:
        """Play one round; what breaks in it is shrunk and told in the tally."""
        steps = steps_of(self._seed, number)
        self.tally.rounds += 1
        broken = self.play(steps, number)
        if broken:
            fewer, broken = shrink(steps, broken, lambda some: self.play(some, number))
            causes = "; ".join(map(str, fewer))
            self.tally.broken.append(f"round {number} of seed {self._seed}: {broken}\n    shown by: {causes}")

    def play(self, steps: Sequence[Step], number: int) -> str:
        """What was broken; "" if all held."""
        self.armoury.arm()
        try:
            with nothing_more_if_it_lives(self._place), session_at_once(self._place) as location:
                world = World(location, self._image, Random(f"{self._seed}/{number}/acts"))
                try:
                    for step in steps:
                        self._meet(world, step)
                finally:
                    self.armoury.arm()
                    world.end()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            return f"{type(error).__name__}: {error}"
        return ""

    def _meet(self, world: World, step: Step) -> None:
        self.armoury.arm(step.order)
        error = world.timely(step.act)
        self.armoury.arm()
        self.tally.outcomes[error.code if error else "done"] += 1
        self.tally.fired.update(self.armoury.fired())
        world.recover()


def armoury_of(place: PrivateLocation) -> Armoury:
    """That of a location made with `armed`."""
    return Armoury(Path(place.environment[VARIABLE]))


def armed(place: PrivateLocation) -> PrivateLocation:
    """Before it is started: its daemons look into a file for what is to fail."""
    place.environment[VARIABLE] = str(place.directory / "failpoints")
    return place


@contextlib.contextmanager
def session_at_once(place: PrivateLocation):  # type: ignore[no-untyped-def]
    """A session, whatever the location has been through."""
    location = place.connect()
    try:
        yield location
    finally:
        location.disconnect()


@contextlib.contextmanager
def nothing_more_if_it_lives(place: PrivateLocation):  # type: ignore[no-untyped-def]
    """See `nothing_more`; for a location that may have to be started first."""
    with session_at(place):
        pass
    with nothing_more(place):
        yield


def shrink(steps: Sequence[Step], broken: str, play: Callable[[Sequence[Step]], str]) -> tuple[Sequence[Step], str]:
    """Leave out steps, one after the other, as long as what is left still breaks something."""
    kept = list(steps)
    for step in list(steps):
        fewer = [other for other in kept if other is not step]
        if fewer and (still := play(fewer)):
            kept, broken = fewer, still
    return kept, broken


__all__ = ["Broken", "Campaign", "Tally", "armed", "shrink", "steps_of"]
