"""A private location for a benchmark: with a directory of its own, and stopped when the benchmark is over."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfnz import local
from tfnz.location import Location

IDLE = "600"
"""Seconds the daemons wait for the next session of the run."""

STOP_TIMEOUT = 30.0
"""Seconds they may take to end."""


@contextmanager
def private_location(directory: Path) -> Iterator[Location]:
    """A session with a local location that keeps everything in `directory`; its daemons end afterwards."""
    with daemons_in(directory), Location(local.NAME) as location:
        yield location


@contextmanager
def daemons_in(directory: Path) -> Iterator[None]:
    """Local locations of this process and its children are in `directory` meanwhile; afterwards nothing runs there."""
    before = {name: os.environ.get(name) for name in ("TF_LOCAL_DIR", "TF_LOCAL_IDLE")}
    os.environ.update(TF_LOCAL_DIR=str(directory), TF_LOCAL_IDLE=IDLE)
    try:
        yield
    finally:
        stop(directory)
        shutil.rmtree(local.run_directory(directory), ignore_errors=True)
        for name, value in before.items():
            _restore(name, value)


def _restore(name: str, value: str | None) -> None:
    if value is None:
        del os.environ[name]
    else:
        os.environ[name] = value


def daemon_of(directory: Path) -> int | None:
    """The process id of the location's daemon, if it runs."""
    ready = local.running(local.run_directory(directory))
    return None if ready is None else ready.pid


def stop(directory: Path) -> None:
    """End the daemons and wait for their end; nothing to do if none runs.

    Raises:
        TimeoutError: they did not end in time.
    """
    pid = daemon_of(directory)
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        daemon = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(daemon, signal.SIGTERM)
            if not select.select([daemon], [], [], STOP_TIMEOUT)[0]:
                raise TimeoutError(f"the local location (process {pid}) did not end within {STOP_TIMEOUT:g} s")
        finally:
            os.close(daemon)
