"""A private location: daemon and node as one, as the SDK starts them. With the real node, hence as root."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.location.world import SOON, Client
from tfcore import keys
from tfcore.wire import sessions as s
from tflocation.localnode import LocalNode

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a node makes namespaces and mounts: needs root")


class Private:
    """One private location's directories, and the daemon in them."""

    def __init__(self, root: Path) -> None:
        self.state, self.run = root / "state", root / "run"
        self.state.mkdir(mode=0o700)
        self.run.mkdir(mode=0o700)
        self.log = root / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, idle: float = 600.0) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tflocation.cli", "serve", "--local", "--dir", str(self.state)]
        command += ["--run", str(self.run), "--idle", str(idle)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log)
        return self.process

    def ready(self) -> dict[str, Any]:
        """Wait until clients are welcome."""
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            if self.held():
                return dict(json.loads((self.run / "ready").read_text()))
            time.sleep(0.01)
        raise AssertionError(f"not ready: {self.log.read_text()}")

    def held(self) -> bool:
        """True if a daemon lives behind the file, as the SDK looks at it."""
        try:
            with (self.run / "ready").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def client(self, ready: dict[str, Any]) -> Client:
        return Client(ready["endpoint"], keys.key_from(ready["server_key"]), keys.load(self.state / "account"))

    def node_pid(self) -> int:
        return int((self.state / "node" / "node.pid").read_text() or 0)  # it may just be written

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(SOON)


@pytest.fixture
def private() -> Iterator[Private]:
    with tempfile.TemporaryDirectory(prefix="tf-") as root:  # short: sockets have short paths
        made = Private(Path(root))
        yield made
        made.end()


def gone(pidfd: int, seconds: float = SOON) -> bool:
    try:
        return bool(select.select([pidfd], [], [], seconds)[0])
    finally:
        os.close(pidfd)


def test_it_makes_what_is_missing_and_says_when_it_is_ready(private: Private) -> None:
    process = private.start()
    ready = private.ready()
    assert ready["pid"] == process.pid
    assert ready["endpoint"] == f"ipc://{private.run}/location.sock"

    async def scenario() -> None:
        client = private.client(ready)
        welcome = await client.hello(local=True)
        assert welcome.account == "local"
        assert [(node.alive, node.name[:6]) for node in welcome.nodes] == [(True, "local-")]
        assert welcome.live == str(private.run / "live.sock")
        await client.call(s.CloseSession())
        await client.close()

    asyncio.run(scenario())
    node = os.pidfd_open(private.node_pid())
    process.terminate()
    assert process.wait(SOON) == 0
    assert gone(node), "the node ends first"
    assert not private.held()
    assert not (private.run / "ready").exists()


def test_it_stops_when_nobody_has_had_a_session_for_a_while(private: Private) -> None:
    process = private.start(idle=0.3)
    private.ready()
    assert process.wait(SOON) == 0


def test_it_does_not_stop_while_somebody_has_a_session(private: Private) -> None:
    process = private.start(idle=1.0)
    ready = private.ready()

    async def scenario() -> None:
        client = private.client(ready)
        await client.hello(local=True)
        for _ in range(3):
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, 0.8)
            await client.call(s.RenewLease())
        assert private.held()
        await client.call(s.CloseSession())
        await client.close()

    asyncio.run(scenario())
    assert process.wait(SOON) == 0


def test_killed_it_takes_its_node_along_and_can_be_started_again_at_once(private: Private) -> None:
    process = private.start()
    private.ready()
    node = os.pidfd_open(private.node_pid())
    process.send_signal(signal.SIGKILL)
    process.wait(SOON)
    assert not private.held(), "a file alone means nothing"
    private.start()
    private.ready()
    assert gone(node)


def test_the_node_of_a_former_life_is_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        node = LocalNode(tmp_path)
        former = subprocess.Popen(
            [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", str(node.config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert former.stdout is not None
        former.stdout.readline()  # it is the program that it will be taken for
        (tmp_path / "node.pid").write_text(f"{former.pid}\n")
        try:
            waiting = asyncio.ensure_future(node.wait_for_former())
            for _ in range(100):
                await asyncio.sleep(0)
            assert not waiting.done()
        finally:
            former.communicate()
        await waiting
        await node.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("pid", ["1", pytest.param(str(os.getpid()), id="ours"), "0", "-1", "x", "", "99999999"])
def test_nobody_else_is_waited_for(tmp_path: Path, pid: str) -> None:
    async def scenario() -> None:
        node = LocalNode(tmp_path)
        (tmp_path / "node.pid").write_text(pid)
        await node.wait_for_former()
        await node.stop()

    asyncio.run(scenario())


def test_a_session_survives_its_being_killed(private: Private) -> None:
    process = private.start()
    ready = private.ready()

    async def scenario() -> None:
        client = private.client(ready)
        await client.hello(local=True)
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait, SOON)
        private.start()
        await asyncio.to_thread(private.ready)
        assert (await client.take_up()).resumed
        await client.call(s.CloseSession())
        await client.close()

    asyncio.run(scenario())


def test_a_node_that_ends_is_started_again(private: Private) -> None:
    private.start()
    ready = private.ready()
    first = private.node_pid()

    async def scenario() -> None:
        client = private.client(ready)
        await client.hello(local=True)
        os.kill(first, signal.SIGTERM)
        deadline = time.monotonic() + SOON
        while private.node_pid() in (first, 0) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        assert private.node_pid() != first
        await client.call(s.CloseSession())
        await client.close()

    asyncio.run(scenario())


def test_a_second_daemon_waits_for_the_first_to_stop(private: Private) -> None:
    first = private.start()
    private.ready()
    second = private.start()
    first.terminate()
    assert first.wait(SOON) == 0
    assert private.ready()["pid"] == second.pid


def test_a_node_that_cannot_start_ends_it_with_the_reason(private: Private) -> None:
    (private.state / "node" / "node.lock").mkdir(parents=True)
    process = private.start()
    assert process.wait(SOON) == 1
    log = private.log.read_text()
    assert "the node did not start" in log
    assert "tf-node check" in log
    assert "Traceback" not in log
