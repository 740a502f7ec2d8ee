"""A private location on this machine (DESIGN D13): daemon and node as one, for one user's processes, gone when idle.

Started by the SDK, `tf-location serve --local --dir DIR --run RUN --idle SECONDS`; what the two agree on:

    DIR/account     secret key of the one account, `local`
    RUN/ready       JSON (pid, endpoint, server_key, version), there and locked (flock) while clients are welcome
    RUN/location.sock, RUN/live.sock, RUN/node/…    sockets
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

import tfcore
from tfcore.errors import DeadlineExceeded
from tfcore.keys import text_of
from tflocation.daemon import Daemon
from tflocation.directory import Directory
from tflocation.localnode import LocalNode
from tflocation.options import ConfigFile, Options, check_socket_path, options_of, read

log = logging.getLogger(__name__)

NAME = "local"
"""Of the location and of its one account."""

LAST_CALL = 0.3
"""Seconds between saying that we are closed and closing: somebody may have read `ready` just before."""

FORMER = 30.0
"""Seconds to wait for a daemon of the same directory that is just stopping."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a private location is, and after how many seconds without a session it stops."""

    directory: Path
    run: Path
    idle: float


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What `RUN/ready` says."""

    pid: int
    endpoint: str
    server_key: str
    version: str


async def serve(place: Place, stop: asyncio.Event) -> None:
    """Serve until `stop` is set or nobody has had a session for a while.

    Raises:
        Unavailable: the node does not start.
        TfError: as the daemon says.
    """
    place.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with await _exclusive(place.run / "lock"):
        options, node = prepare(place)
        await node.wait_for_former()
        await node.start()  # it takes longer than we do
        try:
            daemon = Daemon(options)
            try:
                await daemon.start()
                await _serve(place, daemon, node, stop)
            finally:
                await node.stop()
                await daemon.stop()
        finally:
            await node.stop()


def prepare(place: Place) -> tuple[Options, LocalNode]:
    """Make what is missing: the location, its account, its node's key and configuration."""
    directory = Directory(place.directory)
    endpoint = f"ipc://{place.run / 'location.sock'}"
    check_socket_path(place.run / "node" / "tunnels.sock")
    if not directory.key.exists():
        directory.make(ConfigFile(name=NAME, address=endpoint, listen=()))
    directory.admit("account", NAME, directory.root / "account")
    node = LocalNode(directory.root / "node")
    node.directory.mkdir(mode=0o711, exist_ok=True)
    directory.admit("node", node.name, node.key)
    node.configure(endpoint=endpoint, server_key=text_of(directory.server_keys().public), run=place.run / "node")
    config = read(directory.config)
    options = options_of(config, directory=directory.root, run=place.run, ipc=(endpoint,))
    return options, node


async def _serve(place: Place, daemon: Daemon, node: LocalNode, stop: asyncio.Event) -> None:
    ours = next(known for known in daemon.location.nodes if known.name == node.name)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        if await _first_of(node.first_life(ours.joined), stopping):
            keeping = asyncio.ensure_future(node.keep_alive())
            try:
                await _first_of(_idle(place, daemon), stopping, keeping)
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
    finally:
        stopping.cancel()


async def _first_of(work: Coroutine[Any, Any, None], *others: asyncio.Future[Any]) -> bool:
    """Do `work` until it is done or one of the others is; True if it was done. What it raises is raised."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, *others}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return False
        await task
        return True
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _idle(place: Place, daemon: Daemon) -> None:
    """Be open until nobody has had a session for a while."""
    location = daemon.location
    ready = Ready(
        pid=os.getpid(),
        endpoint=location.options.endpoints[0],
        server_key=text_of(location.server_key),
        version=tfcore.VERSION,
    )
    while True:
        with _Sign(place.run / "ready", ready):
            await _until(lambda: len(location.sessions) == 0, for_seconds=place.idle)
        await asyncio.sleep(LAST_CALL)
        if len(location.sessions) == 0:
            log.info("nobody has had a session for %g s: stopping", place.idle)
            return


async def _until(condition: Callable[[], bool], *, for_seconds: float) -> None:
    """Wait until `condition` has held that long."""
    since = time.monotonic()
    while time.monotonic() - since < for_seconds:
        await asyncio.sleep(min(0.5, for_seconds))
        if not condition():
            since = time.monotonic()


class _Sign:
    """`ready`, for the length of a block. The lock says that its writer lives: a file alone may be a dead daemon's."""

    def __init__(self, path: Path, ready: Ready) -> None:
        self._path = path
        self._ready = ready
        self._file: IO[bytes] | None = None

    def __enter__(self) -> None:
        aside = self._path.with_name(f".ready.{os.getpid()}")
        self._file = aside.open("wb")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.write(msgspec.json.encode(self._ready) + b"\n")
        self._file.flush()
        aside.rename(self._path)

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        self._path.unlink(missing_ok=True)
        self._file.close()


async def _exclusive(path: Path) -> IO[str]:
    """The lock of the one daemon that may serve here; one that is just stopping is waited for."""
    lock = path.open("w")
    deadline = time.monotonic() + FORMER
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            if time.monotonic() > deadline:
                lock.close()
                raise DeadlineExceeded(
                    f"another daemon holds {path}, and has not stopped within {FORMER:g} s"
                ) from taken
            await asyncio.sleep(0.05)
            continue
        return lock
