"""What a storage owes whoever keeps snapshots longer than the trees they were taken of: `retire`.

A container's snapshots go when it does, and one that was kept, or another container, may have grown from them meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tfcore.errors import BadRequest, NotFound, WrongState
from tfnode.storage.interface import Empty, Image, Storage
from tfnode.storage.occupancy import occupied
from tfnode.testing import play
from tfnode.testing.storage_fixtures import OpenStorage, StorageFixtures
from tfnode.testing.trees import Manifest, assert_same, describe
from tfnode.testing.views import manifest, seen


class RetiringSuite(StorageFixtures):
    """`retire`, and the sweeps after it."""

    def test_what_nothing_needs_goes_at_once(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        storage.snapshot("web", "s")
        storage.retire("s")
        with pytest.raises(NotFound, match="'s'"):
            storage.stat("s")
        assert [info.label for info in storage.walk()] == ["web"]
        assert storage.sweep() == 1

    def test_what_grew_from_it_goes_on_whole(self, storage: Storage, image: Image) -> None:
        wanted = _kept(storage, image)
        for label in ("base", "fresh"):
            storage.retire(label)
        storage.remove("web")
        storage.sweep()
        storage.clone("kept", "again")
        assert_same(wanted, manifest(storage, "again"))
        storage.snapshot("again", "later")
        storage.rollback("again", "later")
        assert_same(wanted, manifest(storage, "again"))

    def test_it_goes_with_the_last_that_needs_it(self, storage: Storage, image: Image, root: Path) -> None:
        _kept(storage, image)
        _end(storage)
        before = occupied(root).inodes
        for end in (_end, _end_from_the_other_side):
            _kept(storage, image)
            end(storage)
            assert list(storage.walk()) == []
            assert occupied(root).inodes == before

    def test_it_is_remembered(self, open_storage: OpenStorage, root: Path, image: Image) -> None:
        """By whoever opens the storage next."""
        with closing(open_storage(root)) as storage:
            wanted = _kept(storage, image)
            storage.remove("web")
            for label in ("base", "fresh"):
                storage.retire(label)
        with closing(open_storage(root)) as storage:
            storage.sweep()
            storage.clone("kept", "again")
            assert_same(wanted, manifest(storage, "again"))
            storage.remove("again")
            storage.remove("kept")
            storage.sweep()
            assert list(storage.walk()) == []

    def test_its_label_is_free(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        for number in range(3):
            with seen(storage, "web") as top:
                (top / "number").write_text(str(number))
            storage.snapshot("web", "s")
            storage.clone("s", f"copy{number}")
            storage.retire("s")
        storage.sweep()
        for number in range(3):
            with seen(storage, f"copy{number}") as top:
                assert (top / "number").read_text() == str(number)

    def test_a_tree_that_stands_on_it_can_be_kept_and_rolled_back(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        storage.snapshot("web", "s")
        storage.clone("s", "copy")
        storage.retire("s")
        storage.remove("web")
        with seen(storage, "copy") as top:
            (top / "file").write_text("then")
        storage.sweep()
        storage.snapshot("copy", "then")
        with seen(storage, "copy") as top:
            (top / "file").write_text("now")
        storage.rollback("copy", "then")
        with seen(storage, "copy") as top:
            assert (top / "file").read_text() == "then"

    def test_what_cannot_be_retired(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        attempts: list[tuple[type[Exception], Callable[[], None]]] = [
            (WrongState, lambda: storage.retire("web")),
            (NotFound, lambda: storage.retire("nobody")),
            (BadRequest, lambda: storage.retire("../up")),
        ]
        for error, attempt in attempts:
            with pytest.raises(error):
                attempt()
        storage.sweep()
        assert storage.stat("web").label == "web"


def _kept(storage: Storage, image: Image) -> Manifest:
    """A container "web" with the snapshots "fresh" and "base", and "kept", which was taken of it later; what that shows."""
    storage.prepare("before", image)
    storage.snapshot("before", "fresh")
    storage.remove("before")
    storage.clone("fresh", "web")
    with seen(storage, "web") as top:
        play.append(top / "image")
        storage.snapshot("web", "base")
    storage.rollback("web", "base")
    with seen(storage, "web") as top:
        (top / "later").write_text("later")
        storage.snapshot("web", "kept")
        return describe(top)


def _end(storage: Storage) -> None:
    """The container ends first, what was kept of it later."""
    storage.remove("web")
    for label in ("base", "fresh", "kept"):
        storage.retire(label)
        storage.sweep()


def _end_from_the_other_side(storage: Storage) -> None:
    for label in ("kept", "base", "fresh"):
        storage.retire(label)
        storage.sweep()
    storage.remove("web")
    storage.sweep()
