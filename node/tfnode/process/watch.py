"""The launcher's eyes on one agent: hears it, passes a stop on to it, and stays until it and all below it are gone.

Knows nothing of other lives.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tfcore import service_manager
from tfcore.clock import Clock, monotonic
from tfcore.errors import DeadlineExceeded, Internal, TfError
from tfnode.process.birth import unpacked
from tfnode.process.channel import Channel, Message, Word
from tfnode.process.plan import HostSide, NoUplink, Plan
from tfnode.process.remains import DEATH_SECONDS, LOOK_EVERY, Remains, attempt
from tfnode.process.signals import Signals

log = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_SENTENCE = 2000
"""Characters of the sentence about the uplink that reach the agent."""

KERNEL_SECONDS = 0.02
"""How long the kernel gets to end what is below a dead agent before we look for what holds it up."""


@dataclass(frozen=True)
class Child:
    """An agent as its launcher knows it."""

    pid: int
    pidfd: int
    channel: Channel

    def signal(self, number: signal.Signals) -> None:
        """Send `number`, to this process and no later one of the same pid."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            log.debug("the agent %d was gone before %s", self.pid, number.name)

    def close(self) -> None:
        """Close the descriptors; the process itself is not touched."""
        self.channel.close()
        os.close(self.pidfd)


@dataclass(frozen=True)
class Ended:
    """How a life ended."""

    status: int
    """As `os.waitpid` gives it."""

    asked: bool
    """The launcher was told to stop."""

    up: bool
    """It had reported that it does its work."""

    failure: TfError | None
    """What it said, or what went wrong on our side."""

    seconds: float
    """From the beginning of the watch."""

    @property
    def in_good_order(self) -> bool:
        """True if there shall be no next life: we asked, or the agent's main function returned."""
        return self.asked or (self.status == 0 and self.failure is None)

    def cause(self) -> str:
        """What the kernel and the agent say about its end."""
        code = os.waitstatus_to_exitcode(self.status)
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return f"{how}: {self.failure}" if self.failure else how


class Watch(Generic[T]):
    """One agent's life, seen from the launcher."""

    def __init__(
        self, plan: Plan[T], child: Child, *, caught: Signals, remains: Remains, clock: Clock = monotonic
    ) -> None:
        self._plan = plan
        self._child = child
        self._remains = remains
        self._clock = clock
        self._began = clock()
        self._poll = select.poll()
        self._turns: dict[int, Callable[[], None]] = {}
        self._alarm: tuple[float, Callable[[], None]] | None = None
        self._dying_since: float | None = None
        self._status: int | None = None
        self._asked = self._up = False
        self._failure: TfError | None = None
        self._host_side: HostSide = NoUplink()
        self._caught = caught
        self._listen(caught.fileno(), self._on_signal)
        self._listen(child.pidfd, self._on_death)
        self._listen(child.channel.fileno(), self._on_message)

    def until_gone(self) -> Ended:
        """Serve the agent until it and everything in its pid namespace has ended.

        Raises:
            DeadlineExceeded: a killed agent does not end; a process of it hangs in the kernel.
        """
        try:
            while self._status is None:
                self._take_turns()
                if self._status is None:
                    self._ring()
        finally:
            attempt(self._host_side.close, "closing the uplink")
        return Ended(self._status, self._asked, self._up, self._failure, self._clock() - self._began)

    def _listen(self, fd: int, turn: Callable[[], None]) -> None:
        self._poll.register(fd, select.POLLIN)
        self._turns[fd] = turn

    def _take_turns(self) -> None:
        for fd, _ in self._poll.poll(self._patience()):
            if self._status is None:
                self._turns[fd]()

    def _patience(self) -> float | None:
        """Milliseconds until the alarm."""
        return None if self._alarm is None else max(0.0, self._alarm[0] - self._clock()) * 1000 + 1

    def _ring(self) -> None:
        if self._alarm is not None and self._clock() >= self._alarm[0]:
            action = self._alarm[1]
            self._alarm = None
            action()

    def _set_alarm(self, seconds: float, action: Callable[[], None]) -> None:
        self._alarm = (self._clock() + seconds, action)

    def _on_signal(self) -> None:
        if not self._caught.came():
            return
        if self._asked:
            log.warning("told to stop again: killing the agent")
            self._kill()
            return
        log.info("told to stop: the agent has %g s", self._plan.stop_timeout)
        self._asked = True
        self._child.signal(signal.SIGTERM)
        if self._dying_since is None:
            self._set_alarm(self._plan.stop_timeout, self._too_slow)

    def _too_slow(self) -> None:
        log.warning("the agent did not stop within %g s: killing it", self._plan.stop_timeout)
        self._kill()

    def _kill(self) -> None:
        self._child.signal(signal.SIGKILL)
        self._expect_death()

    def _on_death(self) -> None:
        while (said := self._child.channel.last_words()) is not None:
            self._heed(said)
        _, self._status = os.waitpid(self._child.pid, 0)

    def _on_message(self) -> None:
        said = self._child.channel.receive()
        if said is None:
            self._poll.unregister(self._child.channel.fileno())
            self._expect_death()
        else:
            self._heed(said)

    def _heed(self, said: Message) -> None:
        match said.word:
            case Word.IN_NETNS:
                self._make_uplink(said.fds[0])
            case Word.UP:
                log.info(
                    "the agent (process %d) is up after %.0f ms", self._child.pid, (self._clock() - self._began) * 1e3
                )
                self._up = True
                service_manager.notify("READY=1")
            case Word.FAILED:
                self._failure = unpacked(said.body)
            case Word.GO_ON:
                log.error("the agent said what only its launcher says")

    def _make_uplink(self, netns: int) -> None:
        try:
            self._host_side = self._plan.after_netns(self._child.pid, netns)
        except TfError as failure:
            self._lose(failure)
        except Exception as failure:  # whatever the uplink's maker meets, this life is over
            log.exception("the uplink could not be made")
            self._lose(Internal(f"the node's uplink could not be made: {failure!r}"))
        else:
            with contextlib.suppress(OSError):  # it has died meanwhile, and we are about to hear of it
                self._child.channel.send(Word.GO_ON, self._host_side.sentence[:LONGEST_SENTENCE].encode())
        finally:
            os.close(netns)

    def _lose(self, failure: TfError) -> None:
        self._failure = failure
        self._kill()

    def _expect_death(self) -> None:
        if self._dying_since is None:
            self._dying_since = self._clock()
            self._set_alarm(KERNEL_SECONDS, self._end_stragglers)

    def _end_stragglers(self) -> None:
        """The agent is dead and yet not gone: something below it cannot be killed by the kernel alone."""
        waited = self._clock() - (self._dying_since or 0.0)
        if waited > DEATH_SECONDS:
            raise DeadlineExceeded(
                f"the agent (process {self._child.pid}) is dead, but processes below it have not ended in {waited:.0f} s",
                hint="a process in state D in `ps -eo pid,stat,wchan,args` waits for a disk or a network file system",
            )
        self._remains.end_stragglers()
        self._set_alarm(LOOK_EVERY, self._end_stragglers)
