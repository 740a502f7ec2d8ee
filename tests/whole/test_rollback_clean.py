"""A rollback after nothing does nothing; after anything at all, whoever did it, it is a rollback. With real services.

What a container does in these tests it does by itself, so that no command and no connection gives it away.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests.support import example_images
from tests.support.daemons import PrivateLocation, until
from tests.support.line import PORT, SECONDS, SERVER, Spawn, private_location, remote_location, session_at, sleeper
from tests.support.outside import main_process
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

EVERY = 0.5
"""Seconds between what a container does by itself: long enough for a mark to be set in between."""

MAP = """
    sub mapped {
        open F, "+>", shift; syswrite F, "x" x 4096; open R, "/dev/urandom";
        $m = syscall(9, 0, 4096, 3, 1, fileno F, 0); syscall(0, fileno R, $m, 8);
    }
"""
"""Perl has no mmap: system call 9 maps a page, and 0 (read) fills eight bytes of it. What is written first is stamped."""

SETXATTR = {"x86_64": 188, "aarch64": 5}[os.uname().machine]
"""Nor has it setxattr."""

BY_ITSELF = {
    "write": ("", 'open F, ">>", "/tmp/file"; syswrite F, "x"; close F', "/tmp/file"),
    "same size, same time": (
        'open F, ">", "/tmp/file"; syswrite F, "xx"; close F; utime 1, 1, "/tmp/file"',
        'open F, "+<", "/tmp/file"; syswrite F, rand() > 0.5 ? "ab" : "cd"; close F; utime 1, 1, "/tmp/file"',
        "/tmp/file",
    ),
    "mode": ("", 'chmod 0700 + $n++ % 8, "/etc/passwd"', "/etc/passwd"),
    "owner": ("", 'chown 0, $n++ % 9, "/etc/passwd"', "/etc/passwd"),
    "name": ('open F, ">", "/tmp/n0"', 'rename "/tmp/n" . $n++, "/tmp/n$n"', "/tmp/n"),
    "delete": ('open F, ">", "/tmp/n$_" for 0..99', 'unlink "/tmp/n" . $n++', "/tmp"),
    "xattr": ('($file, $name) = ("/etc/passwd", "user.tf")',
              f'$value = "v" . $n++; syscall {SETXATTR}, $file, $name, $value, length $value, 0', "/etc/passwd"),
    "hard link": ("", 'link "/etc/passwd", "/etc/p" . $n++', "/etc/p"),
    "directory": ("", 'mkdir "/tmp/d" . $n++', "/tmp/d"),
    "/dev/shm": ("", 'open F, ">", "/dev/shm/segment"; syswrite F, rand; close F', "/dev/shm"),
    "/dev/shm, mapped": (MAP + 'mapped "/dev/shm/m"', "syscall(0, fileno R, $m, 8)", "shared memory"),
    "file, mapped": (MAP + 'mapped "/tmp/m"', "syscall(0, fileno R, $m, 8)", "may be written to unseen"),
    "new process": ("", "if (!fork) { sleep 999 }", "its processes"),
    "lost process": ("for (0..99) { if (!($p = fork)) { sleep 999; exit } push @p, $p }",
                     "kill 9, shift @p; wait", "its processes"),
    "outgoing packet": ("socket(U, 2, 2, 0)", 'send U, "x", 0, pack "Sna4x8", 2, 9, "\\x0a\\x75\\xff\\xfe"', "traffic"),
}  # fmt: skip
"""What it does at first, what it does again and again, and what is found."""


@pytest.fixture(scope="module", params=["overlay", "directory"])
def place(request: pytest.FixtureRequest) -> Iterator[PrivateLocation]:
    with private_location(request.param) as made:
        yield made


def why(place: PrivateLocation) -> str:
    """Why the last rollback that did something did it, in the node's words."""
    lines = [json.loads(line)["message"] for line in place.log().splitlines() if " goes back to " in line]
    return lines[-1].partition("': ")[2] if lines else "(no rollback did anything)"


def executed(container: Container) -> bool:
    """Whether its first process is no longer the runtime's: without a probe it is ready as soon as it has started."""
    with contextlib.suppress(FileNotFoundError):  # it is being rolled back
        return "crun" not in Path(f"/proc/{main_process(container)}/comm").read_text()
    return False


def asleep(location: Location, image: str, **wish: object) -> Container:
    """A container that does nothing by itself, once it has executed its command."""
    container = sleeper(location, image, **wish)
    until(lambda: executed(container), "its command to be executed")
    return container


def until_clean(container: Container) -> None:
    """Nothing happens to it any more: sooner or later that is seen, when its boot's last processes are there."""
    until(lambda: executed(container) and container.rollback().tier == "clean", "a clean rollback")


def test_nothing_happened(location: Location, tiny: str) -> None:
    container = asleep(location, tiny)
    container.snapshot()
    first = container.status().generation
    for _ in range(5):
        done = container.rollback()
        assert (done.tier, done.generation) == ("clean", first)
    container.run_process("true")
    assert container.rollback().tier != "clean"
    until_clean(container)


@pytest.mark.parametrize("what", BY_ITSELF)
def test_what_it_does_by_itself_is_noticed(place: PrivateLocation, location: Location, tiny: str, what: str) -> None:
    first, again, found = BY_ITSELF[what]
    script = f"{first}; for (;;) {{ select undef, undef, undef, {EVERY}; {again} }}"
    container = location.node().spawn_container(tiny, command=["perl", "-e", script]).wait_until_ready()
    container.snapshot()
    until(lambda: container.rollback().tier != "clean" and found in why(place), f"{found!r} to be told", seconds=30)


def test_what_another_container_writes_to_a_volume_is_noticed(
    place: PrivateLocation, location: Location, tiny: str
) -> None:
    volume = location.node().create_volume()
    one, other = (asleep(location, tiny, volumes={"/data": volume}) for _ in range(2))
    one.snapshot()
    until_clean(one)
    assert other.run_process("echo > /data/new").exit_code == 0
    assert one.rollback().tier != "clean"
    assert "volume" in why(place)
    assert "/new" in why(place)
    assert other.run_process("test -e /data/new").exit_code == 1


def test_who_might_talk_to_it_by_a_socket_in_a_volume_is_never_trusted(
    place: PrivateLocation, location: Location, tiny: str
) -> None:
    volume = location.node().create_volume()
    listens = """
        unlink "/data/socket"; socket S, 1, 1, 0; bind S, pack "Sa108", 1, "/data/socket"; listen S, 9;
        for (;;) { accept C, S; $n++ }
    """
    one = location.node().spawn_container(tiny, command=["perl", "-e", listens], volumes={"/data": volume})
    other = asleep(location, tiny, volumes={"/data": volume})
    until(lambda: one.wait_until_ready().run_process("test -S /data/socket").exit_code == 0, "its socket")
    one.snapshot()
    other.snapshot()
    until(lambda: one.rollback().tier != "clean" and "/socket" in why(place), "the socket to be told", seconds=30)
    until(lambda: "/data/socket" in Path(f"/proc/{main_process(one)}/net/unix").read_text(), "it to listen again")
    assert one.rollback().tier != "clean"  # a connection would wait in the socket until it is accepted


def test_a_volume_that_was_rolled_back_by_name_is_noticed(location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    container = asleep(location, tiny, volumes={"/data": volume})
    volume.snapshot("empty")
    container.snapshot()
    until_clean(container)
    volume.rollback("empty")
    assert container.rollback().tier != "clean"


def test_what_its_user_does_is_noticed(location: Location, tiny: str) -> None:
    container = asleep(location, tiny)
    container.snapshot()
    container.put("/etc/new", b"x")
    assert container.rollback().tier != "clean"
    until_clean(container)
    assert container.fetch("/etc/passwd")
    assert container.rollback().tier == "clean", "reading a file leaves no trace"


def test_who_wants_it_is_always_rolled_back(location: Location, tiny: str) -> None:
    container = asleep(location, tiny, always_roll_back=True)
    container.snapshot()
    assert {container.rollback().tier for _ in range(3)} & {"clean"} == set()


def test_the_next_tests_log_begins_after_it(location: Location, tiny: str) -> None:
    container = location.node().spawn_container(tiny, command=["sh", "-c", "echo before; exec sleep 999"])
    container.wait_until_ready()
    until(lambda: list(container.logs()), "its words")
    container.snapshot()
    done = container.rollback()
    assert done.tier == "clean"
    assert list(container.logs(done.log_mark)) == []


# --- connections


def connected(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), SECONDS)
    client.sendall(b"hello")
    assert client.recv(5) == b"hello"
    return client


def is_reset(client: socket.socket) -> bool:
    """False if it ends as if all had been said."""
    try:
        while client.recv(100):
            pass
    except ConnectionResetError:
        return True
    return False


def assert_idle_connections_stay(container: Container) -> None:
    """One that is open at the snapshot and says nothing stays; as soon as it says something, it goes."""
    port = container.attach_tunnel(PORT).localport
    until(lambda: stays_while_idle(container, port), "a snapshot after the kernel's last acknowledgement")


def stays_while_idle(container: Container, port: int) -> bool:
    """False if the acknowledgement of its greeting, which the kernel may delay, came after the snapshot."""
    with connected(port) as client:
        container.snapshot()
        if container.rollback().tier != "clean":
            return False
        client.sendall(b"still here")
        assert client.recv(10) == b"still here"
        assert container.rollback().tier != "clean"
        assert is_reset(client)
        return True


def test_an_idle_connection_through_a_tunnel_stays(location: Location, serve: Spawn) -> None:
    assert_idle_connections_stay(serve())


def test_what_was_said_before_a_rollback_never_reaches_the_next_test(location: Location, serve: Spawn) -> None:
    """Whoever speaks and does not wait for an answer may be heard after the rollback has been asked for."""
    container = serve()
    container.snapshot()
    port = container.attach_tunnel(PORT).localport
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
            client.sendall(b"hello")
            assert container.rollback().tier != "clean"
            assert is_reset(client)


def test_the_same_from_afar(tiny: str) -> None:
    with remote_location() as place, session_at(place) as location:
        container = location.node().spawn_container(tiny, command=["perl", "-e", SERVER], ready=ready.tcp(PORT))
        assert_idle_connections_stay(container.wait_until_ready())


# --- services


@pytest.mark.parametrize("place", ["overlay"], indirect=True, scope="module")
def test_redis_has_it_all_in_memory(location: Location) -> None:
    """No file changes and no process: only what has reached it tells. It wakes ten times a second, which is no trace."""
    container = location.node().spawn_container(example_images.reference("redis")).wait_until_ready()
    container.snapshot()
    with redis.Redis(port=container.attach_tunnel(6379).localport) as client:
        for _ in range(2):
            until_clean(container)
            ticks = _processor_time(container)
            until(lambda ticks=ticks: _processor_time(container) > ticks, "Redis to wake up")  # type: ignore[misc]
            assert container.rollback().tier == "clean"
            client.set("key", "value")
            assert container.rollback().tier != "clean"
            assert client.get("key") is None
            container.rollback()


def _processor_time(container: Container) -> int:
    """Nanoseconds its main process has run."""
    with open(f"/proc/{main_process(container)}/schedstat") as file:
        return int(file.read().split()[0])


@pytest.mark.parametrize("place", ["overlay"], indirect=True, scope="module")
def test_postgresql_has_much_to_do_in_the_background(location: Location) -> None:
    container = location.node().spawn_container(
        example_images.reference("postgres"), env={"POSTGRES_HOST_AUTH_METHOD": "trust"}, clean_stop=True
    )
    container.wait_until_ready()
    address = f"host=127.0.0.1 port={container.attach_tunnel(5432).localport} user=postgres dbname=postgres"
    container.snapshot()
    until_clean(container)
    with psycopg.connect(address, autocommit=True) as db:
        db.execute("CREATE TABLE t (n int)")
    assert container.rollback().tier != "clean"
    with psycopg.connect(address, autocommit=True) as db:
        assert db.execute("SELECT to_regclass('t')").fetchone() == (None,)
    container.rollback()
    until_clean(container)
