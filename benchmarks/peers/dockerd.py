"""The distribution's Docker engine, started for one run: in mount, network and process namespaces of its own, so that it
leaves nothing in the machine's, neither bridge nor firewall rules nor mounts, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tfcore.errors import HostLacks, Unavailable
from tfnode.kernel.namespaces import in_netns, make_netns

USUAL = "unix:///var/run/docker.sock"
CGROUPS = Path("/sys/fs/cgroup")
START_TIMEOUT = 30.0
STOP_TIMEOUT = 30.0
PROBE = 0.05
PING = 5.0

SETTLE_IN = 'ip link set lo up && mount -t tmpfs -o mode=755 tmpfs /run && exec "$@"'
"""A /run of its own: with the machine's, the engine would use a containerd that happens to run there."""


@dataclass(frozen=True)
class Private:
    """Where the engine answers, and the network namespace its ports are in."""

    url: str
    netns: int


def answers(url: str) -> bool:
    """True if a Docker engine answers there (GET /_ping of the Engine API)."""
    try:
        with _connected(url) as engine:
            engine.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in engine.recv(4096)
    except OSError:
        return False


def _connected(url: str) -> socket.socket:
    scheme, _, rest = url.partition("://")
    if scheme != "unix":
        host, _, port = rest.partition(":")
        return socket.create_connection((host, int(port or 2375)), timeout=PING)
    engine = socket.socket(socket.AF_UNIX)
    engine.settimeout(PING)
    try:
        engine.connect(rest)
    except OSError:
        engine.close()
        raise
    return engine


@contextmanager
def private(directory: Path) -> Iterator[Private]:
    """Start an engine with its data in `directory`; it has ended, and its control groups are gone, afterwards.

    Raises:
        HostLacks: there is no dockerd, or this is not root.
        Unavailable: it did not start; the message carries its last words.
    """
    if shutil.which("dockerd") is None:
        raise HostLacks("no Docker engine answers and there is no dockerd", hint="install docker.io")
    if os.geteuid() != 0:
        raise HostLacks("no Docker engine answers and only root can start one")
    directory.mkdir(parents=True)
    group = f"pytest-tf-bench-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        # A socket's path has room for 107 bytes; `directory` may be deep.
        url = f"unix://{stack.enter_context(tempfile.TemporaryDirectory(prefix='tf-dockerd-'))}/socket"
        netns = make_netns()
        stack.callback(os.close, netns)
        stack.callback(_remove_groups, group)
        process = in_netns(netns, lambda: _start(directory, url, group))
        stack.callback(_stop, process)
        _wait(process, url, directory / "log")
        yield Private(url, netns)


def _start(directory: Path, url: str, group: str) -> subprocess.Popen[bytes]:
    (directory / "daemon.json").write_text("{}")
    engine = [
        "dockerd", "--host", url, "--data-root", str(directory / "data"), "--config-file", str(directory / "daemon.json"),
        "--cgroup-parent", f"/{group}", "--exec-opt", "native.cgroupdriver=cgroupfs",
    ]  # fmt: skip
    apart = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(
            [*apart, "sh", "-c", SETTLE_IN, "sh", *engine], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            how = "ended" if process.poll() is not None else f"did not answer within {START_TIMEOUT:g} s"
            raise Unavailable(f"dockerd {how}: {_last_words(log)}")
        time.sleep(PROBE)


def _last_words(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the engine to end; kill it if it does not. With it, the first process of its namespace, all others there end."""
    if process.poll() is not None:
        return
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _remove_groups(group: str) -> None:
    """The control groups the engine made, in every hierarchy; they are empty."""
    for top in [*CGROUPS.glob(group), *CGROUPS.glob(f"*/{group}")]:
        for directory, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
