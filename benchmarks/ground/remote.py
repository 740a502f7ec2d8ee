"""A location as a remote client sees it: over TCP, with keys, everything through the location. On this machine's loopback,
so that it is the software that is measured and not a network."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.ground.local import daemons_in
from tfcore.commands import run
from tfnz import accounts, local
from tfnz.location import Location

NAME = "bench.example.org"


@contextmanager
def remote_location(directory: Path) -> Iterator[Location]:
    """A session over TCP with a location that keeps everything in `directory`; its daemons end afterwards."""
    address = f"127.0.0.1:{free_port()}"
    if not directory.exists():
        where = ["--dir", str(directory), "--name", NAME, "--listen", f"tcp://{address}"]
        run([sys.executable, "-m", "tflocation.cli", "init", *where])
    with daemons_in(directory), _home(directory / "home"):
        known = local.ensure()
        accounts.store(NAME, keys=known.keys, address=known.endpoint, server_key=known.server_key)
        with Location(NAME) as location:
            yield location


@contextmanager
def _home(directory: Path) -> Iterator[None]:
    """Accounts of this process are kept in `directory` meanwhile."""
    before = os.environ.get("TF_HOME")
    os.environ["TF_HOME"] = str(directory)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TF_HOME"]
        else:
            os.environ["TF_HOME"] = before


def free_port() -> int:
    """A port of the loopback device that nobody listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
