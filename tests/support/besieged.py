"""A location over TCP in a process of its own, for those who mean it harm: what it takes, and whether it still serves."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.location.world import Client, run
from tests.support.daemons import until
from tests.support.zmtp import Wire
from tfcore import keys
from tfcore.keys import KeyPair
from tfcore.wire import sessions as s
from tflocation.auth.accounts import Accounts
from tflocation.directory import Directory
from tflocation.operator import ask_status
from tflocation.options import ConfigFile
from tflocation.store.database import Database

FILES = 1200
"""Descriptors of the daemon."""


@dataclass
class Besieged:
    """The daemon, and two accounts of it."""

    pid: int
    endpoint: str
    server_key: bytes
    mallory: KeyPair
    alice: KeyPair
    directory: Directory

    def wire(self) -> Wire:
        """Mallory's."""
        return Wire(self.endpoint, self.server_key, self.mallory)

    def memory(self) -> int:
        """Bytes that the daemon has had at most since it was started, or since `forget`."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) * 1024

    def forget(self) -> int:
        """The memory it has now counts as its most."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self.memory()

    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def heard(self) -> int:
        """How many messages it has received."""
        report = json.loads(ask_status(self.directory, self.directory.run))
        return int(report["messages"]["received"])

    async def serves(self) -> None:
        """Alice opens a session and closes it."""
        alice = Client(self.endpoint, self.server_key, self.alice)
        try:
            await alice.hello()
            await alice.call(s.CloseSession())
        finally:
            await alice.close()

    def is_well(self) -> None:
        run(self.serves)


@contextlib.contextmanager
def besieged(directory: Path) -> Iterator[Besieged]:
    """One for the length of the block, with twelve hundred descriptors, so that they can run short.

    Raises:
        AssertionError: it has logged what only a defect makes it log.
    """
    root = directory / "it"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    directory = Directory(root)
    directory.make(ConfigFile(name="flooded", address=endpoint, listen=(endpoint,)))
    mallory, alice = keys.generate(), keys.generate()
    database = Database(directory.store)
    for name, pair in (("mallory", mallory), ("alice", alice)):
        Accounts(database).add("account", name, pair.public)
    database.close()
    command = [sys.executable, "-m", "tflocation.cli", "serve", "--dir", str(root)]
    with (root / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
    try:
        until(lambda: b"listens on" in (root / "log").read_bytes(), "the daemon")
        yield Besieged(daemon.pid, endpoint, keys.load(directory.key).public, mallory, alice, directory)
        log_text = (root / "log").read_text(errors="replace")
        for word in ("Traceback", "defect", "could not be handled"):
            assert word not in log_text, log_text[log_text.index(word) - 2000 :][:6000]
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)
