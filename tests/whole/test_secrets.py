"""What is secret stays so: marked secrets go through a whole run, and nothing of them is in a log, an error, a process list.

Nor in a file that another user of the machine could read.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq.utils.z85

from tests.support.daemons import RemoteLocation, until
from tests.support.line import remote_location
from tests.support.outside import processes_of
from tfcore import keys
from tfcore.errors import TfError
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

KEYS = ("location/location.key", "location/operator", "alice/{name}", "bob/{name}")


class ProcessLists:
    """Looks at the arguments of all processes, again and again, as any user of the machine may."""

    def __init__(self) -> None:
        self._seen: dict[str, bytes] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> ProcessLists:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.002):
            for entry in os.listdir("/proc"):
                if entry.isdecimal():
                    with contextlib.suppress(OSError):
                        line = Path("/proc", entry, "cmdline").read_bytes()
                        self._seen.setdefault(line.decode("latin-1"), line)

    def lines(self) -> list[bytes]:
        """All that were seen."""
        return list(self._seen.values())


@pytest.fixture(scope="module")
def place() -> Iterator[RemoteLocation]:
    with remote_location() as made:
        yield made


def forms(key: bytes) -> set[bytes]:
    """How a key could be written."""
    return {key, b64encode(key).rstrip(b"="), zmq.utils.z85.encode(key), key.hex().encode()}


def secret_keys(place: RemoteLocation) -> dict[str, set[bytes]]:
    """Of location, operator and accounts, and of the node."""
    paths = [place.directory / path.format(name=place.name) for path in KEYS]
    paths += [path for path in place.directory.rglob("*.key") if path not in paths]
    assert len(paths) > len(KEYS), "the node has no key of its own"
    return {str(path): forms(keys.load(path).secret) for path in paths}


def holders(directory: Path, wanted: set[bytes]) -> list[Path]:
    """The files below a directory that hold any of these."""
    found = []
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 64 << 20:
            data = path.read_bytes()
            found += [path] if any(one in data for one in wanted) else []
    return found


def readable_by_others(path: Path, top: Path) -> bool:
    """True if nothing on the way from below `top` keeps others out."""
    way = [path, *(parent for parent in path.parents if parent.is_relative_to(top) and parent != top)]
    return all(step.stat().st_mode & (stat.S_IXOTH if step.is_dir() else stat.S_IROTH) for step in way)


def test_keys_are_their_owners_alone(place: RemoteLocation) -> None:
    """Each secret key is in one file, of mode 0600, in a directory that nobody else can write to."""
    for name, texts in secret_keys(place).items():
        found = [path for path in holders(place.directory, texts) if ".log" not in path.suffixes]
        assert [str(path) for path in found] == [name]
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
        assert Path(name).parent.stat().st_mode & 0o022 == 0


def test_a_whole_run_gives_nothing_away(place: RemoteLocation, tiny: str) -> None:
    marks = {what: f"{what}-{secrets.token_hex(12)}" for what in ("env", "preboot", "file")}
    said: list[str] = []
    with ProcessLists() as lists:
        with place.connect() as location:
            container = _run(location, tiny, marks, said)
            inside = processes_of(container)
            assert inside
            for pid in _of_daemons(place):
                environment = Path(f"/proc/{pid}/environ").read_bytes()
                assert not any(mark.encode() in environment for mark in marks.values()), pid
            kept = holders(place.directory, {mark.encode() for mark in marks.values()})
            assert kept, "the node has written nothing down"
            assert [path for path in kept if readable_by_others(path, place.directory)] == []
            location.kept_snapshot("secretive").forget()
        until(lambda: not processes_of(container), "its end")
    logs = place.log("location") + place.log("node")
    assert container.uuid in logs, "nothing was logged"
    every_key = {form for texts in secret_keys(place).values() for form in texts}
    for what, mark in marks.items():
        assert mark not in logs, what
        assert not any(mark in text for text in said), what
        assert not any(mark.encode() in line for line in lists.lines()), what
    for form in every_key:
        assert form not in logs.encode()
        assert not any(form in line for line in lists.lines())
    assert len(lists.lines()) > 10


def _run(location: Location, image: str, marks: dict[str, str], said: list[str]) -> Container:
    """Good days and bad ones; what errors say is collected."""
    node = location.node()
    wish = {
        "env": [("PASSWORD", marks["env"])],
        "pre_boot_files": [("/etc/password", marks["preboot"])],
    }
    container = node.spawn_container(image, command=["sleep", "infinity"], **wish).wait_until_ready()
    assert container.run_process("echo $PASSWORD; cat /etc/password").stdout.decode().split() == [
        marks["env"], marks["preboot"],
    ]  # fmt: skip
    container.put("/srv/file", marks["file"])
    assert container.fetch("/srv/file").decode() == marks["file"]
    container.snapshot("base")
    container.rollback()
    container.keep("secretive")
    attempts = (
        lambda: node.spawn_container(image, command=["/no/such/program"], **wish).wait_until_ready(),
        lambda: node.spawn_container(
            image, command=["sh", "-c", "exit 3"], ready=ready.tcp(1), **wish
        ).wait_until_ready(),
        lambda: node.spawn_container(image, user="nobody-at-all", **wish).wait_until_ready(),
        lambda: node.spawn_container(image, env=[("A=B", marks["env"])]),
        lambda: node.spawn_container(image, pre_boot_files=[("relative", marks["preboot"])]),
        lambda: container.run_process("true", user="nobody-at-all"),
        lambda: container.put("/proc/version", marks["file"]),
        lambda: container.put("/srv/file/below", marks["file"]),
        lambda: node.spawn_container("no-such-image", **wish),
    )
    for attempt in attempts:
        with pytest.raises((TfError, ValueError)) as refused:
            attempt()
        said += [str(refused.value), repr(refused.value), repr(getattr(refused.value, "details", ""))]
    said += [repr(location), repr(container), repr(location.account)]
    return container


def _of_daemons(place: RemoteLocation) -> list[int]:
    return [pid for daemon in place._daemons.values() for pid in (daemon.pid,)] + [place.node.agent]


def test_an_invitation_need_not_be_an_argument(place: RemoteLocation) -> None:
    """On standard input nobody else can read it."""
    invitation = place._ask("tflocation", "account", "add", "carol").split()[-1]
    command = [sys.executable, "-m", "tfnz.cli", "account", "accept", "-"]
    environment = os.environ | {"TF_HOME": str(place.directory / "carol")}
    with ProcessLists() as lists:
        done = subprocess.run(
            command, input=invitation + "\n", capture_output=True, text=True, env=environment, timeout=30, check=False
        )
    assert done.returncode == 0, done.stderr
    assert not any(invitation.encode() in line for line in lists.lines())
    assert stat.S_IMODE((place.directory / "carol" / place.name).stat().st_mode) == 0o600
