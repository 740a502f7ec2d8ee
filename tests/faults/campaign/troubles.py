"""What goes wrong from outside: daemons that are killed, a cable that is cut or slow."""

from __future__ import annotations

import contextlib
import enum
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.campaign.armoury import Armoury
from tests.support.cable import Cable
from tests.support.daemons import PrivateLocation, RemoteLocation
from tfcore.failpoints import VARIABLE, Order
from tfnz.location import Location


class Kind(enum.StrEnum):
    """What happens."""

    AGENT_KILLED = "agent killed"
    LOCATION_KILLED = "location killed"
    CUT = "link cut"
    SLOW = "link slow"


@dataclass(frozen=True)
class Trouble:
    """One of these in the middle of an act.

    Attributes:
        after: seconds from its beginning.
        length: seconds until it is over, if it ends.
    """

    kind: Kind
    after: float
    length: float

    @classmethod
    def draw(cls, random: Random, kinds: tuple[Kind, ...]) -> Trouble:
        return cls(random.choice(kinds), random.choice((0.0, 0.005, 0.02, 0.08)), random.choice((0.01, 0.1, 0.5)))

    @classmethod
    def parse(cls, text: str) -> Trouble:
        """One from what `str` makes of it."""
        kind, _, when = text.partition(" after ")
        after, length = when.removesuffix(" s").split(" s for ")
        return cls(Kind(kind), float(after), float(length))

    def __str__(self) -> str:
        return f"{self.kind} after {self.after:g} s for {self.length:g} s"


class Local:
    """A private location, reached by sockets of the machine."""

    kinds: tuple[Kind, ...] = (Kind.AGENT_KILLED,)

    def __init__(self, directory: Path, storage: str) -> None:
        self.armoury = Armoury(directory / "failpoints")
        self.place: PrivateLocation | RemoteLocation = PrivateLocation(directory, storage=storage)
        self.place.environment[VARIABLE] = str(directory / "failpoints")

    def connect(self) -> Location:
        """A session."""
        return self.place.connect()

    def log(self) -> str:
        """What the daemons have written."""
        assert isinstance(self.place, PrivateLocation)
        return self.place.log()

    def close(self) -> None:
        """End it."""
        self.place.stop()

    @contextlib.contextmanager
    def met(self, fault: Order | Trouble) -> Iterator[None]:
        """What is done in the block meets it; it is over afterwards."""
        if isinstance(fault, Order):
            with self.armoury.armed(fault):
                yield
            return
        thread = threading.Thread(target=self._happen, args=(fault,))
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def _happen(self, trouble: Trouble) -> None:
        time.sleep(trouble.after)
        self.cause(trouble)

    def cause(self, trouble: Trouble) -> None:
        """Let it happen, and be over."""
        self.place.node.kill_agent()


class Remote(Local):
    """A location over TCP, by a cable."""

    kinds = tuple(Kind)

    def __init__(self, directory: Path, storage: str) -> None:
        self.armoury = Armoury(directory / "failpoints")
        self._remote = RemoteLocation(
            directory,
            storage=storage,
            name="faults.test",
            lease=60.0,
            environment={VARIABLE: str(directory / "failpoints")},
            through=self._lay,
        )
        self.place = self._remote

    def _lay(self, port: int) -> int:
        self._cable = Cable(port)
        return self._cable.port

    def log(self) -> str:
        return self._remote.log("location") + self._remote.log("node")

    def close(self) -> None:
        self.place.stop()
        self._cable.close()

    def cause(self, trouble: Trouble) -> None:
        if trouble.kind is Kind.AGENT_KILLED:
            super().cause(trouble)
        elif trouble.kind is Kind.LOCATION_KILLED:
            self._remote.kill("location")
            self._remote.start_location()
        else:
            with self._cable.cut() if trouble.kind is Kind.CUT else self._cable.slow(0.02):
                time.sleep(trouble.length)
