"""Real locations for tests of the whole line, each in a directory of its own: processes, sockets, keys and all.

    PrivateLocation(directory)    what `Location("local")` finds or starts
    RemoteLocation(directory)     a location over TCP with keys and a node, made by the commands an operator would type

Both know their processes, can lose each of them to SIGKILL, and are stopped and waited for by `stop`. Nothing here knows
what the tests do with them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tfnz import local
from tfnz.location import Location

SECONDS = 30.0
"""What a daemon may take for anything; nobody waits that long but in a test that fails."""

LEASE, NODE_LEASE = 5, 3
"""Seconds, the shortest a location allows: what ends with a lease must not make a test long."""

ACCOUNTS = ("alice", "bob")

T = TypeVar("T")


def until(found: Callable[[], T | None], what: str, *, seconds: float = SECONDS) -> T:
    """Look until `found()` is neither None nor False, and return it.

    Raises:
        AssertionError: it was not within `seconds`; the message names `what`.
    """
    deadline, pause = time.monotonic() + seconds, 0.001
    while not (value := found()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for: {what}"
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
    return value


def gone(pid: int, *, seconds: float = SECONDS) -> None:
    """Wait until a process, whoever's child, has ended.

    Raises:
        AssertionError: it has not within `seconds`.
    """
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            assert select.select([pidfd], [], [], seconds)[0], f"process {pid} has not ended within {seconds:g} s"
        finally:
            os.close(pidfd)


def children(pid: int) -> list[int]:
    """The children of a process; none if it is gone."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    lists = []
    for task in tasks:
        with contextlib.suppress(OSError):
            lists += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    return [int(child) for child in lists]


def _is_first_of_its_namespace(pid: int) -> bool:
    """The agent is pid 1 where it lives; its launcher's other children are not."""
    with contextlib.suppress(OSError):
        numbers = re.search(r"^NSpid:\s*(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return numbers is not None and len(numbers[1].split()) > 1 and numbers[1].split()[-1] == "1"
    return False


class Node:
    """A node as its processes show it.

    Args:
        launcher: finds the process `tf-node serve`, None while there is none.
    """

    def __init__(self, launcher: Callable[[], int | None]) -> None:
        self._launcher = launcher

    @property
    def launcher(self) -> int:
        """`tf-node serve`."""
        return until(self._launcher, "the node's launcher")

    @property
    def agent(self) -> int:
        """The agent that lives now."""
        return until(self._agent, "the node's agent")

    def _agent(self) -> int | None:
        launcher = self._launcher()
        return next(filter(_is_first_of_its_namespace, children(launcher)), None) if launcher else None

    def kill_agent(self) -> int:
        """SIGKILL, and wait until it is gone; returns the pid it had."""
        pid = self.agent
        os.kill(pid, signal.SIGKILL)
        gone(pid)
        return pid


class PrivateLocation:
    """The private location of an environment of its own; whoever calls `connect` first starts it.

    Args:
        directory: short, since sockets live below it.
        storage: the node's driver.
    """

    def __init__(self, directory: Path, *, storage: str = "auto") -> None:
        self.directory = directory
        self.storage = storage
        self.environment = {
            "TF_LOCAL_DIR": str(directory / "state"),
            "TF_LOCAL_IDLE": "20",
            "TF_LOCAL_STORAGE": storage,
            "XDG_RUNTIME_DIR": str(directory),
        }
        self.node = Node(self._launcher)
        self.kept: dict[int, int] = {}
        """How many descriptors of a kind that it may keep each agent had when it was first looked at."""

    def connect(self) -> Location:
        """A session."""
        with self.effective():
            return Location("local")

    @contextlib.contextmanager
    def effective(self) -> Iterator[None]:
        """For the length of the block this is the private location of this process."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield

    @property
    def node_directory(self) -> Path:
        """What the node keeps on disk."""
        return self.directory / "state" / "node"

    @property
    def node_name(self) -> str:
        """What its node is called."""
        name: str = tomllib.loads((self.node_directory / "node.toml").read_text())["name"]
        return name

    @property
    def run(self) -> Path:
        """Its sockets' directory."""
        with self.effective():
            return local.run_directory(local.state_directory())

    @property
    def pid(self) -> int | None:
        """Of the daemon; None if it does not run."""
        ready = local.running(self.run)
        return ready.pid if ready else None

    def _launcher(self) -> int | None:
        daemon = self.pid
        serving = [child for child in children(daemon) if _runs(child, "tfnode.cli")] if daemon else []
        return serving[0] if serving else None

    def log(self) -> str:
        """What location and node have written."""
        file = self.directory / "state" / "location.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def kill(self) -> None:
        """SIGKILL the location, and wait until it and its node are gone."""
        daemon, launcher, agent = self.pid, self.node.launcher, self.node.agent
        assert daemon is not None
        os.kill(daemon, signal.SIGKILL)
        for pid in (daemon, launcher, agent):
            gone(pid)

    def stop(self) -> None:
        """End it, if it runs."""
        daemon = self.pid
        if daemon is not None:
            os.kill(daemon, signal.SIGTERM)
            gone(daemon)


def _runs(pid: int, module: str) -> bool:
    with contextlib.suppress(OSError):
        return os.fsencode(module) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


class RemoteLocation:
    """A location over TCP on this machine, with a node and an account for each of `ACCOUNTS`; made and started at once.

    Args:
        directory: short, since sockets live below it.
        storage: the node's driver.
        name: of the location and of its node; unique on this machine.
        lease: seconds of a session's (a node's is shorter in proportion); long where the location is to come back in time,
            whatever else the machine does.
        environment: of the daemons, beside this process's.
        before: a program that becomes the daemon `location` or `node`, with its arguments.
        through: makes the port by which everybody reaches the location's, given that one.
        ipc: path of a unix socket the location listens on, too.
    """

    def __init__(
        self,
        directory: Path,
        *,
        storage: str = "auto",
        name: str = "whole.test",
        lease: float = LEASE,
        environment: dict[str, str] | None = None,
        before: dict[str, list[str]] | None = None,
        through: Callable[[int], int] = lambda port: port,
        ipc: Path | None = None,
    ) -> None:
        self.directory = directory
        self._leases = lease, lease * NODE_LEASE / LEASE
        self.name = name
        port = _free_port()
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self._address = f"tcp://127.0.0.1:{through(port)}"
        self._environment = environment or {}
        self._ipc = ("--ipc", ipc) if ipc else ()
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._before = before or {}
        self.node = Node(lambda: self._pid("node"))
        self.kept: dict[int, int] = {}
        """How many descriptors of a kind that it may keep each agent had when it was first looked at."""
        try:
            self._make(storage)
            self.start()
        except BaseException:
            self.stop()
            raise

    def _make(self, storage: str) -> None:
        self._ask("tflocation", "init", "--name", self.name, "--address", self._address, "--listen", self.endpoint)
        config = self.directory / "location" / "location.toml"
        lines = [line for line in config.read_text().splitlines() if not line.startswith("lease")]
        config.write_text("\n".join([*lines, "lease = {:g}\nnode_lease = {:g}\n".format(*self._leases)]))
        self.start_location()
        for account in ACCOUNTS:
            self._accept(account, self._ask("tflocation", "account", "add", account))
        invitation = self._ask("tflocation", "node", "add", self.name)
        arguments = ("--config", self._node_config, "--root", self.node_directory, "--storage", storage)
        _run("tfnode", *_command_of(invitation), *arguments)
        self._shorten_run_directory()

    def _ask(self, module: str, *arguments: str) -> str:
        return _run(module, *arguments, "--dir", self.directory / "location")

    def _accept(self, account: str, invitation: str) -> None:
        _run("tfnz", *_command_of(invitation), environment=self._home(account))

    def _home(self, account: str) -> dict[str, str]:
        return {"TF_HOME": str(self.directory / account)}

    @property
    def node_directory(self) -> Path:
        """What the node keeps on disk."""
        return self.directory / "node"

    @property
    def node_name(self) -> str:
        """What its node is called."""
        return self.name

    @property
    def _node_config(self) -> Path:
        return self.directory / "node.toml"

    def _shorten_run_directory(self) -> None:
        """Two nodes of one machine must not share the default."""
        lines = [line for line in self._node_config.read_text().splitlines() if not line.startswith("run =")]
        self._node_config.write_text("\n".join([*lines, f"run = {json.dumps(str(self.directory / 'run'))}", ""]))

    # life

    def start(self) -> None:
        """Start what does not run, and wait until the node has joined."""
        self.start_location()
        self.start_node()

    def start_location(self) -> None:
        """Start the location if it does not run, and wait until it takes connections."""
        if self._pid("location") is None:
            self._spawn("location", "tflocation", "serve", "--dir", self.directory / "location", *self._ipc)
            until(self._listens, f"location {self.name}, whose log ends: {self.log('location')[-2000:]}")

    def start_node(self) -> None:
        """Start the node if it does not run, and wait until it has joined."""
        if self._pid("node") is None:
            self._spawn("node", "tfnode", "serve", "--config", self._node_config)
        self.until_joined()

    def until_joined(self) -> None:
        """Wait until the location counts the node as joined."""
        until(self._node_joined, f"node {self.name} to join, whose log ends: {self.log('node')[-2000:]}")

    def _node_joined(self) -> bool:
        return any(node["state"] == "joined" for node in self.status()["nodes"])

    def status(self) -> dict[str, Any]:
        """What `tf-location status` says."""
        report: dict[str, Any] = json.loads(self._ask("tflocation", "status", "--json"))
        return report

    def _listens(self) -> bool:
        host, _, port = self.endpoint.removeprefix("tcp://").partition(":")
        with socket.socket() as knock:
            return knock.connect_ex((host, int(port))) == 0

    def _spawn(self, name: str, module: str, *arguments: object) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                [*self._before.get(name, ()), *_command(module, *arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=os.environ | self._environment,
            )

    def _pid(self, name: str) -> int | None:
        daemon = self._daemons.get(name)
        return daemon.pid if daemon is not None and daemon.poll() is None else None

    def log(self, name: str) -> str:
        """What the daemon `location` or `node` has written."""
        file = self.directory / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def connect(self, account: str = ACCOUNTS[0]) -> Location:
        """A session of one of the accounts."""
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in self._home(account).items():
                patch.setenv(variable, value)
            return Location(self.name)

    def kill(self, name: str) -> None:
        """SIGKILL the daemon `location` or `node` (its launcher, that is), and wait until it is gone."""
        daemon = self._daemons[name]
        below = children(daemon.pid)
        daemon.kill()
        daemon.wait(SECONDS)
        for pid in below:
            gone(pid)

    def stop(self) -> None:
        """End both, the node first."""
        for name in ("node", "location"):
            daemon = self._daemons.pop(name, None)
            if daemon is not None:
                _end(daemon, name)


def _end(daemon: subprocess.Popen[bytes], name: str) -> None:
    daemon.terminate()
    try:
        daemon.wait(SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
        raise AssertionError(f"the {name} did not end within {SECONDS:g} s of SIGTERM") from None


def _command(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"{module}.cli", *map(str, arguments)]


def _run(module: str, *arguments: object, environment: dict[str, str] | None = None) -> str:
    command = _command(module, *arguments)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, env=os.environ | (environment or {}), check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def _command_of(printed: str) -> list[str]:
    """The words after the program's name of the command that `tf-location account add` and `node add` print."""
    return printed.split()[1:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
