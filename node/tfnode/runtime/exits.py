"""Who ended, and how: one thread that watches processes by descriptor and collects their exit status.

The agent is pid 1 of its namespace (or a subreaper), so whatever the OCI runtime leaves running becomes its child, and
`waitid` on the process's own descriptor gives its true exit status. Nothing here waits for "any child": that would steal the
status of programs others started, as `subprocess` does (PLATFORM, "Two more traps"). Of a process that is not our child only
its end can be seen, not how it ended. Knows nothing of containers.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tfcore.errors import DeadlineExceeded, WrongState
from tfnode.runtime.interface import Ended, Exit

log = logging.getLogger(__name__)

Judge = Callable[[Exit], Exit]
"""Adds to an exit what the kernel does not say."""

UNKNOWN: Final = Exit()


class WatchedProcess:
    """A process whose end will be noticed; made by `ExitWatcher.watch`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._exit: Exit | None = None
        self._pidfd = _open(pid)
        if self._pidfd is None:
            self.settle(UNKNOWN)

    @property
    def exit(self) -> Exit | None:
        """How it ended; None as long as it lives."""
        return self._exit

    def wait(self, timeout: float) -> Exit:
        """Wait for its end.

        Raises:
            DeadlineExceeded: it was still alive after `timeout` seconds.
        """
        if not self._ended.wait(timeout):
            raise DeadlineExceeded(f"process {self.pid} was still alive after {timeout:g} s")
        assert self._exit is not None
        return self._exit

    def signal(self, number: int) -> None:
        """Send signal `number` to it, and to no later process of the same pid.

        Raises:
            WrongState: it has ended.
        """
        with self._lock:
            if self._pidfd is not None:
                try:
                    signal.pidfd_send_signal(self._pidfd, number)
                    return
                except ProcessLookupError:
                    pass  # dead, only not yet collected
        raise WrongState(f"process {self.pid} has ended and takes no signal")

    def fileno(self) -> int | None:
        """Its descriptor, readable when it has ended; None once that was noticed."""
        return self._pidfd

    def settle(self, how: Exit) -> None:
        """Note its end and let go of the descriptor. The watcher's business."""
        with self._lock:
            if self._pidfd is not None:
                os.close(self._pidfd)
                self._pidfd = None
            self._exit = how
        self._ended.set()


@dataclass(frozen=True)
class _Watch:
    process: WatchedProcess
    judge: Judge | None
    ended: Ended | None


class ExitWatcher:
    """Watches any number of processes with one thread, which runs from the first `watch` until `close`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[int, _Watch] = {}
        self._epoll = select.epoll()
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._epoll.register(self._stop, select.EPOLLIN)
        self._thread: threading.Thread | None = None
        self._closed = False

    def watch(self, pid: int, *, judge: Judge | None = None, ended: Ended | None = None) -> WatchedProcess:
        """Watch process `pid`, which must not have been waited for yet.

        Args:
            pid: as this process's namespace numbers it.
            judge: asked, on the watcher's thread, to complete what the kernel says, before anybody is told.
            ended: told afterwards, on the same thread; must not block.

        Raises:
            WrongState: the watcher is closed.
        """
        process = WatchedProcess(pid)
        watch = _Watch(process, judge, ended)
        with self._lock:
            if self._closed:
                process.settle(UNKNOWN)
                raise WrongState("the watcher of exits is closed")
            self._run()
            if (fd := process.fileno()) is not None:
                self._watched[fd] = watch
                self._epoll.register(fd, select.EPOLLIN | select.EPOLLONESHOT)
                return process
        _tell(watch, UNKNOWN)
        return process

    def pids(self) -> frozenset[int]:
        """Those whose exit status this will collect, and nobody else may."""
        with self._lock:
            return frozenset(watch.process.pid for watch in self._watched.values())

    def close(self) -> None:
        """Stop watching. Those still alive count as ended, nobody knows how; nobody is told."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            thread, left = self._thread, list(self._watched.values())
            self._watched.clear()
        os.eventfd_write(self._stop, 1)
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        for watch in left:
            watch.process.settle(UNKNOWN)
        self._epoll.close()
        os.close(self._stop)

    def _run(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="tf-exits", daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        while True:
            for fd, _ in self._epoll.poll():
                if fd == self._stop:
                    return
                self._collect(fd)

    def _collect(self, fd: int) -> None:
        how = _collected(fd)
        with self._lock:
            watch = self._watched.pop(fd, None)
        if watch is not None:
            how = _judged(watch, how)
            watch.process.settle(how)
            _tell(watch, how)


def _open(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _collected(pidfd: int) -> Exit:
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        return UNKNOWN
    if result is None:
        return UNKNOWN
    if result.si_code == os.CLD_EXITED:
        return Exit(code=result.si_status)
    return Exit(signal=result.si_status)


def _judged(watch: _Watch, how: Exit) -> Exit:
    if watch.judge is None:
        return how
    try:
        return watch.judge(how)
    except Exception:  # one process's judge must not end the watch over all others
        log.exception("completing the exit of process %d failed", watch.process.pid)
        return how


def _tell(watch: _Watch, how: Exit) -> None:
    if watch.ended is None:
        return
    try:
        watch.ended(how)
    except Exception:  # as above
        log.exception("telling about the end of process %d failed", watch.process.pid)
