"""A process beside the launcher for the length of one agent's life, there only for the launcher's kill -9.

The kernel then kills the agent and all below it, with two exceptions the keeper sees to: processes a version 1 freezer holds
(they keep the agent's pid namespace from ending), and what is left on disk. It does what the launcher does after an
agent's death and ends. While it works, `sweep.lock` keeps the next launcher waiting.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import NoReturn

from tfnode.process import kernel, signals
from tfnode.process.remains import Remains

log = logging.getLogger(__name__)

_DISMISSED = b"."


@contextlib.contextmanager
def beside(
    agent: int, *, caught: signals.Signals, remains: Remains, leave_to_launcher: Callable[[], None]
) -> Iterator[None]:
    """Have a keeper during the block; if the block fails, the keeper settles what the launcher then leaves.

    Args:
        agent: pidfd of the agent.
        caught: the launcher's signals, held back during the fork.
        remains: what to settle if the launcher is killed or fails.
        leave_to_launcher: called in the keeper: closes what it must not hold open.
    """
    ours, theirs = os.pipe()
    with caught.held_back():
        pid = os.fork()
        if pid == 0:
            os.close(theirs)
            _keep(ours, leave_to_launcher, lambda: remains.settle(agent))
    os.close(ours)
    try:
        yield
        with contextlib.suppress(BrokenPipeError):
            os.write(theirs, _DISMISSED)
    finally:
        os.close(theirs)
    os.waitpid(pid, 0)


def _keep(line: int, leave_to_launcher: Callable[[], None], settle: Callable[[], None]) -> NoReturn:
    status = 1
    try:
        leave_to_launcher()
        signals.hear_nothing()
        signals.let_through()
        os.setsid()
        kernel.name_process("tf-node-keeper")
        if os.read(line, 1) != _DISMISSED:
            log.warning("the launcher was killed or failed: ending and sweeping what it left")
            settle()
        status = 0
    except BaseException:  # the process's last boundary
        log.exception("the keeper could not sweep: the next start of the node will")
    finally:
        logging.shutdown()
        os._exit(status)
