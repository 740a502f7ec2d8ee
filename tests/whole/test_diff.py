"""What has changed in a real container since a snapshot, and what a rollback says was left in it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator

import psycopg
import pytest

from tests.support import example_images
from tests.support.daemons import PrivateLocation, RemoteLocation, until
from tests.support.line import PORT, Spawn, private_location, said, sleeper
from tests.support.outside import main_process
from tfcore.errors import NotFound, WrongState
from tfcore.wire.differences import LookFor
from tfnz.container import Container
from tfnz.difference import FileChange
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

BACKGROUND = ">/dev/null 2>&1 </dev/null &"


@pytest.fixture(scope="module", params=["overlay", "directory", "btrfs"])
def place(request: pytest.FixtureRequest) -> Iterator[PrivateLocation | RemoteLocation]:
    with private_location(request.param) as made:
        yield made


def files(container: Container, snapshot: str = "") -> set[tuple[str, str]]:
    return {(one.kind, one.path) for one in container.diff(snapshot).files}


# --- what has changed


def test_files_in_root_volumes_and_memory(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny, volumes={"/data": location.node().create_volume()})
    said(container, "mkdir /gone; echo a > /gone/a; echo 12 > /data/kept; echo x > /data/old; echo m > /dev/shm/m")
    container.snapshot()
    assert container.diff().files == ()
    for _ in range(2):
        said(
            container,
            "rm -r /gone /data/old; echo 1234 > /data/kept; mkdir /empty; echo n > /dev/shm/n; touch /etc/passwd",
        )
        told = container.diff()
        assert {one for one in told.files if one.path != "/dev/shm/m"} == {
            FileChange("/data/kept", "changed", 3, 5),
            FileChange("/data/old", "removed", 2),
            FileChange("/dev/shm/n", "added", after=2),
            FileChange("/empty", "added"),
            FileChange("/gone/a", "removed", 2),
        }
        assert told.bytes == 7
        assert told.notes == ()
        container.rollback()
        assert files(container) == set(), "after a rollback it is as it was"


def test_memory_of_a_running_container_is_compared_as_it_was(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    said(container, "echo m > /dev/shm/m; echo o > /dev/shm/o")
    container.snapshot()
    said(container, "echo mmm > /dev/shm/m; rm /dev/shm/o")
    assert set(container.diff().files) == {
        FileChange("/dev/shm/m", "changed", 2, 4),
        FileChange("/dev/shm/o", "removed", 2),
    }


def test_any_snapshot_can_be_compared_with(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    container.snapshot("one")
    said(container, "echo > /one")
    container.snapshot("two")
    said(container, "echo > /two")
    container.rollback("one")
    said(container, "echo > /three")
    assert files(container) == files(container, "one") == {("added", "/three")}
    assert files(container, "two") == {("added", "/three"), ("removed", "/one")}
    assert [note for note in container.diff("two").notes if "nobody has seen its processes" in note]
    assert container.diff("one", to="two").files == (FileChange("/one", "added", after=1),)
    with pytest.raises(NotFound, match=r"no snapshot 'three'"):
        container.diff("three")


def test_processes_that_are_new_and_that_have_ended(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    said(container, f"sleep 1234 {BACKGROUND} echo $! > /pid")
    container.snapshot()
    said(container, "kill $(cat /pid)")
    said(container, f"sleep 9999 {BACKGROUND}")
    told = {(one.kind, one.command) for one in container.diff().processes}
    assert told == {("ended", "sleep 1234"), ("new", "sleep 9999")}
    number = next(one.pid for one in container.diff().processes if one.command == "sleep 9999")
    assert said(container, f"cat /proc/{number}/cmdline | tr '\\0' ' '").strip() == "sleep 9999"


def test_connections_in_both_directions(serve: Spawn) -> None:
    container = serve()
    container.snapshot()
    assert container.diff().connections == ()
    with socket.create_connection(("127.0.0.1", int(container.tunnel(PORT).localport))) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        (one,) = container.diff().connections
        assert (one.incoming, one.port) == (True, PORT)
        assert f"connection to port {PORT} from " in str(container.diff())


def test_what_is_too_much_is_counted(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    container.snapshot()
    said(container, "mkdir /d; for n in $(seq 1 150); do echo > /d/$n; done")
    told = container.diff(most=10)
    assert (len(told.files), told.more_files, told.bytes) == (10, 140, 150)
    assert "and 140 more files" in str(told)
    assert "changed since s" in str(told)
    assert "150 files, 150 B" in str(told)


def test_looking_leaves_no_trace(place: PrivateLocation, location: Location, tiny: str) -> None:
    if place.storage == "btrfs":
        pytest.skip("this driver cannot tell whether anything was written")
    container = sleeper(location, tiny)
    container.snapshot()
    until(lambda: container.rollback().tier == "clean", "a clean rollback")
    container.diff()
    assert container.rollback().tier == "clean"


def test_a_container_that_has_died_is_told_of_as_far_as_it_goes(location: Location, tiny: str) -> None:
    container = location.node().spawn_container(tiny, command=["sleep", "999"]).wait_until_ready()
    container.snapshot()
    said(container, "echo > /last-words")
    os.kill(main_process(container), signal.SIGKILL)
    until(lambda: container.end is not None, "its end")
    told = container.diff()
    assert FileChange("/last-words", "added", after=1) in told.files
    assert [one.command for one in told.processes if one.kind == "ended"] == ["sleep 999"]
    assert any("could not be looked at" in note for note in told.notes)


def test_a_destroyed_container_cannot_be_asked(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    container.destroy()
    with pytest.raises(WrongState, match="destroyed"):
        container.diff()


def test_a_database(place: PrivateLocation, location: Location) -> None:
    if place.storage == "directory":
        pytest.skip("it takes long to copy the whole image for each generation")
    image = example_images.reference("postgres")
    container = location.node().spawn_container(image, env={"POSTGRES_HOST_AUTH_METHOD": "trust"}).wait_until_ready(120)
    container.snapshot()
    url = f"postgresql://postgres@127.0.0.1:{int(container.tunnel(5432).localport)}/postgres"
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
        db.execute("CHECKPOINT")
        told = container.diff()
        assert any("/base/" in one.path and one.kind == "added" for one in told.files)
        assert [one.port for one in told.connections if one.incoming] == [5432]
        assert any("postgres" in one.command for one in told.processes if one.kind == "new")
        left = container.rollback(look_for="all").left
    assert left.processes == (), "a client's backend is the service's own"


# --- what was left


def left(container: Container, command: str, look_for: LookFor) -> tuple[tuple[str, ...], tuple[str, ...]]:
    said(container, command)
    told = container.rollback(look_for=look_for).left
    return told.processes, told.files


def test_processes_that_are_left_running(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    container.snapshot()
    program = f"perl -e 'sleep 99' {BACKGROUND}"
    assert left(container, program, "nothing") == ((), ())
    for _ in range(2):  # in the generation that was snapshot, and in those that grew from it
        assert left(container, program, "processes") == (("perl -e sleep 99",), ())
    assert left(container, program, "files") == ((), ())
    said(container, f"for n in $(seq 12); do perl -e 'sleep 7' {BACKGROUND} done")
    told = container.rollback(look_for="processes").left
    assert (len(told.processes), told.more_processes) == (10, 2)


def test_another_copy_of_the_service_s_program_was_left_too(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    container.snapshot()
    assert left(container, f"sleep 4321 {BACKGROUND}", "processes") == (("sleep 4321",), ())


def test_what_the_service_starts_by_itself_is_its_own(serve: Spawn) -> None:
    container = serve()
    container.snapshot()
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", int(container.tunnel(PORT).localport))) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x", "it has forked for this client"
            assert container.rollback(look_for="processes").left.processes == ()


def test_a_command_that_still_runs(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    container.snapshot()
    running = threading.Thread(target=lambda: container.run_process("exec perl -e 'sleep 55'"))
    running.start()
    until(lambda: any("sleep 55" in one.command for one in container.diff().processes), "the command to run")
    assert container.rollback(look_for="processes").left.processes == ("perl -e sleep 55",)
    running.join(20)
    assert not running.is_alive()


def test_files_that_are_left_where_temporary_ones_go(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    said(container, "mkdir -p /var/tmp; echo > /tmp/before")
    container.snapshot()
    command = (
        "echo > /tmp/a; echo >> /tmp/before; mkdir -p /var/tmp/d; echo > /var/tmp/d/b; echo > /dev/shm/c; echo > /e"
    )
    for _ in range(2):
        assert left(container, command, "files")[1] == ("/dev/shm/c", "/tmp/a", "/var/tmp/d/b")
    assert left(container, command, "processes") == ((), ())


def test_nothing_is_left_where_nothing_happened(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    container.snapshot()
    told = container.rollback(look_for="all").left
    assert (told.processes, told.files) == ((), ())
