"""Failpoints: named steps that a test can have fail, hang, be late or kill their process, in daemons that really run.

    TF_FAILPOINTS=FILE tf-node serve ...       the file may change at any time; each line arms one step:

    storage.place=errno(ENOSPC)                that step fails as the system does on a full disk
    crun.create=error(command-failed)          ... with an error of ours, by its code
    nft.run=delay(20)@3                        20 ms late, the third time it is reached
    ledger.write=kill*2                        the process kills itself; as a fault it counts for the first two times

Without the variable a failpoint costs one comparison, and its name where that is put together. Whoever may set a daemon's
environment may do anything to it, so this opens no door. What fired is appended to `FILE.fired`, a line each. Knows nothing
of what the steps do.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tfcore.errors import BadRequest, error_for

VARIABLE = "TF_FAILPOINTS"

GRAMMAR = re.compile(
    r"(?P<name>[a-z]+(?:[.-][a-z]+)*)=(?P<action>errno|error|delay|hang|kill)(?:\((?P<what>[^()]*)\))?"
    r"(?:@(?P<first>[0-9]+))?(?:\*(?P<times>[0-9]+))?"
)
HANG = 3600.0
"""Seconds; whoever waits for the step has given up long before."""


@dataclass(frozen=True)
class Order:
    """What is to happen at one step.

    Attributes:
        what: the errno's name, the error's code or the milliseconds.
        first: at which time it is reached this begins, from 1.
        times: how often; 0 for ever.
    """

    name: str
    action: str
    what: str = ""
    first: int = 1
    times: int = 1

    @classmethod
    def parse(cls, text: str) -> Order:
        """An order from its line.

        Raises:
            BadRequest: it is none; the message has the grammar.
        """
        found = GRAMMAR.fullmatch(text.strip())
        if found is None:
            raise BadRequest(
                f"{text!r} is no failpoint",
                hint="NAME=errno(ENOSPC)|error(CODE)|delay(MS)|hang|kill, then @FIRST, then *TIMES",
            )
        order = cls(
            found["name"], found["action"], found["what"] or "", int(found["first"] or 1), int(found["times"] or 1)
        )
        order._check()
        return order

    def _check(self) -> None:
        if self.action == "errno" and not hasattr(errno, self.what):
            raise BadRequest(f"{self.what!r} is no errno", hint="a name such as ENOSPC")
        if self.action == "delay" and not self.what.isdigit():
            raise BadRequest(f"{self.what!r} is no number of milliseconds")

    def applies(self, reached: int) -> bool:
        """True if it is to happen the `reached`-th time."""
        return reached >= self.first and (self.times == 0 or reached < self.first + self.times)

    def happen(self) -> None:
        """Let it happen, in the calling thread."""
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.action in ("hang", "delay"):
            time.sleep(HANG if self.action == "hang" else int(self.what) / 1000)
        if self.action == "errno":
            number = getattr(errno, self.what)
            raise OSError(number, f"{os.strerror(number)} (failpoint {self.name})")
        if self.action == "error":
            raise error_for(self.what, f"failpoint {self.name}", details={})

    def __str__(self) -> str:
        what = f"({self.what})" if self.what else ""
        return f"{self.name}={self.action}{what}@{self.first}*{self.times}"


class Orders:
    """Those in one file, read anew whenever it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._orders: dict[str, Order] = {}
        self._reached: Counter[str] = Counter()

    def reach(self, name: str) -> None:
        """The step is about to be taken.

        Raises:
            OSError, TfError: as its order says.
        """
        with self._lock:
            self._refresh()
            self._reached[name] += 1
            order = self._orders.get(name)
            if order is None or not order.applies(self._reached[name]):
                return
            with self._path.with_suffix(".fired").open("a") as fired:
                fired.write(f"{order}\n")
        order.happen()

    def _refresh(self) -> None:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            self._orders, self._stamp = {}, None
            return
        stamp = (status.st_ino, status.st_mtime_ns)
        if stamp != self._stamp:
            lines = [line for line in self._path.read_text().splitlines() if line.strip()]
            self._orders = {order.name: order for order in map(Order.parse, lines)}
            self._reached.clear()
            self._stamp = stamp


_orders = Orders(Path(os.environ[VARIABLE])) if os.environ.get(VARIABLE) else None


def failpoint(name: str) -> None:
    """A step that can fail by itself is about to be taken.

    Raises:
        OSError, TfError: a test has armed it so.
    """
    if _orders is not None:
        _orders.reach(name)
