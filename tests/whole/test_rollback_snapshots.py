"""What a snapshot holds, how long, and what a rollback that fails leaves (D9.3 and D9.4), by real containers."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import SECONDS, assert_files, said, sleeper
from tests.support.outside import files_of, main_process
from tfcore.errors import ContainerDied, NotFound, TfError, WrongState
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

PLACES = 40

LOCKSTEP = f"""
    @f = map {{ open(my $f, "+>", ($_ % 2 ? "$ARGV[1]" : "$ARGV[0]") . "/$_") or die $!; $f }} 0..{PLACES - 1};
    for ($n = 1; ; $n++) {{
        for (@f) {{ sysseek($_, 0, 0); syswrite($_, sprintf("%08d", $n)) }}
        if ($n == 1) {{ open(P, ">", "/tmp/writer"); print P $$; close P }}
    }}
"""
"""Writes one number after the other into all its files in turn, every second of which is in another place: at any
instant the files, in their order, hold a number and from some place on the one before it."""


# --- 3: any snapshot, any number of times


def test_snapshots_older_and_newer_stay_valid(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny, volumes={"/data": location.node().create_volume()})
    wanted = {}
    for name in ("one", "two", "three"):
        said(container, f"touch /only-{name} /data/only-{name}; echo {name} | tee -a /all > /data/all; rm -f /only-one")
        container.snapshot(name)
        wanted[name] = files_of(container)
    for name in (*itertools.chain(*itertools.permutations(wanted)), "one", "one"):
        container.rollback(name)
        assert_files(wanted[name], container)
        said(container, "rm -r /data/* /all; echo new > /new")
    with pytest.raises(NotFound, match=r"no snapshot 'four'.*fresh, one, two, three"):
        container.rollback("four")


def test_snapshots_grow_on_snapshots(location: Location, tiny: str) -> None:
    """More than a driver may stack upon each other, each rolled back to before it is built upon."""
    container = sleeper(location, tiny, volumes={"/data": location.node().create_volume()})
    for number in range(25):
        said(container, f"echo {number} >> /log; echo {number} >> /data/log; rm -f /f{number - 1}; echo > /f{number}")
        container.snapshot(f"s{number}")
        container.rollback()
    for number in (24, 0, 12):
        container.rollback(f"s{number}")
        assert said(container, "wc -l < /log; wc -l < /data/log; ls /f*").split() == [
            str(number + 1),
            str(number + 1),
            f"/f{number}",
        ]


def test_without_a_name_the_last_one_is_meant(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    for number in (1, 2):
        said(container, f"echo {number} > /number")
        container.snapshot(f"s{number}")
    container.rollback("s1")
    said(container, "echo 3 > /number")
    container.rollback()
    assert said(container, "cat /number") == "1", "the last one is the one that was last gone back to"


def test_checkpoints_lie_inside_one_another_and_end_with_errors_too(location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    container = sleeper(location, tiny, volumes={"/data": volume})
    base = container.snapshot("base")
    with container.checkpoint():
        said(container, "echo 1 | tee /data/n > /n")
        with pytest.raises(ZeroDivisionError):
            _spoil_and_fail(container)
        assert said(container, "cat /n /data/n; ls /new 2> /dev/null || true") == "1\n1"
        container.rollback(base)  # any snapshot, also one from before
        assert said(container, "ls /data") == ""
    assert said(container, "ls /data; ls /n 2> /dev/null || true") == ""
    container.rollback()
    assert container._snapshot == base, "a checkpoint leaves no trace"


def _spoil_and_fail(container: Container) -> None:
    with container.checkpoint():
        said(container, "echo 2 | tee /data/n > /n; touch /new")
        raise ZeroDivisionError


def test_a_snapshot_can_be_dropped_when_nothing_stands_on_it(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    base = container.snapshot("base")
    said(container, "echo 1 > /n")
    container.snapshot("one")
    said(container, "true")
    container.rollback("one")
    with pytest.raises(WrongState, match="is needed by"):
        container.drop_snapshot("one")
    container.rollback(base)
    until(lambda: _drops(container, "one"), "the former generation to be gone")
    with pytest.raises(NotFound, match="no snapshot 'one'"):
        container.rollback("one")
    container.rollback()


def _drops(container: Container, name: str) -> bool:
    try:
        container.drop_snapshot(name)
    except WrongState:
        return False
    return True


def test_a_name_is_taken_once(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    container.snapshot("base")
    with pytest.raises(WrongState, match="has a snapshot 'base' already"):
        container.snapshot("base")
    said(container, "touch /new")
    container.rollback("base")
    assert said(container, "ls /").count("new") == 0


# --- 3: half way


def test_a_snapshot_the_service_cannot_start_from(location: Location, tiny: str) -> None:
    container = location.node().spawn_container(
        tiny,
        command=["sh", "/service"],
        pre_boot_files={"/service": "echo > /tmp/up; exec sleep infinity"},
        ready=ready.exec("test -e /tmp/up"),
    )
    container.wait_until_ready()
    container.snapshot("good")
    said(container, "rm /tmp/up; echo 'echo cannot go on; exit 3' > /service")
    container.snapshot("broken")
    said(container, "true")
    with pytest.raises(ContainerDied, match=r"(?s)status 3.*cannot go on.*has the files of snapshot 'broken'"):
        container.rollback("broken")
    with pytest.raises(ContainerDied):
        container.run_process("true")
    container.rollback("good")
    assert said(container, "cat /service") == "echo > /tmp/up; exec sleep infinity"


def test_a_service_that_does_not_become_ready(location: Location, tiny: str) -> None:
    """Whoever asked gets the reason in time, and can go elsewhere although the container still waits."""
    container = sleeper(location, tiny, ready=ready.exec("echo not yet >&2; test ! -e /blocked"))
    container.snapshot("good")
    said(container, "touch /blocked")
    container.snapshot("blocked")
    said(container, "true")
    with pytest.raises(TfError, match="not yet"):
        container.rollback("blocked", timeout=2)
    container.rebuild("good")
    assert container.is_ready()


@contextlib.contextmanager
def immutable(directory: Path) -> Iterator[None]:
    """Nobody, root included, can make or remove anything in it."""
    made = subprocess.run(["chattr", "+i", directory], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"this file system knows no immutable directories: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", directory], check=True)


def test_where_no_generation_can_be_made_the_old_one_goes_on(
    place: PrivateLocation, location: Location, tiny: str
) -> None:
    container = sleeper(location, tiny)
    container.snapshot("base")
    said(container, "echo here > /now")
    container.rollback("base")
    said(container, "echo here > /now")
    process = main_process(container)
    storage = place.node_directory / "storage"
    with immutable(storage / "data"), immutable(storage / "new"):
        with pytest.raises(TfError, match=r"goes on as it was \(ready\)"):
            container.rollback("fresh")
        with pytest.raises(TfError):
            container.snapshot("another")
    assert main_process(container) == process
    assert said(container, "cat /now") == "here"
    container.snapshot("another")
    container.rollback("base")
    container.rollback("another")
    assert said(container, "cat /now") == "here"


def test_a_dead_generation_that_could_not_be_cleared_away_at_once_is_no_obstacle(
    place: PrivateLocation, location: Location, tiny: str
) -> None:
    container = sleeper(location, tiny)
    container.snapshot("base")
    said(container, "echo here > /now")
    until(lambda: container.status().spares, "a generation that was booted ahead")
    said_before = len(place.log())
    with immutable(place.node_directory / "storage" / "data"):
        assert container.rollback("base").tier == "spare"
        until(lambda: "could not be cleared away yet" in place.log()[said_before:], "its burial to fail")
    said(container, "true")
    container.rollback("base")
    container.destroy()


# --- 4: one instant


def numbers_of(container: Container, places: tuple[str, str]) -> list[int]:
    script = "".join(f"cat {places[number % 2]}/{number}; echo;" for number in range(PLACES))
    return [int(number) for number in said(container, script).split()]


def assert_one_instant(numbers: list[int]) -> None:
    assert len(numbers) == PLACES
    assert numbers == sorted(numbers, reverse=True), numbers
    assert numbers[0] - numbers[-1] <= 1, numbers


@contextlib.contextmanager
def writing(container: Container, places: tuple[str, str]) -> Iterator[None]:
    """In this block the container writes in lockstep."""
    said(container, f"mkdir -p {places[0]} {places[1]}")

    def write() -> None:
        with contextlib.suppress(ValueError):  # it ends with its generation
            container.run_process(f"perl -e '{LOCKSTEP}' {places[0]} {places[1]}", timeout=SECONDS)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        said(container, "while ! test -s /tmp/writer; do sleep 0.005; done")
        yield
    finally:
        with contextlib.suppress(ValueError):
            container.run_process("kill $(cat /tmp/writer); rm /tmp/writer")
        writer.join(2 * SECONDS)
        assert not writer.is_alive()


def test_container_and_volume_are_kept_at_one_instant(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny, volumes={"/data": location.node().create_volume()})
    places = ("/files", "/data")
    for round_ in range(3):
        with writing(container, places):
            container.snapshot(f"s{round_}")
            container.rollback()
        assert_one_instant(numbers_of(container, places))


def test_a_volume_others_write_to_is_kept_at_one_instant(location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    container, other = (sleeper(location, tiny, volumes={"/data": volume}) for _ in range(2))
    places = ("/data/a", "/data/b")
    for round_ in range(3):
        with writing(other, places):
            container.snapshot(f"s{round_}")
        container.rollback()
        assert_one_instant(numbers_of(container, places))
        assert numbers_of(other, places) == numbers_of(container, places), "both have the one volume mounted"
        with writing(other, places):
            volume.snapshot("named")
        volume.rollback("named")
        assert_one_instant(numbers_of(other, places))


def test_commands_that_come_during_a_snapshot_wait(location: Location, tiny: str) -> None:
    """A container that is held still takes no command: that is no reason for one to fail."""
    container = sleeper(location, tiny)
    said(container, "dd if=/dev/urandom of=/big bs=1M count=48 2> /dev/null")
    done = threading.Event()
    failures: list[object] = []

    def work() -> None:
        while not done.is_set():
            try:
                failures.extend(code for code in [container.run_process("true").exit_code] if code != 0)
            except TfError as error:
                failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for number in range(3):
            container.snapshot(f"s{number}")
    finally:
        done.set()
        for worker in workers:
            worker.join(2 * SECONDS)
    assert failures == []


# --- how it boots


def test_a_clean_stop_lets_the_service_finish(location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    service = "trap 'echo finished > /data/last; exit 0' TERM; echo up >> /boots; while :; do sleep 0.05; done"
    container = location.node().spawn_container(
        tiny,
        command=["sh", "-c", service],
        volumes={"/data": volume},
        clean_stop=True,
        ready=ready.exec("test -e /boots"),
    )
    container.wait_until_ready()
    container.snapshot("one")
    assert said(container, "cat /data/last; wc -l < /boots").split() == ["finished", "2"]
    said(container, "echo later > /data/later")
    container.snapshot("two")
    volume.snapshot("named")
    said(container, "rm /data/later")
    container.rollback("two")
    assert said(container, "cat /data/later") == "later"
    said(container, "rm /data/later")
    volume.rollback("named")
    assert said(container, "cat /data/later") == "later"
    container.rollback("one")
    assert said(container, "ls /data") == "last"


def test_a_container_asleep_is_asleep_again(location: Location, tiny: str) -> None:
    container = location.node().spawn_container(tiny, command=["sleep", "infinity"], sleep=True).wait_until_ready()
    said(container, "echo 1 > /file")
    container.snapshot("asleep")
    container.start()
    container.snapshot("awake")
    said(container, "rm /file")
    container.rollback("asleep")
    assert (container.status().state, said(container, "cat /file")) == ("asleep", "1")
    container.rollback("awake")
    assert (container.status().state, said(container, "cat /file")) == ("ready", "1")
