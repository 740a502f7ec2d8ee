"""The process `tf-node serve`: stays in the host's namespaces, starts the agent in its own and starts it again when it dies.

One thread, few imports: the agent is forked from here and shares its memory; what it needs more it imports itself. A
node's own containers never depend on this process being polite: if it is killed, the kernel kills the agent with all
below it, and the keeper sweeps. Knows nothing of what the agent does, and not whether it is root of the machine or of a user
namespace (`userns`): the way to fork (`forking`) is the same.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from typing import Generic, TypeVar

from tfcore.clock import Clock, monotonic
from tfnode.process import birth, keeper, kernel
from tfnode.process.backoff import Backoff
from tfnode.process.channel import Channel
from tfnode.process.forking import fork_first_of_namespace
from tfnode.process.lock import NodeLock
from tfnode.process.plan import Plan
from tfnode.process.remains import Remains
from tfnode.process.signals import Signals
from tfnode.process.watch import Child, Ended, Watch

log = logging.getLogger(__name__)

T = TypeVar("T")


def run(plan: Plan[T]) -> None:
    """Serve a node until SIGTERM, SIGINT or SIGHUP, or until the agent's main function returns.

    Must be called by the only thread of the process; its signal handlers are back afterwards.

    Raises:
        WrongState: another launcher serves `plan.root`.
        DeadlineExceeded: something below a dead agent, of this launcher or the one before, does not end.
        HostLacks: the kernel refuses the namespaces or mounts, or `plan.root` cannot be written to.
        TfError: what the first agent said when it failed before it was up.
    """
    with NodeLock(plan.root) as lock, Signals() as caught:
        _Launcher(plan, lock, caught).serve()


class _Launcher(Generic[T]):
    def __init__(self, plan: Plan[T], lock: NodeLock, caught: Signals, *, clock: Clock = monotonic) -> None:
        self._plan = plan
        self._lock = lock
        self._caught = caught
        self._clock = clock
        self._remains = Remains(plan.end_stragglers, plan.sweep)
        self._was_up = False

    def serve(self) -> None:
        self._remains.end_stragglers()
        self._remains.sweep()
        backoff = Backoff()
        number = 1
        while not (ended := self._one_life(number)).in_good_order:
            pause = self._next_life_after(ended, backoff)
            if self._caught.wait(pause):
                log.info("told to stop while there was no agent")
                return
            number += 1
        log.info("the agent %s: the node has stopped", ended.cause())

    def _next_life_after(self, ended: Ended, backoff: Backoff) -> float:
        """Seconds until there shall be another life; raises what went wrong if none ever worked."""
        self._was_up = self._was_up or ended.up
        if ended.failure is not None and not self._was_up:
            raise ended.failure
        pause = backoff.pause(ended.seconds)
        log.warning("the agent %s after %.1f s: a new one in %g s", ended.cause(), ended.seconds, pause)
        return pause

    def _one_life(self, number: int) -> Ended:
        child = self._fork_agent(number)
        try:
            with keeper.beside(
                child.pidfd,
                caught=self._caught,
                remains=self._remains,
                leave_to_launcher=lambda: self._leave(self._lock.leave_node, child.channel),
            ):
                watch = Watch(self._plan, child, caught=self._caught, remains=self._remains, clock=self._clock)
                ended = watch.until_gone()
                self._remains.sweep()
                return ended
        except BaseException:  # a defect, or a process that cannot be killed: what can be ended ends now
            child.signal(signal.SIGKILL)
            raise
        finally:
            child.close()

    def _fork_agent(self, number: int) -> Child:
        ours, theirs = Channel.pair()
        birth.flush_streams()
        with self._caught.held_back():
            with kernel.refusals_told():
                pid = fork_first_of_namespace()
            if pid == 0:
                birth.become_agent(
                    self._plan, theirs, number, leave_to_launcher=lambda: self._leave(self._lock.release, ours)
                )
        theirs.close()
        log.info("life %d of the agent: process %d", number, pid)
        return Child(pid, os.pidfd_open(pid), ours)

    def _leave(self, leave_lock: Callable[[], None], channel: Channel) -> None:
        """In a forked child: close what tells others that the launcher lives."""
        leave_lock()
        self._caught.close()
        channel.close()
