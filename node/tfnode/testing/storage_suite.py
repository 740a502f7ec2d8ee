"""What every storage driver must do, verb by verb. What a rollback means is in `rollback_suite`.

Override `open_storage`; the rest follows. Nothing here asks which driver it is: tests skip by declared capability only.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tfcore.errors import BadRequest, NotFound, WrongState
from tfnode.kernel.mounts import mount_points
from tfnode.storage.interface import BindMount, Empty, Image, Kind, OverlayMount, Storage
from tfnode.testing import play
from tfnode.testing.storage_fixtures import StorageFixtures
from tfnode.testing.storage_powers import PowersSuite
from tfnode.testing.storage_retiring import RetiringSuite
from tfnode.testing.storage_upkeep import UpkeepSuite
from tfnode.testing.trees import assert_same, describe, differences
from tfnode.testing.views import manifest, seen

ODD_LABELS = ["", ".", "..", "a/b", "../up", "a b", "a\n", "-rf", ".hidden", "a,b", "a:b", "x" * 101, "\u00fc"]


class VerbSuite(StorageFixtures):
    """One test or more for each verb of `Storage`."""

    depth = 1500
    """Directories within each other: more than Python recurses, more than a path is long."""

    # --- prepare

    def test_prepare_shows_the_image(self, storage: Storage, image: Image) -> None:
        storage.prepare("web", image)
        wanted = describe(image.layers[0] / "image")
        with seen(storage, "web") as top:
            assert_same(wanted, describe(top / "image"))

    def test_prepare_applies_what_upper_layers_hide(self, storage: Storage, image: Image) -> None:
        if not play.is_root():
            pytest.skip("whiteouts in layers can be made by root only")
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            shown = {path: (top / "upper" / path).read_bytes() for path in _files(top / "upper")}
        assert shown == {
            "kept/below": b"top",
            "kept/middle": b"middle",
            "replaced/new": b"top",
            "a-file": b"top",
            "was-a-file/now": b"top",
        }

    def test_the_root_directory_is_the_top_layers(self, storage: Storage, image: Image) -> None:
        storage.prepare("web", image)
        wanted, got = describe(image.layers[-1])[""], manifest(storage, "web")[""]
        assert (got.mode, got.owner, got.modified) == (wanted.mode, wanted.owner, wanted.modified)

    def test_trees_of_one_image_do_not_see_each_other(self, storage: Storage, image: Image) -> None:
        storage.prepare("one", image)
        storage.prepare("two", image)
        before = manifest(storage, "two")
        with seen(storage, "one") as top:
            play.delete_everything(top / "image")
        assert_same(before, manifest(storage, "two"))

    def test_an_image_stays_as_it_was(self, storage: Storage, image: Image) -> None:
        before = [describe(layer) for layer in image.layers]
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            play.go_on(top)
        storage.snapshot("web", "s")
        storage.rollback("web", "s")
        for layer, wanted in zip(image.layers, before, strict=True):
            assert_same(wanted, describe(layer))

    def test_an_empty_tree_has_the_owner_and_mode_asked_for(self, storage: Storage) -> None:
        owner = (play.OWNER, play.OWNER + 1) if play.is_root() else (os.geteuid(), os.getegid())
        storage.prepare("volume", Empty(uid=owner[0], gid=owner[1], mode=0o2770))
        with seen(storage, "volume") as top:
            assert list(top.iterdir()) == []
            status = top.stat()
        assert (status.st_mode & 0o7777, (status.st_uid, status.st_gid)) == (0o2770, owner)

    def test_an_image_without_layers_is_empty(self, storage: Storage) -> None:
        storage.prepare("scratch", Image(()))
        with seen(storage, "scratch") as top:
            assert list(top.iterdir()) == []

    def test_prepare_refuses_a_missing_layer(self, storage: Storage, image: Image, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="lost-layer"):
            storage.prepare("web", Image((*image.layers, tmp_path / "lost-layer")))
        assert list(storage.walk()) == []

    def test_prepare_refuses_an_unknown_snapshot(self, storage: Storage) -> None:
        with pytest.raises(NotFound, match="nobody"):
            storage.prepare("web", "nobody")

    def test_prepare_refuses_a_tree_as_parent(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        with pytest.raises(WrongState, match="web"):
            storage.prepare("other", "web")

    def test_a_label_is_taken_once(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        storage.snapshot("web", "s")
        attempts: list[Callable[[], None]] = [
            lambda: storage.prepare("web", Empty()),
            lambda: storage.prepare("s", Empty()),
            lambda: storage.snapshot("web", "s"),
            lambda: storage.snapshot("web", "web"),
            lambda: storage.clone("s", "web"),
        ]
        for attempt in attempts:
            with pytest.raises(WrongState, match="already"):
                attempt()

    @pytest.mark.parametrize(
        "label", ["", ".", "..", "a/b", "../up", "a b", "a\n", "-rf", ".hidden", "a,b", "a:b", "x" * 101, "\u00fc"]
    )
    def test_odd_labels_are_refused(self, storage: Storage, label: str) -> None:
        storage.prepare("web", Empty())
        attempts: list[Callable[[], object]] = [
            lambda: storage.prepare(label, Empty()),
            lambda: storage.snapshot("web", label),
            lambda: storage.clone(label, "other"),
            lambda: storage.rollback("web", label),
            lambda: storage.remove(label),
            lambda: storage.stat(label),
        ]
        for attempt in attempts:
            with pytest.raises(BadRequest, match="name"):
                attempt()

    @pytest.mark.parametrize("label", ["a", "0", "x" * 100, "c-4xYz.t0", "A_b-c.d"])
    def test_ordinary_labels_are_not(self, storage: Storage, label: str) -> None:
        storage.prepare(label, Empty())
        with seen(storage, label) as top:
            (top / "file").write_text("here")
        assert storage.stat(label).label == label

    # --- mounts

    def test_mounts_only_describes(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        before = mount_points()
        mount = storage.mounts("web")
        assert mount_points() == before
        parts = (*mount.lowers, mount.upper, mount.work) if isinstance(mount, OverlayMount) else (mount.source,)
        assert all(path.is_dir() and path.is_absolute() for path in parts)

    def test_each_mount_shows_what_the_one_before_wrote(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        for number in range(3):
            with seen(storage, "web") as top:
                assert len(list(top.iterdir())) == number
                (top / str(number)).touch()

    def test_a_durable_mount_is_not_volatile(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        mount = storage.mounts("web")
        if isinstance(mount, BindMount):
            pytest.skip("a bare directory is as durable as its file system")
        assert (mount.volatile, mount.durable().volatile) == (True, False)

    def test_only_trees_are_mounted(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        storage.snapshot("web", "s")
        with pytest.raises(WrongState, match="clone it"):
            storage.mounts("s")
        with pytest.raises(NotFound, match="nobody"):
            storage.mounts("nobody")

    # --- snapshot, clone

    def test_a_snapshot_is_exact(self, storage: Storage, image: Image) -> None:
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            play.go_on(top)
            wanted = describe(top)
            storage.snapshot("web", "s")
            assert_same(wanted, describe(top))
        storage.clone("s", "copy")
        assert_same(wanted, manifest(storage, "copy"))

    def test_a_snapshot_does_not_follow_its_tree(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        with seen(storage, "web") as top:
            (top / "file").write_text("then")
            storage.snapshot("web", "s")
            (top / "file").write_text("now")
            (top / "new").touch()
        storage.clone("s", "copy")
        with seen(storage, "copy") as top:
            assert {path.name: path.read_text() for path in top.iterdir()} == {"file": "then"}

    def test_clones_of_a_snapshot_do_not_see_each_other(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        with seen(storage, "web") as top:
            (top / "file").write_text("then")
        storage.snapshot("web", "s")
        storage.clone("s", "one")
        storage.prepare("two", "s")
        with seen(storage, "one") as one, seen(storage, "two") as two:
            (one / "file").write_text("one")
            (one / "mine").touch()
            assert [path.name for path in two.iterdir()] == ["file"]
            assert (two / "file").read_text() == "then"

    def test_a_spare_is_made_while_the_tree_is_in_use(self, storage: Storage, image: Image) -> None:
        storage.prepare("web", image)
        storage.snapshot("web", "s")
        with seen(storage, "web") as used:
            play.append(used / "image")
            storage.clone("s", "spare")
            with seen(storage, "spare") as spare:
                assert differences(describe(used), describe(spare))
                play.delete_folder(spare / "image")
            assert (used / "image/folder/one").exists()

    def test_snapshot_needs_a_tree(self, storage: Storage) -> None:
        with pytest.raises(NotFound, match="nobody"):
            storage.snapshot("nobody", "s")
        storage.prepare("web", Empty())
        storage.snapshot("web", "s")
        with pytest.raises(WrongState, match="is a snapshot"):
            storage.snapshot("s", "t")

    def test_directories_deeper_than_any_path(self, storage: Storage) -> None:
        """A container can make them, and nobody could delete them any more."""
        storage.prepare("web", Empty())
        with seen(storage, "web") as top:
            _dig(top, self.depth)
        storage.snapshot("web", "s")
        storage.rollback("web", "s")
        assert storage.usage("s").inodes >= self.depth
        with seen(storage, "web") as top:
            assert _depth(top) == self.depth
        for label in ("web", "s"):
            storage.remove(label)
        assert storage.sweep() > 0

    # --- remove

    def test_remove_forgets(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        storage.snapshot("web", "s")
        for label in ("web", "s"):
            storage.remove(label)
            with pytest.raises(NotFound, match=label):
                storage.stat(label)
            with pytest.raises(NotFound, match=label):
                storage.remove(label)
        assert list(storage.walk()) == []

    def test_a_removed_label_can_be_used_again(self, storage: Storage) -> None:
        for _ in range(3):
            storage.prepare("web", Empty())
            with seen(storage, "web") as top:
                assert list(top.iterdir()) == []
                (top / "file").touch()
            storage.remove("web")

    def test_what_others_grew_from_is_not_removed(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        storage.snapshot("web", "first")
        storage.clone("first", "copy")
        storage.snapshot("copy", "second")
        with pytest.raises(WrongState, match="copy, second"):
            storage.remove("first")
        storage.remove("copy")
        with pytest.raises(WrongState, match="needed by second"):
            storage.remove("first")
        storage.remove("second")
        storage.remove("first")

    def test_a_tree_can_go_before_its_snapshots(self, storage: Storage, image: Image) -> None:
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            play.append(top / "image")
            wanted = describe(top)
        storage.snapshot("web", "s")
        storage.remove("web")
        storage.sweep()
        storage.clone("s", "again")
        assert_same(wanted, manifest(storage, "again"))

    def test_remove_while_mounted(self, storage: Storage) -> None:
        if not storage.capabilities.rollback_while_mounted:
            pytest.skip("this driver has to be unmounted first")
        storage.prepare("web", Empty())
        with seen(storage, "web") as top:
            (top / "file").write_text("in use")
            storage.remove("web")
            assert (top / "file").read_text() == "in use"

    # --- stat, walk, usage

    def test_stat_tells_what_it_stands_on(self, storage: Storage, image: Image) -> None:
        storage.prepare("web", image)
        storage.snapshot("web", "s")
        storage.clone("s", "copy")
        web, s, copy = (storage.stat(label) for label in ("web", "s", "copy"))
        assert (web.kind, web.parent, web.layers) == (Kind.TREE, None, image.layers)
        assert (s.kind, s.parent, s.layers) == (Kind.SNAPSHOT, None, image.layers)
        assert (copy.kind, copy.parent, copy.layers) == (Kind.TREE, "s", image.layers)
        assert 0 < web.created <= s.created <= copy.created

    def test_rollback_changes_the_parent(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        storage.snapshot("web", "s")
        assert storage.stat("web").parent is None
        storage.rollback("web", "s")
        assert storage.stat("web").parent == "s"

    def test_walk_lists_everything_as_of_now(self, storage: Storage) -> None:
        storage.prepare("b", Empty())
        storage.prepare("a", Empty())
        storage.snapshot("b", "s")
        walk = storage.walk()
        storage.remove("a")
        assert [info.label for info in walk] == ["b", "a", "s"]
        assert [info.label for info in storage.walk()] == ["b", "s"]
        assert list(storage.walk()) == [storage.stat("b"), storage.stat("s")]

    def test_usage_counts_what_was_written(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        empty = storage.usage("web")
        with seen(storage, "web") as top:
            (top / "file").write_bytes(os.urandom(1 << 20))
            os.link(top / "file", top / "again")
            with (top / "sparse").open("wb") as file:
                file.truncate(1 << 30)
        full = storage.usage("web")
        assert (1 << 20) <= full.bytes - empty.bytes < (2 << 20)
        assert full.inodes - empty.inodes == 2
        storage.snapshot("web", "s")
        assert storage.usage("s").inodes == full.inodes
        assert storage.usage("s") == storage.usage("s")

    def test_questions_about_nobody(self, storage: Storage) -> None:
        for question in (storage.stat, storage.usage):
            with pytest.raises(NotFound, match="nobody"):
                question("nobody")


class StorageSuite(VerbSuite, UpkeepSuite, PowersSuite, RetiringSuite):
    """All of it."""


def _files(top: Path) -> list[str]:
    return [str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()]


def _dig(top: Path, depth: int) -> None:
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deeper", dir_fd=here)
        here = _enter(here)
    os.close(here)


def _depth(top: Path) -> int:
    here, depth = os.open(top, os.O_RDONLY), 0
    while os.listdir(here):
        here, depth = _enter(here), depth + 1
    os.close(here)
    return depth


def _enter(here: int) -> int:
    below = os.open("deeper", os.O_RDONLY, dir_fd=here)
    os.close(here)
    return below
