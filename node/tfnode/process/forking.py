"""A fork whose child is pid 1 of a new pid namespace, in a way that an ordinary user's launcher has too.

Who calls unshare(CLONE_NEWPID) can fork once into that namespace. To fork elsewhere again they would have to go back to
their own by setns(2), which takes root of the whole machine. So a process in between calls it, forks, and ends, and its
child becomes the caller's. Knows nothing of what the child does.
"""

from __future__ import annotations

import errno
import os

from tfnode.process import kernel


def fork_first_of_namespace() -> int:
    """As `os.fork`, for a process with one thread: 0 in the child, which is pid 1 of its namespace; its pid in the parent.

    The child goes on when it is the parent's own: the parent may wait for it, and it gets the signal it asks for when the
    parent dies. If the parent dies earlier, the child goes on as an orphan.

    Raises:
        OSError: the kernel refuses, in the parent.
    """
    told, tell = os.pipe()
    turn, give_turn = os.pipe()
    between = _fork_between()
    if between == 0:
        os.close(told)
        os.close(give_turn)
        _fork_once(tell)
        os.close(tell)
        os.read(turn, 1)
        os.close(turn)
        return 0
    os.close(tell)
    os.close(turn)
    try:
        os.waitpid(between, 0)
        kernel.take_orphans(wanted=False)
        return _pid(os.read(told, 1024))
    finally:
        os.close(told)
        os.close(give_turn)


def _fork_between() -> int:
    """What the child leaves behind when it ends becomes this process's."""
    kernel.take_orphans(wanted=True)
    return os.fork()


def _fork_once(tell: int) -> None:
    """In the process in between: returns in the child only."""
    try:
        kernel.unshare(kernel.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            return
        os.write(tell, str(pid).encode())
    except OSError as refused:
        os.write(tell, f"-{refused.errno or errno.EIO} {refused.strerror}".encode())
    os._exit(0)


def _pid(words: bytes) -> int:
    """What the process in between has told: a pid, or a number and the kernel's words."""
    number, _, refusal = words.decode().partition(" ")
    if number.isdecimal():
        return int(number)
    raise OSError(-int(number or f"-{errno.ECHILD}"), refusal or "the process in between has died")
