"""A generation beside a moment, where real processes and files are made of lists; and what /proc tells of this process."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import until
from tfcore.wire.differences import CompareContainer, FileDifference
from tfnode.containers import comparison
from tfnode.containers.comparison import Comparison
from tfnode.containers.evidence import Evidence, Memory
from tfnode.kernel import procfs
from tfnode.kernel.fingerprint import Fingerprint, Stamp
from tfnode.kernel.procfs import Inside, Process
from tfnode.kernel.sockets import established

MAIN, WORKER = Process(10, 100, "server"), Process(11, 101, "server")
SERVICE = {
    MAIN: Inside(1, "server -d", 0, 10, ended=False),
    WORKER: Inside(2, "server: worker", 10, 10, ended=False),
}


@dataclass
class Place:
    """A scene of which everything can be said."""

    pid: int = field(default_factory=os.getpid)
    there: dict[Process, Inside] = field(default_factory=lambda: dict(SERVICE))
    memory: dict[str, Fingerprint] = field(default_factory=dict)

    def processes(self) -> frozenset[Process]:
        return frozenset(self.there)

    def roster(self, processes: Iterable[Process]) -> dict[Process, Inside]:
        return {one: self.there[one] for one in processes}

    def files_in_memory(self) -> dict[str, Fingerprint]:
        return self.memory


class Disk:
    """A storage whose labels are directories."""

    name = "directories"

    @contextmanager
    def layers(self, label: str) -> Iterator[tuple[Path, ...]]:
        yield (Path(label),)


def beside(place: Place, *, pairs: dict[str, tuple[str, str]] | None = None, **seen: Any) -> Comparison:
    evidence = Evidence(
        0, frozenset(SERVICE), seen.pop("files", {}), Memory(0.0, "", b""), roster=dict(SERVICE), **seen
    )
    return Comparison(Disk(), pairs or {}, place, evidence)  # type: ignore[arg-type]


def stamp(size: int, changed: int = 1, mode: int = stat.S_IFREG) -> Stamp:
    return (changed, changed, 7, mode, 1, 0, 0, size, 0)


@pytest.mark.parametrize(
    ("process", "inside", "left"),
    [
        (Process(20, 200, "sleep"), Inside(5, "sleep 9", 10, 10, ended=False), True),
        (Process(20, 200, "sleep"), Inside(5, "sleep 9", 10, 10, ended=True), False),
        (Process(20, 200, "server"), Inside(5, "server: worker", 10, 10, ended=False), False),
        (Process(20, 200, "server"), Inside(5, "server: client", 10, 20, ended=False), False),
        (Process(20, 200, "server"), Inside(5, "server --other", 10, 19, ended=False), True),
        (Process(20, 200, "server"), Inside(5, "server --other", 0, 20, ended=False), True),
        (Process(10, 100, "other"), Inside(1, "other", 0, 10, ended=False), False),
    ],
    ids=["another program", "a zombie", "a worker", "one in a session of its own", "of a command that has ended",
         "a command that runs", "the service, which has become another program"],
)  # fmt: skip
def test_whose_process_it_is(process: Process, inside: Inside, left: bool) -> None:
    place = Place(there={**SERVICE, process: inside})
    if process.pid == MAIN.pid:
        del place.there[MAIN]
    assert beside(place).left("processes").processes == ((inside.command,) if left else ())
    assert beside(place).left("files").processes == ()


def test_nothing_is_said_to_be_left_where_nobody_knows_what_was_there() -> None:
    place = Place(there={**SERVICE, Process(20, 200, "sleep"): Inside(5, "sleep 9", 10, 10, ended=False)})
    unseen = Comparison(Disk(), {}, place, None)  # type: ignore[arg-type]
    assert unseen.left("all").processes == ()
    told = unseen.told("s", CompareContainer())
    assert told.processes == ()
    assert told.notes == ("nobody has seen its processes and its files in memory when it stood at this snapshot",)


def test_files_in_memory_are_compared_by_their_stamps() -> None:
    then = {"": stamp(0, mode=stat.S_IFDIR), "a": stamp(1), "b": stamp(2), "c": stamp(3)}
    now = {
        "": stamp(0, 2, stat.S_IFDIR),
        "a": stamp(1),
        "b": stamp(2, changed=2),
        "d": stamp(4),
        "e": stamp(0, mode=stat.S_IFIFO),
    }
    told = beside(Place(memory={"/dev/shm": now}), files={"/dev/shm": then}).told("s", CompareContainer())
    assert told.files == (
        FileDifference(path="/dev/shm/b", kind="changed", before=2, after=2),
        FileDifference(path="/dev/shm/c", kind="removed", before=3),
        FileDifference(path="/dev/shm/d", kind="added", after=4),
        FileDifference(path="/dev/shm/e", kind="added"),
    )
    assert beside(Place(memory={"/dev/shm": now}), files={"/dev/shm": then}).left("files").files == (
        "/dev/shm/d",
        "/dev/shm/e",
    )


def test_a_name_that_is_no_text_is_told_anyway(tmp_path: Path) -> None:
    (tmp_path / "then").mkdir()
    (tmp_path / "now").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "now") + b"/\xff")).write_bytes(b"x")
    pairs = {"/data": (str(tmp_path / "then"), str(tmp_path / "now"))}
    told = beside(Place(), pairs=pairs).told("s", CompareContainer())
    assert told.files == (FileDifference(path="/data/\\xff", kind="added", after=1),)


def test_what_cannot_be_read_is_a_note(tmp_path: Path) -> None:
    told = beside(Place(pid=1 << 30), pairs={"": (str(tmp_path), str(tmp_path / "none"))}).told("s", CompareContainer())
    assert [note.partition(":")[0] for note in told.notes] == [
        "its connections could not be looked at",
        "files below / could not be compared",
    ]
    hurried = beside(Place(), pairs={"": (str(tmp_path), str(tmp_path.parent))})
    assert hurried.told("s", CompareContainer(seconds=0)).notes == ("there was not the time to look at all files",)


def test_a_container_that_has_made_a_great_many_files_is_told_of_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "MOST", 30)
    for directory, number in (("then", 0), ("now", 40)):
        (tmp_path / directory).mkdir()
        for n in range(number):
            (tmp_path / directory / f"f{n}").write_bytes(b"x")
    pairs = {"": (str(tmp_path / "then"), str(tmp_path / "now"))}
    told = beside(Place(), pairs=pairs).told("s", CompareContainer(most=10))
    assert (len(told.files), told.more_files) == (10, 20)
    assert told.notes == ("of more than 30 changed files only these were looked at",)


# --- /proc


def test_a_process_as_its_container_knows_it() -> None:
    with subprocess.Popen(["sleep", "77"], start_new_session=True) as sleeper:
        until(lambda: procfs.inside(sleeper.pid).command == "sleep 77", "its program")
        assert procfs.inside(sleeper.pid) == Inside(sleeper.pid, "sleep 77", os.getpid(), sleeper.pid, ended=False)
        sleeper.kill()
        until(lambda: procfs.inside(sleeper.pid).ended, "its end")
        assert procfs.inside(sleeper.pid).command == "[sleep]"


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_both_ends_of_a_connection(family: socket.AddressFamily, address: str) -> None:
    with socket.socket(family) as server, socket.socket(family) as client:
        try:
            server.bind((address, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        server.listen()
        port = server.getsockname()[1]
        client.connect((address, port))
        theirs = client.getsockname()[1]
        mine = [one for one in established(os.getpid()) if theirs in (one.port, one.peer_port) or port == one.port]
        assert [(one.incoming, one.port, one.peer, one.peer_port) for one in mine] == [
            (False, port, address, port),
            (True, port, address, theirs),
        ]
