"""What is peculiar to the overlay driver: nothing is copied on the way back, and stacks stay low."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.privacy import private_mounts
from tfcore.errors import Exhausted
from tfnode.kernel import mounts
from tfnode.storage.directory import Directory
from tfnode.storage.interface import Empty, OverlayMount, Storage
from tfnode.storage.occupancy import occupied
from tfnode.storage.overlay import LONGEST_CHAIN, Overlay
from tfnode.testing import play
from tfnode.testing.trees import assert_same, describe
from tfnode.testing.views import manifest, seen

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting an overlay takes root")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Overlay]:
    storage = Overlay(tmp_path / "storage")
    yield storage
    storage.close()


def test_the_stack_is_snapshots_then_layers_top_first(storage: Overlay, tmp_path: Path) -> None:
    image = play.make_image(tmp_path / "image")
    storage.prepare("web", image)
    assert storage.mounts("web").lowers == tuple(reversed(image.layers))
    for name in ("a", "b"):
        storage.snapshot("web", name)
        storage.rollback("web", name)
    lowers = storage.mounts("web").lowers
    assert lowers[2:] == tuple(reversed(image.layers))
    assert [lower.parent.name.split(".")[0] for lower in lowers[:2]] == ["b", "a"]


def test_rollback_copies_nothing(storage: Overlay, tmp_path: Path) -> None:
    storage.prepare("web", play.make_image(tmp_path / "image"))
    with seen(storage, "web") as top:
        play.go_on(top)
    storage.snapshot("web", "s")
    storage.rollback("web", "s")
    assert storage.usage("s").inodes > 500
    assert storage.usage("web").inodes == 1


def test_each_mount_has_a_fresh_work_directory(storage: Overlay) -> None:
    storage.prepare("web", Empty())
    works = [storage.mounts("web").work for _ in range(3)]
    assert len(set(works)) == 3
    assert all(list(work.iterdir()) == [] for work in works)


@pytest.mark.parametrize("keep", ["snapshot", "seal"])
def test_stacks_stay_low(storage: Overlay, tmp_path: Path, keep: str) -> None:
    image = play.make_image(tmp_path / "image")
    storage.prepare("web", image)
    wanted = {}
    for number in range(3 * LONGEST_CHAIN):
        with seen(storage, "web") as top:
            _write_something_of_each_kind(top, number)
        wanted[number] = manifest(storage, "web")
        getattr(storage, keep)("web", f"s{number}")
        storage.rollback("web", f"s{number}")
        assert len(storage.mounts("web").lowers) <= LONGEST_CHAIN + 1 + len(image.layers)
        assert_same(wanted[number], manifest(storage, "web"))
    for number in (0, LONGEST_CHAIN - 1, LONGEST_CHAIN, LONGEST_CHAIN + 1, 2 * LONGEST_CHAIN + 2):
        storage.rollback("web", f"s{number}")
        assert_same(wanted[number], manifest(storage, "web"))


def _write_something_of_each_kind(top: Path, number: int) -> None:
    """What a merged stack must still hide, tie together and carry: whiteouts, opaque directories, links, attributes."""
    file = top / f"file-{number}"
    file.write_text(str(number))
    os.setxattr(file, "user.number", str(number).encode())
    os.link(file, top / f"link-{number}")
    if number % 2:
        (top / f"file-{number - 1}").unlink()
    if number % 5 == 4:
        shutil.rmtree(top / "image/folder")
        (top / "image/folder").mkdir()
        (top / "image/folder" / f"only-{number}").touch()


def test_a_merged_stack_frees_the_snapshots_below(storage: Overlay) -> None:
    storage.prepare("web", Empty())
    for number in range(LONGEST_CHAIN + 1):
        storage.snapshot("web", f"s{number}")
        storage.rollback("web", f"s{number}")
    assert storage.stat(f"s{LONGEST_CHAIN}").parent is None
    for number in reversed(range(LONGEST_CHAIN)):
        storage.remove(f"s{number}")
    assert [info.label for info in storage.walk()] == ["web", f"s{LONGEST_CHAIN}"]


def test_a_sealed_tree_goes_on_while_its_snapshot_is_cloned(storage: Overlay, tmp_path: Path) -> None:
    storage.prepare("web", play.make_image(tmp_path / "image"))
    storage.seal("web", "s")
    with seen(storage, "web") as top:
        play.delete_everything(top / "image")
        storage.clone("s", "spare")
        with seen(storage, "spare") as spare:
            assert (spare / "image/plain").exists()
        assert not (top / "image").exists()


def test_a_container_may_pass_but_not_look_around(storage: Overlay) -> None:
    """The root user of a container is an ordinary user of the host, and its root directory lies below ours."""
    storage.prepare("web", Empty())
    place = storage.mounts("web").upper.parent
    while place.name != "storage":
        assert place.stat().st_mode & 0o777 == 0o711, place
        place = place.parent


# --- a disk that is really full

SMALL = 20 << 20


@pytest.fixture(params=[Overlay, Directory])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Storage, Path]]:
    """A storage on a disk of SMALL bytes, and a file to fill the rest of it."""
    (tmp_path / "small").mkdir()
    with private_mounts():
        fd = mounts.open_tmpfs(size=SMALL)
        mounts.attach(fd, tmp_path / "small")
        os.close(fd)
        storage = request.param(tmp_path / "small" / "storage")
        yield storage, tmp_path / "small" / "ballast"
        storage.close()


def test_a_full_disk_is_named_and_can_be_got_over(small: tuple[Storage, Path]) -> None:
    storage, ballast = small
    storage.prepare("web", Empty())
    with seen(storage, "web") as top:
        (top / "data").write_bytes(os.urandom(4 << 20))
    storage.snapshot("web", "old")
    with seen(storage, "web") as top:
        (top / "data").write_bytes(os.urandom(4 << 20))
        wanted = describe(top)
    ballast.write_bytes(b"x" * (SMALL - (11 << 20)))
    used = occupied(ballast.parent)
    with pytest.raises(Exhausted, match=r"snapshot new of web: No space left on device: data .*free space below"):
        storage.snapshot("web", "new")
    assert occupied(ballast.parent) == used
    assert_same(wanted, manifest(storage, "web"))
    ballast.unlink()
    storage.snapshot("web", "new")
    storage.rollback("web", "new")
    assert_same(wanted, manifest(storage, "web"))


def test_fsync_costs_nothing_unless_asked_for(storage: Overlay) -> None:
    storage.prepare("web", Empty())
    mount = storage.mounts("web")
    assert isinstance(mount, OverlayMount)
    for description, mark in ((mount.durable(), False), (storage.mounts("web"), True)):
        fd = mounts.open_mount(description)
        os.close(fd)
        assert (description.work / "work/incompat/volatile").exists() is mark
