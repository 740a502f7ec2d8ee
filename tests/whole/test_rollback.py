"""What a rollback brings back and whom it ends (D9.1 and D9.2 of the design), by real containers, for every storage driver.

What must be as it was is compared from outside, by root, through the root directory of the container's first process.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import PORT, SECONDS, Spawn, assert_files, session_at
from tests.support.outside import files_of, generation_processes, main_process, root_of
from tests.support.tcp_clients import assert_reset_by_rollback, echoed, hammering, outcome, reached, sockaddr
from tfnode.testing import play
from tfnode.testing.trees import Manifest, differences
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

BEAT = "alive\n"
BACKGROUND = """
    (trap "" TERM HUP; while :; do echo alive >> /tmp/beat; sleep 0.01; done > /dev/null 2>&1 &)
    (sleep 1000 > /dev/null 2>&1 &)
"""
"""Processes that outlive the command that started them."""

A_LIFE = (
    BACKGROUND
    + """
    set -e
    echo other > /etc/hostname; echo 1.2.3.4 else >> /etc/hosts; rm /etc/seed; echo more >> /etc/also
    rm -r /srv; echo file > /srv; rm /etc/group; mkdir /etc/group
    mv /var/lib /var/moved; mkdir /var/lib; echo new > /var/lib/new
    chmod 4711 /bin/cat; chown 101:500 /bin/echo; ln /etc/passwd /etc/second; ln -s /nowhere /tmp/link
    touch -d @1 /bin/ls; cp -a /bin/id /run/id; echo shared > /dev/shm/segment
    dd if=/dev/zero of=/sparse bs=1 count=1 seek=10M 2> /dev/null; sync
"""
)
"""What a test might do in a container that it does not expect to see again."""

PLACES = ("own", "data/own")
"""Directories with one of everything: the container's, and a volume's."""


# --- 1: everything is as it was


@dataclass(frozen=True)
class Furnished:
    """A container with one of everything, and its files as they were when the snapshot was taken."""

    container: Container
    wanted: dict[str, Manifest]


@pytest.fixture(scope="class")
def furnished(place: PrivateLocation, tiny: str) -> Iterator[Furnished]:
    with session_at(place) as location:
        volume = location.node().create_volume()
        container = location.node().spawn_container(
            tiny,
            command=["sleep", "infinity"],
            volumes={"/data": volume},
            pre_boot_files={"/etc/seed": b"seed", "/etc/also": b"seed"},
        )
        container.wait_until_ready()
        for place in PLACES:
            play.furnish(root_of(container) / place)
        container.snapshot("furnished")
        yield Furnished(container, files_of(container))


class TestEverything:
    @pytest.mark.parametrize("spoiling", play.SPOILINGS)
    def test_comes_back(self, furnished: Furnished, spoiling: str) -> None:
        """In its own files and in a volume's."""
        container = furnished.container
        for place in PLACES:
            play.SPOILINGS[spoiling](root_of(container) / place)
        wrong = differences(furnished.wanted["/"], files_of(container)["/"])
        assert all(any(sentence.startswith(f"'{place}") for sentence in wrong) for place in PLACES), (
            "the test spoiled nothing"
        )
        container.rollback("furnished")
        assert_files(furnished.wanted, container)

    def test_comes_back_after_a_life_of_its_own(self, furnished: Furnished) -> None:
        container = furnished.container
        done = container.run_process(A_LIFE)
        assert (done.exit_code, done.stderr) == (0, b"")
        spoilt = files_of(container)
        assert all(differences(furnished.wanted[top], spoilt[top]) for top in spoilt), "the test spoiled nothing"
        container.rollback("furnished")
        assert_files(furnished.wanted, container)


def test_a_container_without_volumes_comes_back_to_its_image(location: Location, tiny: str) -> None:
    """There was no snapshot: what it goes back to is the image with the pre-boot files."""
    container = location.node().spawn_container(
        tiny, command=["sleep", "infinity"], pre_boot_files={"/etc/seed": b"seed", "/etc/also": b"seed"}
    )
    wanted = files_of(container.wait_until_ready())
    container.run_process(A_LIFE)
    container.rollback()
    assert_files(wanted, container)


# --- 2: whom it ends, and what stays


def test_no_process_of_the_old_generation_runs_again(serve: Spawn) -> None:
    """It is dead, or waits with a SIGKILL pending until it is cleared away: then its beats have stopped as well."""
    container = serve()
    container.snapshot()
    assert container.run_process(BACKGROUND).exit_code == 0
    old = generation_processes(container, container.status().generation)
    assert len(old) >= 3
    with contextlib.ExitStack() as stack:
        descriptors = [os.pidfd_open(pid) for pid in old]
        for descriptor in descriptors:
            stack.callback(os.close, descriptor)
        beats = stack.enter_context((root_of(container) / "tmp/beat").open())
        container.rollback()
        size = os.fstat(beats.fileno()).st_size
        until(lambda: len(select.select(descriptors, [], [], 0)[0]) == len(old), "all of the old generation to be gone")
        more = os.fstat(beats.fileno()).st_size - size
        assert more <= len(BEAT), "some of the old generation went on"  # a write that was under way may come to its end


def test_a_service_that_was_down_runs_again(location: Location, serve: Spawn) -> None:
    container = serve()
    container.snapshot()
    os.kill(main_process(container), signal.SIGKILL)
    until(lambda: container.status().state == "ended", "the end of the main process")
    container.rollback()
    assert echoed(container.attach_tunnel(PORT).localport)


def test_the_answer_comes_when_the_service_is_ready(location: Location, tiny: str) -> None:
    """The probe runs at every boot: a rollback is no excuse for a service that does not answer yet."""
    slow = "while ! test -e /tmp/now; do sleep 0.01; done; exec sleep infinity"
    probe = ready.exec("touch /tmp/asked; test -e /tmp/now")
    container = location.node().spawn_container(tiny, command=["sh", "-c", slow], ready=probe)
    until(lambda: container.run_process("test -e /tmp/asked").exit_code == 0, "the probe to have been tried")
    container.put("/tmp/now", b"")
    container.wait_until_ready()
    container.snapshot()
    container.run_process("rm /tmp/now /tmp/asked")
    assert container.rollback().generation == container.status().generation
    assert container.run_process("test -e /tmp/now").exit_code == 0
    assert container.is_ready()


def test_address_name_and_local_port_stay(location: Location, serve: Spawn) -> None:
    container, other = serve(hostname="web"), serve()
    container.allow_connection_from(other)
    tunnel = container.attach_tunnel(PORT)
    container.snapshot()
    before = str(container.ip), tunnel.localport, container.run_process("hostname; cat /etc/hosts").stdout
    for _ in range(3):
        container.rollback()
        assert echoed(tunnel.localport)
        assert reached(other, container) == "echo"
    after = str(container.ip), tunnel.localport, container.run_process("hostname; cat /etc/hosts").stdout
    assert after == before


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_connections_through_a_tunnel_are_reset(location: Location, serve: Spawn, busy: bool) -> None:
    container = serve()
    tunnel = container.attach_tunnel(PORT)
    assert tunnel.handed_over
    container.snapshot()
    assert_reset_by_rollback(container, tunnel.localport, busy=busy)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_connections_from_another_container_are_reset(location: Location, serve: Spawn, busy: bool) -> None:
    container, other = serve(), serve()
    container.allow_connection_from(other)
    container.snapshot()
    ends: list[bytes] = []
    script = f"""
        $| = 1; socket(S, 2, 1, 0); connect(S, {sockaddr(container)}) || die "connect: $!";
        syswrite(S, {'"flood"' if busy else '"hello"'}); sysread(S, $_, 5); print "in\\n";
        while ($n = sysread(S, $_, 65536)) {{}} print defined $n ? "end of file" : "errno " . ($!+0);
    """
    connected = threading.Event()

    def heard(_: Container, data: bytes) -> None:
        ends.append(data)
        connected.set()

    client = threading.Thread(
        target=other.run_process, args=(f"perl -e '{script}'",), kwargs={"data_callback": heard, "timeout": SECONDS}
    )
    client.start()
    assert connected.wait(SECONDS)
    container.rollback()
    client.join(SECONDS)
    assert b"".join(ends) == b"in\nerrno 104"
    assert reached(other, container) == "echo"


def test_its_own_connections_to_others_are_reset(location: Location, serve: Spawn) -> None:
    """What the old generation had open elsewhere must not stay half open there."""
    container, other = serve(), serve()
    container.allow_connection_from(other)
    container.snapshot()
    opened = threading.Event()
    script = (
        f'$| = 1; socket(S, 2, 1, 0); connect(S, {sockaddr(other)}) || die; syswrite(S, "hello"); print "in"; sleep 99'
    )

    def begin() -> None:
        with contextlib.suppress(ValueError):  # the command ends with its generation
            container.run_process(f"perl -e '{script}'", data_callback=lambda *_: opened.set(), timeout=SECONDS)

    client = threading.Thread(target=begin)
    client.start()
    assert opened.wait(SECONDS)
    assert other.run_process("grep -c ' 01 ' /proc/net/tcp").stdout == b"1\n"
    container.rollback()
    client.join(SECONDS)
    until(lambda: other.run_process("grep -c ' 01 ' /proc/net/tcp").stdout == b"0\n", "its connection to be gone")


def test_who_connects_during_rollbacks_never_waits_for_the_dead(location: Location, serve: Spawn) -> None:
    container = serve()
    port = container.attach_tunnel(PORT).localport
    container.snapshot()
    with hammering(port) as outcomes:
        for _ in range(12):
            container.rollback()
    assert set(outcomes) <= {"echo", "reset"}
    assert outcome(port) == "echo"
