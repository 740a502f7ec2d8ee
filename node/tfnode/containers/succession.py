"""Which generation a container is, in which sandbox, and how the next one takes its place.

Every step says what there is afterwards if it fails. Knows nothing of why a generation is replaced, nor of readiness.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from tfcore.errors import TfError
from tfnode.containers.burials import Burials
from tfnode.containers.labour import Labour
from tfnode.containers.life import Birth, Generation, Generations, Moment
from tfnode.containers.sandbox import OWNER, Sandbox
from tfnode.containers.sandboxes import Sandboxes
from tfnode.containers.standing import Standing

log = logging.getLogger(__name__)


class Succession:
    """The generations of one container, one after the other.

    Args:
        sandbox: which the first ones join; it is this object's to leave.
        cut_connections: resets what the container's tunnels carry.
        sandboxes: takes back the sandboxes of generations that were booted ahead.

    Attributes:
        living: the generation that is the container, dead or alive; None before the first and after the last.
        sandbox: the one that is reached under the container's address.
    """

    def __init__(
        self,
        birth: Birth,
        sandbox: Sandbox,
        standing: Standing,
        generations: Generations,
        labour: Labour,
        cut_connections: Callable[[], None],
        sandboxes: Sandboxes,
    ) -> None:
        self.living: Generation | None = None
        self.sandbox = sandbox
        self._birth = birth
        self._standing = standing
        self._generations = generations
        self._labour = labour
        self._burials = Burials(birth, generations, labour, self._vacated)
        self._cut_connections = cut_connections
        self._sandboxes = sandboxes
        self._numbers = 0

    def number(self) -> int:
        """The number of the next generation, whether it comes to live or not."""
        self._numbers += 1
        return self._numbers

    async def make(self, moment: Moment) -> Generation:
        """A generation that only needs to be started, in the present sandbox; nothing remains if that fails."""
        return await self._labour.step(self._generations.make, self._birth, self.number(), moment, self.sandbox)

    async def renew(self, old: Generation) -> None:
        """End what runs, and let its files live on with new processes, that only need to be started."""
        await self.end_processes(old)
        await self.take_over(await self._labour.step(self._generations.renew, self._birth, old, self.number()))

    async def make_instead(self, moment: Moment) -> Generation:
        """As `make`, where there is only room for it when the present generation is gone."""
        old, self.living = self.living, None
        if old is not None:
            await self.end_processes(old)
            await self.bury(old)
        return await self.make(moment)

    async def replace(self, new: Generation) -> None:
        """End the present generation; `new`, which has not been started, is the container. If the old one cannot be ended,
        `new` is buried."""
        old = self.living
        try:
            if old is not None:
                await self.end_processes(old)
        except TfError:
            self._labour.begin(self.bury(new))
            raise
        await self.take_over(new, old)

    def bid_farewell(self) -> None:
        """What lives is about to end, and its tunnels' connections do."""
        self._standing.expect_end()
        self._cut_connections()

    async def end_processes(self, generation: Generation) -> None:
        """Nothing of it runs, and its connections have been reset."""
        self.bid_farewell()
        await self._labour.step(self._generations.cut_off, generation)

    async def take_over(self, new: Generation, old: Generation | None = None) -> None:
        """From here on `new` is the container; what is left of `old`, which is dead, is cleared away in the background.

        On a disk that is nearly full it is waited for: who goes back to before he filled it has its room again then.
        """
        self.living = new
        self._standing.new_life()
        former: list[str] = []
        crowded = old is not None and self._generations.crowded(old)
        try:
            former = await self._labour.step(self._generations.take_over, self._birth, new)
        finally:
            clearing = self._labour.begin(self._burials.clear_away(old, former))
            if crowded:
                await asyncio.shield(clearing)

    async def bury(self, *dead: Generation) -> None:
        """End generations and remove what they leave, and what earlier ones have left. Errors as `Burials.bury`."""
        await self._burials.bury(*dead)

    def _vacated(self, generation: Generation) -> None:
        if generation.sandbox is not self.sandbox:
            self._sandboxes.give_back(generation.sandbox)

    def reaches(self, generation: Generation) -> bool:
        """True if a generation that only needs to be started would be reached then."""
        return generation.sandbox is self.sandbox

    async def end(self) -> None:
        """There is no generation any more."""
        self.bid_farewell()
        last, self.living = self.living, None
        if last is not None:
            await self._burials.bury(last)

    async def leave(self) -> None:
        """Give address and sandboxes back, when nothing is left in them."""
        await self._labour.step(self._sandboxes.close)
        await self._labour.step(self.sandbox.leave, OWNER)


async def swap(takers: Sequence[tuple[Succession, Generation]]) -> bool:
    """Let generations that were booted ahead be their containers, all of them or none. False if that cannot be done: the old
    ones are as they were. Anything else that fails is what `Succession.take_over` raises, after all of them have taken over.
    """
    for succession, _ in takers:
        succession.bid_farewell()
    pairs = [(succession.living, new) for succession, new in takers]
    first = takers[0][0]
    try:
        await first._labour.step(first._generations.swap, pairs)
    except TfError as error:
        log.warning("%s cannot be swapped in: %s", " and ".join(new.runtime_id for _, new in takers), error)
        for succession, new in takers:
            succession._labour.begin(succession.bury(new))
        return False
    for succession, new in takers:
        succession.sandbox = new.sandbox
    await take_over([(succession, new, old) for (succession, new), (old, _) in zip(takers, pairs, strict=True)])
    return True


async def take_over(heirs: Sequence[tuple[Succession, Generation, Generation | None]]) -> None:
    """`Succession.take_over` of several; the first error is raised when all have."""
    steps = [succession.take_over(new, old) for succession, new, old in heirs]
    outcomes = await asyncio.gather(*steps, return_exceptions=True)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome
