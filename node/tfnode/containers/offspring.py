"""Where the spares of one container come from: booted ahead, or made to be started (see `spares.Source`)."""

from __future__ import annotations

from typing import Literal

from tfnode.containers.ahead import Ahead
from tfnode.containers.life import Generation, Moment
from tfnode.containers.succession import Succession


class Offspring:
    """The generations to come of one container."""

    def __init__(self, ahead: Ahead, succession: Succession) -> None:
        self._ahead = ahead
        self._succession = succession
        self.refusal = ahead.refusal
        self.make = succession.make
        self.hurry = ahead.hurry
        self._under_way: set[int] = set()

    def name(self, moment: Moment) -> str:
        """See `spares.Source`."""
        return moment.root

    async def boot(self, moment: Moment) -> Generation:
        """See `spares.Source`."""
        number = self._succession.number()
        self._under_way.add(number)
        try:
            return await self._ahead.boot(number, moment)
        finally:
            self._under_way.discard(number)

    def abandon(self) -> None:
        """See `spares.Source`; what is being booted together with others is theirs."""
        self._ahead.give_up_waiting(*self._under_way)
        self._ahead.hurry()

    def tier(self, born: Generation, moment: Moment) -> Literal["spare", "created", ""]:
        """See `spares.Source`."""
        if not born.ahead:
            return "created" if self._succession.reaches(born) else ""
        return "spare" if not self._ahead.refusal(moment) and self._ahead.sound(born) else ""

    async def discard(self, born: Generation) -> None:
        """See `spares.Source`."""
        self._ahead.let_go(born)
        await self._succession.bury(born)
