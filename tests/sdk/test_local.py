"""How the private location is found, started and shared; with the real daemons, hence as root."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.as_user import AS_NOBODY, NOBODY
from tests.support.daemons import PrivateLocation, gone, until
from tfcore.errors import Refused, Unavailable
from tfnz import local
from tfnz.location import Location

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a private location makes namespaces and mounts: needs root")

SECONDS = 60
OPEN = """
import sys
from tfnz.location import Location
with Location("local", quiet=True) as location:
    print(location.session, flush=True)
    sys.stdin.read()
"""
"""Opens a session and keeps it until its stdin is closed."""

NO_NAMESPACES = (
    "no location: the local location ended while starting: ordinary users may not have user namespaces here "
    "(user.max_user_namespaces is 0): unshare(0x10000000): No space left on device "
    "(run: sudo sysctl -w user.max_user_namespaces=10000)"
)

DIE_LOCKED = """
import os, sys
from pathlib import Path
from tfnz import local
with local._locked(local._private(Path(sys.argv[1]))):
    os._exit(9)
"""
"""Dies while it holds the lock under which a location is started."""


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short: sockets live below it, and a socket's path has room for 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="tf-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def place(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateLocation]:
    """A private location of the test's own, not started yet; stopped at the end."""
    made = PrivateLocation(directory)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    yield made
    made.stop()


def opener() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def session_of(process: subprocess.Popen[str]) -> str:
    """Wait for its session."""
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    assert said, process.communicate(timeout=SECONDS)
    return said


def let_go(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.communicate(timeout=SECONDS)[1] == ""
        assert process.returncode == 0


def daemons_of(place: PrivateLocation) -> list[int]:
    """The pids of all daemons of this location, however they came to be."""
    mark = os.fsencode(place.directory / "state")
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if mark in words and b"tflocation.cli" in words and words[0] == os.fsencode(sys.executable):
            found.append(int(entry.name))
    return found


# shared


def test_two_processes_that_start_it_at_once_share_one(place: PrivateLocation) -> None:
    processes = [opener() for _ in range(3)]
    assert len({session_of(process) for process in processes}) == 3
    assert daemons_of(place) == [place.pid]
    let_go(*processes)


def test_it_outlives_the_process_that_started_it(place: PrivateLocation) -> None:
    first = opener()
    session_of(first)
    daemon = place.pid
    with Location("local") as second:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate(timeout=SECONDS)
        assert [node for node in second.nodes.values() if node.alive]
        assert second.node().create_volume().uuid in second.volumes
    assert place.pid == daemon


def test_it_stops_when_nobody_has_used_it_for_a_while(place: PrivateLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_LOCAL_IDLE", "0.2")
    process = opener()
    session_of(process)
    daemon, agent = place.pid, place.node.agent
    assert daemon is not None
    let_go(process)
    gone(daemon)
    gone(agent)
    assert place.pid is None
    with Location("local") as again:
        assert again.node().alive, "the next one starts another"
        assert place.pid not in (None, daemon)


def test_one_that_was_killed_is_started_again(place: PrivateLocation) -> None:
    with Location("local") as first:
        name = first.node().name
    before = place.pid
    place.kill()
    assert (place.run / "ready").exists(), "nobody took it away"
    assert place.pid is None
    with Location("local") as second:
        assert second.node().name == name, "what it keeps on disk is still its own"
        assert place.pid not in (None, before)


# what was left there


@pytest.mark.parametrize("left", ["", "{", '{"pid": 1}', "stale"])
def test_a_ready_file_nobody_stands_behind(place: PrivateLocation, left: str) -> None:
    stale = json.dumps({"pid": os.getpid(), "endpoint": "ipc:///nowhere", "server_key": "A" * 43 + "="})
    local._private(place.run)
    (place.run / "ready").write_text(stale if left == "stale" else left)
    assert local.running(place.run) is None
    with Location("local") as location:
        assert location.node().alive


def test_a_lock_file_of_a_process_that_died_stops_nobody(place: PrivateLocation) -> None:
    died = subprocess.run([sys.executable, "-c", DIE_LOCKED, place.run], check=False, timeout=SECONDS)
    assert died.returncode == 9
    with Location("local") as location:
        assert location.session


def test_directories_are_for_this_user_alone(place: PrivateLocation) -> None:
    for path in (place.directory / "state", place.run):
        path.mkdir(mode=0o755)
        path.chmod(0o755)
    with Location("local"):
        for path in (place.directory / "state", place.run):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_daemon_that_ends_while_it_starts_is_quoted(place: PrivateLocation) -> None:
    (place.directory / "state").mkdir(mode=0o700)
    (place.directory / "state" / "location.key").write_text("this is no key")
    (place.directory / "state" / "location.key").chmod(0o600)
    with pytest.raises(Unavailable, match="ended while starting") as caught:
        Location("local")
    assert "location.key" in str(caught.value), "its own last words"
    assert str(place.directory / "state" / "location.log") in str(caught.value)
    assert daemons_of(place) == []


def test_one_that_hangs_while_it_starts_is_ended(place: PrivateLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "START_TIMEOUT", 0.0)
    with pytest.raises(Unavailable, match=r"was not ready within 0 s; last seen: .*its log is"):
        Location("local")
    until(lambda: not daemons_of(place), "the daemon to be gone")


# others' directories, other users


@pytest.mark.parametrize("whose", ["state", "run"])
def test_a_directory_of_somebody_else_is_refused(place: PrivateLocation, whose: str) -> None:
    path = place.run if whose == "run" else place.directory / "state"
    path.mkdir(mode=0o777)
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(Refused, match=f"{path} is not a directory of this user"):
        Location("local")
    assert list(path.iterdir()) == []
    assert daemons_of(place) == []


def test_a_link_to_a_directory_is_refused(place: PrivateLocation) -> None:
    target = place.directory / "elsewhere"
    target.mkdir()
    place.run.symlink_to(target)
    with pytest.raises(Refused, match="is not a directory of this user"):
        Location("local")
    assert list(target.iterdir()) == []


def test_two_state_directories_do_not_meet(place: PrivateLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    here = local.run_directory(local.state_directory())
    monkeypatch.setenv("TF_LOCAL_DIR", str(place.directory / "other"))
    assert local.run_directory(local.state_directory()) != here


def test_an_ordinary_user_without_namespaces_is_told_so_in_one_sentence(directory: Path) -> None:
    shutil.chown(directory, NOBODY, NOBODY)
    (directory / "test_it.py").write_text("def test_it(tf_location): pass\n")
    command = [
        *(sys.executable, "-m", "tests.support.no_user_namespaces"),
        *AS_NOBODY,
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        "--tf-location=local",
        "--rootdir",
        str(directory),
        str(directory / "test_it.py"),
    ]
    environment = {"HOME": str(directory), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    asked: dict[str, Any] = {"capture_output": True, "text": True, "check": False, "timeout": SECONDS}
    asked |= {"cwd": Path(__file__).parents[2], "env": environment}
    done = subprocess.run(command, **asked)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done
    said = [line for line in done.stdout.splitlines() if "user namespaces" in line]
    assert [line.partition(" (its log is ")[0] for line in said] == [NO_NAMESPACES], done
    assert done.stderr == ""
    assert "Traceback" not in done.stdout
    skipped = subprocess.run([*command, "--tf-missing=skip"], **asked)
    assert skipped.returncode == 0
    assert "1 skipped" in skipped.stdout
