"""Rounds of a campaign: a session each, in which one act after the other meets a fault; and shrinking one that fails."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.faults.campaign.faults import draw
from tests.faults.campaign.troubles import Kind, Local, Trouble
from tests.faults.campaign.world import ACTS, Act, World
from tests.support.line import nothing_more, session_at
from tfcore.failpoints import Order
from tfnz.location import Location

ACTS_A_ROUND = 8
OUTSIDE = 0.1
"""The share of faults that come from outside."""


@dataclass(frozen=True)
class Step:
    """One act, and the fault it meets."""

    act: Act
    fault: Order | Trouble

    def __str__(self) -> str:
        return f"{self.act.__name__} with {self.fault}"

    @classmethod
    def parse(cls, text: str) -> Step:
        """A step from what `str` makes of it."""
        name, _, fault = text.strip().partition(" with ")
        act = next(act for act in ACTS if act.__name__ == name)
        return cls(act, Order.parse(fault) if "=" in fault else Trouble.parse(fault))


@dataclass
class Tally:
    """What has happened so far.

    Attributes:
        happened: how often each fault has.
        outcomes: how acts ended: "done", or the error's code.
        broken: what did not hold, with the smallest steps that show it.
    """

    rounds: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """How many have happened."""
        return sum(self.happened.values())


def steps_of(seed: int, number: int, kinds: tuple[Kind, ...]) -> list[Step]:
    """What is done in a round."""
    random = Random(f"{seed}/{number}")
    return [Step(random.choice(ACTS), _fault(random, kinds)) for _ in range(ACTS_A_ROUND)]


def _fault(random: Random, kinds: tuple[Kind, ...]) -> Order | Trouble:
    return Trouble.draw(random, kinds) if random.random() < OUTSIDE else draw(random)


class Campaign:
    """Against one location, whose failpoints it arms."""

    def __init__(self, ground: Local, image: str, seed: int) -> None:
        self._ground = ground
        self._image = image
        self._seed = seed
        self.tally = Tally()

    def round(self, number: int) -> None:
        """Play one round; what breaks in it is shrunk and told in the tally."""
        steps = steps_of(self._seed, number, self._ground.kinds)
        self.tally.rounds += 1
        broken = self.play(steps, number)
        if broken:
            fewer, broken = shrink(steps, broken, lambda some: self.play(some, number))
            causes = "; ".join(map(str, fewer))
            self.tally.broken.append(f"round {number} of seed {self._seed}: {broken}\n    shown by: {causes}")

    def play(self, steps: Sequence[Step], number: int) -> str:
        """What was broken; "" if all held."""
        try:
            with self._session() as location:
                world = World(location, self._image, Random(f"{self._seed}/{number}/acts"))
                for step in steps:
                    self._meet(world, step)
                world.end()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            return f"{type(error).__name__}: {error}"
        return ""

    @contextlib.contextmanager
    def _session(self) -> Iterator[Location]:
        """One that has left nothing when it is over."""
        with session_at(self._ground.place):
            pass  # the location runs, and what the last round left is being cleared away
        with nothing_more(self._ground.place), self._ground.connect() as location:
            yield location

    def _meet(self, world: World, step: Step) -> None:
        with self._ground.met(step.fault):
            error = world.timely(step.act)
        self.tally.outcomes[error.code if error else "done"] += 1
        self._count(step.fault)
        world.recover()

    def _count(self, fault: Order | Trouble) -> None:
        if isinstance(fault, Trouble):
            self.tally.happened[str(fault.kind)] += 1
        fired, self._ground.armoury.fired = self._ground.armoury.fired, []
        self.tally.happened.update(order.partition("@")[0] for order in fired)


def shrink(steps: Sequence[Step], broken: str, play: Callable[[Sequence[Step]], str]) -> tuple[Sequence[Step], str]:
    """Leave out steps, one after the other, as long as what is left still breaks something."""
    kept = list(steps)
    for step in list(steps):
        fewer = [other for other in kept if other is not step]
        if fewer and (still := play(fewer)):
            kept, broken = fewer, still
    return kept, broken
