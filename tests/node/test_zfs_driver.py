"""What is peculiar to the zfs driver: which dataset may go and which has to stay, and images that are unpacked once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.zfs_fuse import zfs_pool
from tfcore.errors import Exhausted, StorageFailed
from tfnode.storage import datasets, drivers
from tfnode.storage.datasets import Contents
from tfnode.storage.interface import Empty, Image
from tfnode.storage.zfs import Zfs
from tfnode.storage.zfs_shelf import next_to_go
from tfnode.testing import play
from tfnode.testing.trees import assert_same
from tfnode.testing.views import manifest, seen

# --- what may go (pure)


def test_a_dataset_goes_before_the_snapshot_it_is_a_clone_of() -> None:
    before = Contents({"a": None, "b": "a@s"}, {"a": ("a@s",)})
    litter = {"a", "a@s", "b"}
    assert next_to_go(before, litter) == {"b"}
    assert next_to_go(Contents({"a": None}, {"a": ("a@s",)}), litter) == {"a@s"}
    assert next_to_go(Contents({"a": None}, {}), litter) == {"a"}


def test_what_is_known_stays_with_what_it_needs() -> None:
    found = Contents({"a": None, "b": "a@s", "c": "a@t"}, {"a": ("a@s", "a@t")})
    assert next_to_go(found, {"a", "a@s", "b"}) == {"b"}
    assert next_to_go(found, {"a"}) == set()
    assert next_to_go(found, set()) == set()


# --- with real commands

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with zfs_pool(tmp_path_factory.mktemp("zfs"), size=1 << 30) as pool:
        yield pool


@pytest.fixture
def storage(pool: Path, request: pytest.FixtureRequest) -> Iterator[Zfs]:
    storage = Zfs(pool / request.node.name)
    yield storage
    storage.close()


@pytest.fixture
def image(pool: Path, request: pytest.FixtureRequest) -> Image:
    return play.make_image(pool / f"{request.node.name}.image")


def _datasets(storage: Zfs) -> set[str]:
    """The names of all datasets of the storage, without the part that is chance."""
    return {name.rpartition("/")[2].partition(".")[0] for name in datasets.contents(_base(storage)).origins}


def _base(storage: Zfs) -> str:
    return datasets.containing(storage.mounts("web").source).rpartition("/")[0]


@root_only
@pytest.mark.leaks("module")
class TestDatasets:
    def test_newer_snapshots_survive_a_rollback(self, storage: Zfs) -> None:
        storage.prepare("web", Empty())
        wanted = {}
        for name in ("old", "newer", "newest"):
            with seen(storage, "web") as top:
                (top / name).touch()
            wanted[name] = manifest(storage, "web")
            storage.snapshot("web", name)
        storage.rollback("web", "old")
        storage.sweep()
        for name in ("newest", "old", "newer"):
            storage.rollback("web", name)
            assert_same(wanted[name], manifest(storage, "web"))

    def test_a_dataset_whose_snapshots_are_needed_is_emptied_and_hidden(self, storage: Zfs) -> None:
        storage.prepare("web", Empty())
        storage.snapshot("web", "s")
        with seen(storage, "web") as top:
            (top / "big").write_bytes(os.urandom(32 << 20))
        former = storage.mounts("web").source.parent
        storage.rollback("web", "s")
        storage.sweep()
        assert not former.exists(), "it is still mounted"
        used = datasets.property_of(f"{_base(storage)}/{former.name}", "used")
        assert used is not None
        assert not used.endswith("M"), f"{used} are still occupied"
        assert storage.sweep() == 0

    def test_it_is_emptied_also_if_the_node_was_restarted_before(self, pool: Path) -> None:
        root = pool / "restarted"
        first = Zfs(root)
        first.prepare("web", Empty())
        first.snapshot("web", "s")
        with seen(first, "web") as top:
            (top / "big").write_bytes(os.urandom(32 << 20))
        former = f"{_base(first)}/{first.mounts('web').source.parent.name}"
        first.rollback("web", "s")
        first.close()
        second = Zfs(root)
        second.sweep()
        used = datasets.property_of(former, "used")
        second.close()
        assert used is not None
        assert not used.endswith("M"), f"{used} are still occupied"

    def test_an_image_is_unpacked_once_and_kept_as_long_as_its_layers(self, storage: Zfs, image: Image) -> None:
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            inode = (top / "image/plain").stat().st_ino
        storage.remove("web")
        storage.sweep()
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            assert (top / "image/plain").stat().st_ino == inode, "it was unpacked again"
        assert _datasets(storage) == {"_image", "web"}
        shutil.rmtree(image.layers[0])
        storage.sweep()
        assert _datasets(storage) == {"_image", "web"}, "a tree still stands on it"
        storage.remove("web")
        storage.prepare("other", Empty())
        storage.sweep()
        storage.prepare("web", Empty())
        assert _datasets(storage) == {"other", "web"}

    def test_an_image_half_unpacked_is_unpacked_again(
        self, storage: Zfs, image: Image, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(datasets, "snapshot", _refuse)
            with pytest.raises(StorageFailed, match="on purpose"):
                storage.prepare("web", image)
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            assert (top / "upper/kept/below").read_bytes() == b"top"

    def test_trees_are_mounted_again_after_a_restart(self, pool: Path, storage: Zfs) -> None:
        again = pool / "again"
        first = Zfs(again)
        first.prepare("web", Empty())
        with seen(first, "web") as top:
            (top / "file").touch()
        source = first.mounts("web").source
        first.close()
        assert not source.exists()
        second = Zfs(again)
        with seen(second, "web") as top:
            assert os.listdir(top) == ["file"]
        second.close()

    def test_the_probe_names_the_dataset_or_says_why_not(self, pool: Path, tmp_path: Path) -> None:
        assert "in tf-test" in drivers.probe_all(pool)["zfs"].sentence
        elsewhere = drivers.probe_all(tmp_path.parents[2])["zfs"]
        assert not elsewhere.usable
        assert f"{tmp_path.parents[2]} is not on a ZFS" in elsewhere.sentence


def _refuse(name: str) -> None:
    raise StorageFailed(f"{name} fails on purpose")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("cannot create 'tank/a': out of space", Exhausted),
        ("cannot create 'tank/a': pool I/O is suspended", StorageFailed),
    ],
)
def test_what_zfs_refuses_is_an_error_of_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, error: type[Exception]
) -> None:
    (tmp_path / "zfs").write_text(f'#!/bin/sh\necho "{words}" >&2\nexit 1\n')
    (tmp_path / "zfs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(error, match=f"{words} .*nothing was changed"):
        datasets.create("tank/a", {})


def test_a_machine_without_zfs_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no command zfs on this machine" in drivers.probe_all(tmp_path)["zfs"].sentence
