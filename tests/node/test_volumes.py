"""Volumes on the real drivers: what they show, keep and get back; what survives the agent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.privacy import private_mounts
from tfcore.errors import NotFound, WrongState
from tfnode.kernel.mounts import is_mounted
from tfnode.storage.directory import Directory
from tfnode.storage.interface import Storage
from tfnode.storage.overlay import Overlay
from tfnode.volumes.ledger import Ledger
from tfnode.volumes.volumes import Volumes

V1, V2 = "v-" + "1" * 22, "v-" + "2" * 22
DRIVERS = {"directory": Directory, "overlay": Overlay}


pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="mounting and foreign owners need root")


@pytest.fixture(params=DRIVERS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """A driver in mounts of its own."""
    (tmp_path / "storage").mkdir()
    with private_mounts():
        driver = DRIVERS[request.param](tmp_path / "storage")
        yield driver
        driver.close()


def volumes_on(storage: Storage, path: Path) -> Volumes:
    return Volumes(storage, path / "shown", Ledger(path / "volumes.json"), 100_000)


def test_a_volume_shows_what_was_written_and_rolls_back(storage: Storage, tmp_path: Path) -> None:
    volumes = volumes_on(storage, tmp_path)
    volumes.make(V1, session="s", account="a", persistent=False)
    volume = volumes.get(V1)
    assert volumes.source(volume).stat().st_uid == 100_000
    (volumes.source(volume) / "kept").write_text("1")
    volumes.snapshot_named(volume, "base")
    (volumes.source(volume) / "kept").write_text("2")
    (volumes.source(volume) / "new").write_text("3")
    volumes.roll_back(volume, volumes.label_of(volume, "base"), {})
    shown = volumes.source(volume)
    assert ({path.name for path in shown.iterdir()}, (shown / "kept").read_text()) == ({"kept"}, "1")
    volumes.close()


def test_a_snapshot_of_the_same_name_takes_the_place_of_the_older_one(storage: Storage, tmp_path: Path) -> None:
    volumes = volumes_on(storage, tmp_path)
    volumes.make(V1, session="s", account="a", persistent=False)
    volume = volumes.get(V1)
    for content in ("1", "2"):
        (volumes.source(volume) / "file").write_text(content)
        volumes.snapshot_named(volume, "base")
    assert len([info for info in storage.walk() if ".s" in info.label]) == 1
    (volumes.source(volume) / "file").write_text("3")
    for _ in range(2):
        volumes.roll_back(volume, volumes.label_of(volume, "base"), {})
        assert (volumes.source(volume) / "file").read_text() == "2"
    volumes.close()


def test_what_is_mounted_cannot_be_destroyed_and_the_rest_goes_with_its_snapshots(
    storage: Storage, tmp_path: Path
) -> None:
    volumes = volumes_on(storage, tmp_path)
    for identifier in (V1, V2):
        volumes.make(identifier, session="s", account="a", persistent=False)
        volumes.snapshot_named(volumes.get(identifier), "base")
        volumes.roll_back(volumes.get(identifier), volumes.label_of(volumes.get(identifier), "base"), {})
    volumes.get(V1).add_user("c-1", "/data")
    with pytest.raises(WrongState, match="mounted in c-1"):
        volumes.destroy(V1)
    volumes.get(V1).remove_user("c-1", "/data")
    for identifier in (V1, V2, V2):
        volumes.destroy(identifier)
    assert list(storage.walk()) == []
    with pytest.raises(NotFound, match="no volume"):
        volumes.get(V1)


def test_a_former_tree_that_was_not_discarded_goes_with_its_volume(storage: Storage, tmp_path: Path) -> None:
    volumes = volumes_on(storage, tmp_path)
    volumes.make(V1, session="s", account="a", persistent=False)
    volume = volumes.get(V1)
    volumes.snapshot_named(volume, "base")
    tree = volumes.grow(volume, volumes.label_of(volume, "base"))
    former = volumes.adopt(volume, tree, {})
    assert is_mounted(tmp_path / "shown" / former)
    volumes.destroy(V1)
    assert list(storage.walk()) == []
    assert not is_mounted(tmp_path / "shown" / former)


def test_another_agent_finds_the_volumes_as_they_were(storage: Storage, tmp_path: Path) -> None:
    volumes = volumes_on(storage, tmp_path)
    volumes.make(V1, session="s", account="a", persistent=True)
    (volumes.source(volumes.get(V1)) / "file").write_text("1")
    volumes.snapshot_named(volumes.get(V1), "base")
    (volumes.source(volumes.get(V1)) / "file").write_text("2")
    volumes.close()
    later = volumes_on(storage, tmp_path)
    volume = later.get(V1)
    assert volume.entry.persistent
    assert (later.source(volume) / "file").read_text() == "2"
    later.roll_back(volume, later.label_of(volume, "base"), {})
    assert (later.source(volume) / "file").read_text() == "1"
    later.close()


def test_an_unknown_snapshot_changes_nothing(storage: Storage, tmp_path: Path) -> None:
    volumes = volumes_on(storage, tmp_path)
    volumes.make(V1, session="s", account="a", persistent=False)
    (volumes.source(volumes.get(V1)) / "file").write_text("1")
    with pytest.raises(NotFound, match="no snapshot 'base'"):
        volumes.label_of(volumes.get(V1), "base")
    with pytest.raises(NotFound):
        volumes.roll_back(volumes.get(V1), f"{V1}.s9.base", {})
    assert (volumes.source(volumes.get(V1)) / "file").read_text() == "1"
    volumes.close()
