"""Volumes and rollback (D9.5): a session's go back with their container, persistent ones when asked by name."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import said, sleeper
from tests.support.outside import main_process
from tfcore.errors import NotFound, WrongState
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

ROUNDS = 8


def test_the_sessions_volume_goes_back_and_the_persistent_one_does_not(location: Location, tiny: str) -> None:
    mine, ours = location.node().create_volume(), location.node().create_volume(persistent=True)
    container = sleeper(location, tiny, volumes={"/mine": mine, "/ours": ours})
    said(container, "echo 1 | tee /mine/file > /ours/file")
    container.snapshot("base")
    for _ in range(2):
        said(container, "echo 2 | tee /mine/file > /ours/file; touch /mine/new /ours/new")
        container.rollback("base")
        assert said(container, "cat /mine/file /ours/file; ls /mine; ls /ours").split() == [
            "1",
            "2",
            "file",
            "file",
            "new",
        ]
        said(container, "rm /ours/new")
    container.destroy()
    ours.destroy()


def test_a_volume_goes_back_under_a_running_container(location: Location, tiny: str) -> None:
    """By name, whichever kind; who has a file open goes on seeing the old one, everybody else sees the snapshot."""
    for persistent in (False, True):
        volume = location.node().create_volume(persistent=persistent)
        container = sleeper(location, tiny, volumes={"/data": volume})
        said(container, "echo 1 > /data/file")
        assert volume.snapshot() == "baseline"
        process = main_process(container)
        said(container, "echo 2 > /data/file; touch /data/new; exec 3< /data/file; (sleep 0.1; cat <&3 > /seen) &")
        volume.rollback()
        assert said(container, "cat /data/file; ls /data").split() == ["1", "file"]
        assert main_process(container) == process
        until(lambda c=container: said(c, "cat /seen 2> /dev/null || true") == "2", "who holds a file to see it")
        said(container, "echo 3 > /data/file")
        volume.rollback("baseline")
        assert said(container, "cat /data/file") == "1"
        with pytest.raises(NotFound, match="other"):
            volume.rollback("other")
        container.destroy()
        volume.destroy()


def test_a_volume_mounted_by_way_of_a_link(location: Location, tiny: str) -> None:
    """As /var/run is one on most systems."""
    volume = location.node().create_volume()
    container = sleeper(location, tiny, volumes={"/data": volume})
    said(container, "mkdir /elsewhere; ln -s elsewhere /way; echo 1 > /data/file")
    other = sleeper(location, tiny, volumes={"/way/data": volume}, pre_boot_files={"/elsewhere/it": b""})
    volume.snapshot()
    said(container, "echo 2 > /data/file")
    volume.rollback()
    assert said(other, "cat /way/data/file") == "1"


def test_a_rollback_shows_the_volume_as_it_is_by_then(location: Location, tiny: str) -> None:
    """The next generation was made before the volume was put back, and must not bring back what was then."""
    volume = location.node().create_volume(persistent=True)
    container = sleeper(location, tiny, volumes={"/data": volume}, always_roll_back=True)
    said(container, "echo 1 > /data/file")
    volume.snapshot()
    container.snapshot()
    container.rollback()
    said(container, "echo 2 > /data/file")
    until(lambda: container.rollback().tier == "created", "a spare that was there")
    said(container, "echo 3 > /data/file")
    volume.rollback()
    container.rollback()
    assert said(container, "cat /data/file") == "1"
    said(container, "echo 4 > /data/file")
    volume.snapshot("later")
    volume.rollback("baseline")
    volume.rollback("later")
    assert said(container, "cat /data/file") == "4"
    container.destroy()
    volume.destroy()


def test_who_shares_a_volume_sees_it_go_back(location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    one, other = (sleeper(location, tiny, volumes={"/data": volume}) for _ in range(2))
    said(one, "echo 1 > /data/file")
    one.snapshot("base")
    said(other, "echo 2 > /data/file")
    one.rollback("base")
    assert said(other, "cat /data/file") == "1"
    said(other, "echo 3 > /data/file")
    assert said(one, "cat /data/file") == "3", "they do not see the same volume any more"
    other.snapshot("other")
    said(one, "echo 4 > /data/file")
    other.rollback("other")
    assert (said(one, "cat /data/file"), said(other, "cat /data/file")) == ("3", "3")


def test_one_that_shares_a_volume_and_has_ended_is_no_obstacle(location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    one, other = (sleeper(location, tiny, volumes={"/data": volume}) for _ in range(2))
    said(one, "echo 1 > /data/file")
    one.snapshot("base")
    os.kill(main_process(other), signal.SIGKILL)
    until(lambda: other.status().state == "ended", "its end")
    said(one, "echo 2 > /data/file")
    one.rollback("base")
    assert said(one, "cat /data/file") == "1"
    volume.snapshot()
    volume.rollback()
    other.reboot()
    assert said(other, "cat /data/file") == "1"


def test_a_reboot_keeps_files_and_volumes_and_a_fresh_one_keeps_volumes(location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    container = sleeper(location, tiny, volumes={"/data": volume}, pre_boot_files={"/seed": b"seed"})
    said(container, "echo 1 | tee /data/file > /file; rm /seed; echo > /dev/shm/x; echo > /tmp/y")
    container.reboot()
    assert said(container, "cat /file /data/file; ls /dev/shm /tmp").split() == ["1", "1", "/dev/shm:", "/tmp:", "y"]
    container.reboot(reset_filesystem=True)
    assert said(container, "cat /seed /data/file; ls /tmp").split() == ["seed1"]
    with pytest.raises(AssertionError):
        said(container, "cat /file")


def test_what_is_mounted_cannot_be_destroyed(location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    container = sleeper(location, tiny, volumes={"/data": volume})
    with pytest.raises(WrongState, match="is mounted"):
        volume.destroy()
    container.destroy()
    volume.destroy()


def test_a_persistent_volume_outlives_its_session(place: PrivateLocation, tiny: str) -> None:
    with place.connect() as first:
        volume = first.node().create_volume(tag="kept", persistent=True)
        container = sleeper(first, tiny, volumes={"/data": volume})
        said(container, "echo 1 > /data/file")
        volume.snapshot()
        said(container, "echo 2 > /data/file")
    with place.connect() as second:
        again = second.volume("kept")
        container = sleeper(second, tiny, volumes={"/data": again})
        assert said(container, "cat /data/file") == "2"
        again.rollback()
        assert said(container, "cat /data/file") == "1"
        container.destroy()
        again.destroy()
    with place.connect() as third, pytest.raises(NotFound):
        third.volume("kept")


def test_around_one_volume_everything_at_once(location: Location, tiny: str) -> None:
    """Who shares a volume rolls back, keeps, reboots, comes and goes while others do: nobody fails for another's sake."""
    session, ours = location.node().create_volume(), location.node().create_volume(persistent=True)
    volumes = {"/data": session, "/ours": ours}
    one, other, third = (sleeper(location, tiny, volumes=volumes) for _ in range(3))
    for container in (one, other):
        container.snapshot("base")
    for volume in (session, ours):
        volume.snapshot()
    work: list[Callable[[], object]] = [
        lambda: one.rollback("base"),
        lambda: other.rollback("base"),
        lambda: one.snapshot(),
        lambda: (session.rollback(), ours.rollback()),
        lambda: (session.snapshot("again"), ours.snapshot("again")),
        lambda: other.reboot(),
        lambda: said(third, "echo 1 | tee /data/file > /ours/file"),
        lambda: sleeper(location, tiny, volumes=volumes).destroy(),
    ]

    def repeatedly(task: Callable[[], object]) -> None:
        for _ in range(ROUNDS):
            task()

    with ThreadPoolExecutor(len(work)) as pool:
        for done in [pool.submit(repeatedly, task) for task in work]:
            done.result()
    said(third, "echo last | tee /data/file > /ours/file")
    assert {said(container, "cat /data/file /ours/file") for container in (one, other, third)} == {"last\nlast"}
    for container in (one, other, third):
        container.destroy()
    ours.destroy()
