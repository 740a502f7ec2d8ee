"""From the fork to the agent's main function: what the child of the launcher does to become pid 1 of a node.

The order is the design. Mount namespace first, while there is one thread, so that all later threads share it. Then
`before_netns`, whose threads keep the host's network. Then the network namespace, sysfs and cgroups as seen from it, and
the launcher's uplink. Knows nothing of what the agent does.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from tfcore.errors import DeadlineExceeded, Internal, TfError, error_for
from tfnode.process import kernel, signals
from tfnode.process.channel import Channel, Word
from tfnode.process.plan import Life, Plan

log = logging.getLogger(__name__)

T = TypeVar("T")

UPLINK_SECONDS = 30.0
"""How long the agent waits for the launcher to make the uplink."""

PLAIN = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC

FAILED = 1
"""Exit status of an agent whose main function (or the way there) failed."""


def become_agent(plan: Plan[T], channel: Channel, number: int, *, leave_to_launcher: Callable[[], None]) -> NoReturn:
    """Be the agent until its end; called in the forked child with `signals.STOP` blocked, never returns.

    Args:
        plan: the node's.
        channel: the agent's end.
        number: of this life.
        leave_to_launcher: closes what the agent must not hold open.
    """
    status = FAILED
    try:
        leave_to_launcher()
        os.environ.pop("NOTIFY_SOCKET", None)  # crun would hand it on to containers
        signals.hear_only_term()
        signals.let_through()
        _die_with_launcher(channel)
        plan.agent_main(_come_to_life(plan, channel, number))
        status = 0
    except SystemExit as wish:
        status = wish.code if isinstance(wish.code, int) else FAILED
    except BaseException as error:  # noqa: BLE001 - the process's last boundary: nothing above but the launcher's stack
        _report(error, channel)
    finally:
        _leave(status)


def _leave(status: int) -> NoReturn:
    """End without unwinding into the launcher's frames, which this process has copies of."""
    logging.shutdown()
    flush_streams()
    os._exit(status)


def flush_streams() -> None:
    """Write out what is buffered; before a fork, so that it is not written twice."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


def _die_with_launcher(channel: Channel) -> None:
    """Be killed when the launcher dies, also if it died already: its end of the channel closes before the kernel looks
    for processes to signal, so one of the two is always seen."""
    kernel.die_with_parent(signal.SIGKILL)
    if channel.other_end_is_gone():
        os._exit(FAILED)


def _come_to_life(plan: Plan[T], channel: Channel, number: int) -> Life[T]:
    _leave_terminal()
    with kernel.refusals_told():
        enter_mounts(plan.run)
    prepared = plan.before_netns()
    with kernel.refusals_told():
        enter_network()
    uplink = _wait_for_uplink(channel)
    return Life(
        number=number, incarnation=os.urandom(8).hex(), prepared=prepared, run=plan.run, uplink=uplink, channel=channel
    )


def _leave_terminal() -> None:
    """A Ctrl-C is for the launcher, which then stops the agent in good order."""
    os.setsid()
    kernel.name_process("tf-node-agent")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def enter_mounts(run: Path) -> None:
    """Own mount namespace, /proc of the own pid namespace, a private tmpfs on `run`.

    The tree stays a receiver of the host's mount events: a file system unmounted there must not stay busy because the
    agent still has a copy.

    Raises:
        OSError: the kernel refuses.
    """
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.receive_mounts_only()
    _replace_mount(Path("/proc"), "proc")
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    kernel.mount("tf-node", run, "tmpfs", PLAIN, "mode=0700")


def enter_network() -> None:
    """Own network namespace for this thread and those it starts, sysfs as seen from it, and the cgroups again beneath.

    Raises:
        OSError: the kernel refuses.
    """
    from tfnode.cgroups import private_hierarchies

    kernel.unshare(kernel.CLONE_NEWNET)
    with private_hierarchies():
        _replace_mount(Path("/sys"), "sysfs")


def _replace_mount(target: Path, fstype: str) -> None:
    # in a user namespace the host's mounts cannot be taken away; covered they are out of sight as well
    with contextlib.suppress(OSError):
        kernel.unmount_tree(target)
    kernel.mount(fstype, target, fstype, PLAIN)


def _wait_for_uplink(channel: Channel) -> str:
    # /proc/self is the process, whose first thread this may not be; the namespace belongs to the thread
    netns = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        channel.send(Word.IN_NETNS, fds=[netns])
    finally:
        os.close(netns)
    try:
        answer = channel.receive(UPLINK_SECONDS)
    except TimeoutError as late:
        raise DeadlineExceeded(f"the launcher made no uplink within {UPLINK_SECONDS:g} s") from late
    if answer is None or answer.word is not Word.GO_ON:
        os._exit(FAILED)
    return answer.body.decode()


def _report(error: BaseException, channel: Channel) -> None:
    if not isinstance(error, TfError):
        log.error("the agent failed", exc_info=error)
        error = Internal(f"the agent failed: {error!r}", hint="its log has the traceback")
    try:
        channel.send(Word.FAILED, packed(error))
    except OSError:
        log.error("the agent failed and its launcher is gone: %s", error)


def packed(error: TfError) -> bytes:
    """The body of a `Word.FAILED`; cut so that it fits into a message even if every character is escaped."""
    fields = {
        "code": error.code,
        "message": error.message[:4000],
        "hint": error.hint[:1000],
        "retryable": error.retryable,
        "details": {key[:100]: value[:300] for key, value in list(error.details.items())[:8]},
    }
    return json.dumps(fields).encode("ascii")


def unpacked(body: bytes) -> TfError:
    """The error in the body of a `Word.FAILED`, as its own type."""
    return error_for(**json.loads(body))
