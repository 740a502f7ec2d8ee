"""The private location on this machine: found if it runs, started if not (DESIGN D13).

One per user, shared by all their processes through a file lock; the location's daemon stops itself when nobody has had a
session for a while. Knows how to start the daemon, nothing of what it does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from tfcore.errors import DeadlineExceeded, HostLacks, Refused, Unavailable
from tfcore.keys import key_from, load
from tfnz.accounts import Account, default_location

NAME = "local"
"""The name of the private location."""

START_TIMEOUT = 30.0
"""Seconds a location and its node may take to come up."""

END_TIMEOUT = 10.0
"""Seconds one that did not come up has to go away."""

LOG_SIZE = 16 * 1024 * 1024
"""Bytes after which a log is put aside."""

NODE = "tf-node: "
"""How the line begins in which a node says why it cannot be; the location's own words only follow from it."""

POLL = 0.005
IDLE = 60.0
"""Seconds without any session after which the daemons stop."""


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon writes when location and node are up."""

    pid: int
    endpoint: str
    server_key: str
    version: str = ""


def location_or(name: str | None) -> str:
    """Where to go: the location that was named, else the default one, else the private one on this machine."""
    return name or default_location() or NAME


def state_directory() -> Path:
    """Where it keeps keys, images and volumes: `$TF_LOCAL_DIR`, else below the user's cache directory."""
    given = os.environ.get("TF_LOCAL_DIR")
    if given:
        return Path(given).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "pytest-tf" / "local"


def run_directory(state: Path) -> Path:
    """Where its sockets are: short (a socket's path has room for 107 bytes), this user's alone, one per state directory."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere"))
    parent = runtime if runtime.is_dir() and runtime.stat().st_uid == os.getuid() else Path("/tmp")
    mark = hashlib.sha256(os.fsencode(state)).hexdigest()[:8]
    return parent / f"pytest-tf-{os.getuid()}-{mark}"


def ensure() -> Account:
    """The account of the private location, which runs when this returns.

    Raises:
        HostLacks: it cannot run on this machine; the message says what is missing.
        Unavailable: it did not start; the message carries the daemon's last words.
        Refused: its directory belongs to somebody else.
    """
    _check_host()
    state = state_directory()
    run = _private(run_directory(state))
    _private(state)
    ready = running(run) or _started(state, run)
    return Account(
        location=NAME,
        endpoint=ready.endpoint,
        server_key=key_from(ready.server_key),
        keys=load(state / "account"),
        local=True,
    )


def running(run: Path) -> Ready | None:
    """What a running daemon wrote, or None. The daemon holds a lock on the file as long as it lives."""
    try:
        with (run / "ready").open("rb") as file:
            if not _held(file.fileno()):
                return None
            return msgspec.json.decode(file.read(), type=Ready)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _held(fd: int) -> bool:
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def _check_host() -> None:
    if not sys.platform.startswith("linux"):
        raise HostLacks("a local location needs Linux", hint="name a remote one: --tf-location=NAME")


def _private(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        raise Refused(f"{path} is not a directory of this user", hint=f"remove it, or set TF_LOCAL_DIR (now {path})")
    if stat.S_IMODE(info.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def _started(state: Path, run: Path) -> Ready:
    with _locked(run):
        return running(run) or _start(state, run)  # another process may have been faster


@contextlib.contextmanager
def _locked(run: Path) -> Iterator[None]:
    import filelock  # most processes find it running

    lock = filelock.FileLock(run / "start.lock", timeout=START_TIMEOUT + 10)
    try:
        with lock:
            yield
    except filelock.Timeout as late:
        raise DeadlineExceeded(f"another process has been starting the local location for too long ({run})") from late


def _start(state: Path, run: Path) -> Ready:
    """Start the daemon, detached: it outlives the process that started it and is nobody's child."""
    log = _log(state)
    idle = os.environ.get("TF_LOCAL_IDLE", str(IDLE))
    command = [sys.executable, "-m", "tflocation.cli", "serve", "--local", "--dir", str(state), "--run", str(run)]
    with contextlib.suppress(FileNotFoundError):
        (run / "ready").unlink()
    with log.open("ab") as output:
        begin = output.tell()
        try:
            daemon = _detach([*command, "--idle", idle], output)
        except ProcessLookupError as ended:
            raise _ended(log, begin) from ended
    try:
        return _wait(daemon, run, log, begin)
    except BaseException:
        _end(daemon)
        raise
    finally:
        os.close(daemon)


def _log(state: Path) -> Path:
    """The daemon's log; a long one is put aside, in the place of the one before."""
    log = state / "location.log"
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_SIZE:
            log.replace(log.with_suffix(".log.old"))
    return log


def _end(daemon: int) -> None:
    """What did not start in time must not be in the way of the next attempt."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(daemon, signal.SIGTERM)
        if not _has_ended(daemon, END_TIMEOUT):
            signal.pidfd_send_signal(daemon, signal.SIGKILL)


def _has_ended(process: int, seconds: float) -> bool:
    """Wait so long; `select` would not do in a process with more than a thousand files open."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _detach(command: list[str], output: BinaryIO) -> int:
    """Run `command` in a session of its own, what it writes going to `output`; a descriptor of the process."""
    started = subprocess.run(
        ["setsid", "sh", "-c", '"$@" </dev/null >&2 & echo $!', "sh", *command],
        stdout=subprocess.PIPE,
        stderr=output,
        check=True,
        cwd="/",
    )
    return os.pidfd_open(int(started.stdout))


def _wait(daemon: int, run: Path, log: Path, begin: int) -> Ready:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        ready = running(run)
        if ready is not None:
            return ready
        if _has_ended(daemon, POLL):
            raise _ended(log, begin)
    raise Unavailable(
        f"the local location was not ready within {START_TIMEOUT:g} s; last seen: {_last_words(log, begin)}",
        hint=f"its log is {log}",
    )


def _ended(log: Path, begin: int) -> Unavailable:
    return Unavailable(
        f"the local location ended while starting: {_last_words(log, begin)}",
        hint=f"its log is {log}; run: tf-node check",
    )


def _last_words(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
    said_by_node = [line.removeprefix(NODE) for line in lines if line.startswith(NODE)]
    return " / ".join(said_by_node or lines[-4:]) or "nothing in its log"
