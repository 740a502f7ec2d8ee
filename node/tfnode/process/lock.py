"""One launcher per node directory, and none while the last one's keeper still sweeps: two file locks.

`node.lock` is the launcher's alone. `sweep.lock` is shared by the launcher and the keepers it forks, so it is free only when
all of them are gone. Both are the kernel's to release: a lock file left behind means nothing.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Self

from tfcore.clock import Clock, monotonic
from tfcore.errors import DeadlineExceeded, HostLacks, WrongState
from tfcore.undo import Undo

KEEPER_SECONDS = 60.0
"""How long the keeper of a killed launcher may take to end and sweep what was left."""

LOOK_EVERY = 0.02


class NodeLock:
    """Both locks of a node directory, held from entering to leaving the block (or until this process is dead).

    Entering raises WrongState if another launcher serves the directory, DeadlineExceeded if the keeper of a killed one does
    not come to an end, HostLacks if the directory cannot be made or written to.
    """

    def __init__(self, root: Path, *, clock: Clock = monotonic) -> None:
        self._root = root
        self._clock = clock
        self._node = -1
        self._sweep = -1

    def __enter__(self) -> Self:
        with Undo() as undo:
            undo.push(self.release)
            self._open_files()
            self._take_node()
            self._wait_for_keeper()
            undo.done()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Close both; what other processes share stays theirs."""
        self.leave_node()
        if self._sweep >= 0:
            os.close(self._sweep)
            self._sweep = -1

    def leave_node(self) -> None:
        """For a forked keeper: keep a share of `sweep.lock` only."""
        if self._node >= 0:
            os.close(self._node)
            self._node = -1

    def _open_files(self) -> None:
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._node = self._open("node.lock")
            self._sweep = self._open("sweep.lock")
        except OSError as refused:
            raise HostLacks(
                f"{self._root} cannot be a node's directory: {refused.strerror}",
                hint="run the node as root, or choose another directory",
            ) from refused

    def _open(self, name: str) -> int:
        return os.open(self._root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _take_node(self) -> None:
        if not _try(self._node):
            holder = os.pread(self._node, 32, 0).decode("ascii", "replace").strip() or "?"
            raise WrongState(
                f"a node already serves {self._root} (process {holder})",
                hint="stop that one first, or give this one a directory of its own",
            )
        os.ftruncate(self._node, 0)
        os.pwrite(self._node, f"{os.getpid()}\n".encode(), 0)

    def _wait_for_keeper(self) -> None:
        end = self._clock() + KEEPER_SECONDS
        while not _try(self._sweep):
            if self._clock() > end:
                raise DeadlineExceeded(
                    f"the node that served {self._root} before is still being swept after {KEEPER_SECONDS:g} s",
                    hint="the log of that node's keeper says what it waits for",
                )
            time.sleep(LOOK_EVERY)


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
