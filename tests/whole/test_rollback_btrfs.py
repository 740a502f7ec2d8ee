"""A node whose data are on btrfs, with the storage driver of that name: everything comes back, through the whole line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.daemons import PrivateLocation
from tests.support.line import assert_files, private_location, said, sleeper
from tests.support.outside import files_of, root_of
from tfnode.storage.metastore import maker_of
from tfnode.testing import play
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

NESTED = 25


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location("btrfs") as made:
        yield made


def test_a_container_and_its_volume_come_back(place: PrivateLocation, location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    container = sleeper(location, tiny, volumes={"/data": volume})
    assert maker_of(place.node_directory / "storage") == "btrfs"
    for directory in ("own", "data/own"):
        play.furnish(root_of(container) / directory)
    container.snapshot("furnished")
    wanted = files_of(container)
    for spoiling in ("delete_everything", "recreate_folder"):
        for directory in ("own", "data/own"):
            getattr(play, spoiling)(root_of(container) / directory)
        said(container, "rm -r /etc/passwd /srv; echo new > /srv")
        container.rollback("furnished")
        assert_files(wanted, container)


def test_snapshots_grow_on_snapshots_and_stay_valid(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    for number in range(NESTED):
        said(container, f"echo {number} >> /numbers; rm -f /file-{number - 1}; touch /file-{number}")
        container.snapshot(f"s{number}")
        container.rollback(f"s{number}")
    for number in (NESTED - 1, 3, NESTED // 2):
        container.rollback(f"s{number}")
        assert said(container, "tail -1 /numbers; ls /file-*").split() == [str(number), f"/file-{number}"]


def test_a_persistent_volume_is_there_again(place: PrivateLocation, tiny: str) -> None:
    with place.connect() as first:
        volume = first.node().create_volume(tag="kept", persistent=True)
        container = sleeper(first, tiny, volumes={"/data": volume})
        said(container, "echo here > /data/file")
    with place.connect() as second:
        again = second.volume("kept")
        container = sleeper(second, tiny, volumes={"/data": again})
        assert said(container, "cat /data/file") == "here"
        container.destroy()
        again.destroy()
