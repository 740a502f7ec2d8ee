"""What is peculiar to the btrfs driver: nothing is copied, stacks stay as low as the image, and every mount's traces go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scratch_disks import loop_mounted
from tfnode.storage import btrfs_probe, drivers, subvolumes
from tfnode.storage.btrfs import Btrfs
from tfnode.storage.interface import Empty
from tfnode.testing import play
from tfnode.testing.trees import assert_same
from tfnode.testing.views import manifest, seen

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root"), pytest.mark.leaks("module")]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with loop_mounted(tmp_path_factory.mktemp("btrfs"), ["mkfs.btrfs", "-q"], size=1 << 30) as disk:
        yield disk


@pytest.fixture
def storage(disk: Path, request: pytest.FixtureRequest) -> Iterator[Btrfs]:
    storage = Btrfs(disk / request.node.name)
    yield storage
    storage.close()


def test_sixty_nested_snapshots_stand_on_the_image_alone(storage: Btrfs, tmp_path: Path) -> None:
    image = play.make_image(tmp_path / "image")
    storage.prepare("web", image)
    wanted = {}
    for number in range(60):
        with seen(storage, "web") as top:
            (top / f"file-{number}").touch()
            if number % 2:
                (top / f"file-{number - 1}").unlink()
        wanted[number] = manifest(storage, "web")
        storage.snapshot("web", f"s{number}")
        storage.rollback("web", f"s{number}")
    assert storage.mounts("web").lowers == tuple(reversed(image.layers))
    for number in (59, 30, 0):
        storage.rollback("web", f"s{number}")
        assert_same(wanted[number], manifest(storage, "web"))


def test_a_copy_has_no_work_directory_of_the_original(storage: Btrfs) -> None:
    storage.prepare("web", Empty())
    for _ in range(3):
        with seen(storage, "web") as top:
            (top / "file").touch()
    storage.snapshot("web", "s")
    storage.rollback("web", "s")
    mount = storage.mounts("web")
    assert sorted(os.listdir(mount.upper.parent)) == ["fs", mount.work.parent.name]
    assert os.listdir(mount.work.parent) == [mount.work.name]
    assert os.listdir(mount.work) == []


def test_a_snapshot_copies_nothing(storage: Btrfs) -> None:
    """The file of the copy is on the very blocks of the original's: so says the number of bytes it has to itself."""
    storage.prepare("web", Empty())
    with seen(storage, "web") as top:
        (top / "big").write_bytes(os.urandom(64 << 20))
    os.sync()
    before = os.statvfs(storage.mounts("web").upper)
    for number in range(10):
        storage.snapshot("web", f"s{number}")
    os.sync()
    after = os.statvfs(storage.mounts("web").upper)
    assert (before.f_bfree - after.f_bfree) * before.f_frsize < 8 << 20


def test_removed_subvolumes_are_destroyed(storage: Btrfs) -> None:
    storage.prepare("web", Empty())
    subvolume = storage.mounts("web").upper.parent
    assert subvolumes.is_subvolume(subvolume)
    storage.remove("web")
    assert storage.sweep() == 1
    assert os.listdir(subvolume.parents[1]) == []
    storage.prepare("web", Empty())
    assert len(os.listdir(subvolume.parents[1])) == 1


def test_the_probe_leaves_nothing_and_says_why_not(disk: Path, tmp_path: Path) -> None:
    place = disk / "probed"
    place.mkdir()
    assert btrfs_probe.probe(place).usable
    assert os.listdir(place) == []
    elsewhere = drivers.probe_all(tmp_path)["btrfs"]
    assert not elsewhere.usable
    assert elsewhere.sentence == f"btrfs: {tmp_path} is not on a btrfs"


def test_it_is_taken_when_asked_for(disk: Path) -> None:
    with_it = drivers.choose(disk / "asked", "btrfs")
    with_it.close()
    assert with_it.name == "btrfs"
    by_itself = drivers.choose(disk / "asked")
    by_itself.close()
    assert by_itself.name == "btrfs", "a directory that has data keeps the driver that wrote them"
