"""What rollback means, for bare trees: points 1, 3, 4 and 5 of section D9 of the design, which belong to the storage.

Everything is tried through real mounts, with one of everything in the tree.
"""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from tfcore.errors import WrongState
from tfnode.storage.interface import Empty, Image, Sealing, Storage
from tfnode.testing import play
from tfnode.testing.halfway_suite import HalfwaySuite
from tfnode.testing.storage_fixtures import StorageFixtures
from tfnode.testing.trees import Manifest, assert_same, describe, differences
from tfnode.testing.views import manifest, seen

GENERATIONS = 30
"""More than a driver may stack upon each other without doing something about it."""


class RestoreSuite(StorageFixtures):
    """What was is again, any number of times, in any order."""

    # --- D9.1: everything is as it was

    @pytest.mark.parametrize("place", ["image", "own"])
    def test_brings_everything_back(self, storage: Storage, image: Image, place: str) -> None:
        """In what came with the image as in what was written since, whichever way it was spoiled."""
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            play.furnish(top / "own")
            wanted = describe(top)
            storage.snapshot("web", "s")
        for name, spoil in play.SPOILINGS.items():
            with seen(storage, "web") as top:
                spoil(top / place)
                assert differences(wanted, describe(top)), f"{name} spoiled nothing"
            storage.rollback("web", "s")
            left = differences(wanted, manifest(storage, "web"))
            assert not left, "\n".join([f"after {name}: {len(left)} differences", *left[:20]])

    def test_brings_a_whole_life_back(self, storage: Storage, image: Image) -> None:
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            play.go_on(top)
            wanted = describe(top)
            storage.snapshot("web", "s")
            for place in list(top.iterdir()):
                if (place / "read-only").is_dir():
                    play.delete_everything(place)
        storage.rollback("web", "s")
        assert_same(wanted, manifest(storage, "web"))

    def test_the_top_directory_is_part_of_it(self, storage: Storage) -> None:
        storage.prepare("volume", Empty(mode=0o750))
        with seen(storage, "volume") as top:
            (top / "file").touch()
            play.set_time(top, play.LONG_AGO)
            wanted = describe(top)
            storage.snapshot("volume", "s")
            (top / "file").unlink()
            top.chmod(0o777)
        storage.rollback("volume", "s")
        assert_same(wanted, manifest(storage, "volume"))

    def test_an_empty_tree_becomes_empty_again(self, storage: Storage) -> None:
        storage.prepare("volume", Empty())
        storage.snapshot("volume", "s")
        with seen(storage, "volume") as top:
            play.furnish(top / "own")
        storage.rollback("volume", "s")
        assert list(manifest(storage, "volume")) == [""]

    def test_a_rolled_back_tree_can_be_spoiled_as_well(self, storage: Storage, image: Image) -> None:
        """Deleting what lies in the snapshot, in the image, and what was deleted and made again."""
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            play.recreate_folder(top / "image")
            (top / "image/folder/more").write_bytes(
                b"so that making it again is seen, also by a clock of whole seconds"
            )
            wanted = describe(top)
        storage.snapshot("web", "s")
        for spoiling in (play.delete_folder, play.recreate_folder, play.folder_becomes_link, play.delete_everything):
            storage.rollback("web", "s")
            with seen(storage, "web") as top:
                spoiling(top / "image")
                assert differences(wanted, describe(top))
        storage.rollback("web", "s")
        assert_same(wanted, manifest(storage, "web"))

    def test_who_has_it_mounted_keeps_the_old(self, storage: Storage) -> None:
        if not storage.capabilities.rollback_while_mounted:
            pytest.skip("this driver has to be unmounted first")
        storage.prepare("web", Empty())
        with seen(storage, "web") as old:
            (old / "file").write_text("then")
            storage.snapshot("web", "s")
            (old / "file").write_text("now")
            with (old / "file").open() as held:
                (old / "file").unlink()
                (old / "new").write_text("new")
                storage.rollback("web", "s")
                assert held.read() == "now"
            assert [path.name for path in old.iterdir()] == ["new"]
            with seen(storage, "web") as new:
                (new / "more").touch()
                assert (new / "file").read_text() == "then"
            assert [path.name for path in old.iterdir()] == ["new"]

    # --- D9.3: other snapshots, again and again

    def test_twice_is_once(self, storage: Storage, image: Image) -> None:
        storage.prepare("web", image)
        storage.snapshot("web", "s")
        wanted = manifest(storage, "web")
        for _ in range(5):
            storage.rollback("web", "s")
            assert_same(wanted, manifest(storage, "web"))

    def test_any_snapshot_in_any_order(self, storage: Storage) -> None:
        if not storage.capabilities.rollback_keeps_newer:
            pytest.skip("this driver would have to remove the newer ones")
        wanted = _three_snapshots(storage)
        for name in (*itertools.chain(*itertools.permutations(wanted)), "1", "1"):
            storage.rollback("web", name)
            assert_same(wanted[name], manifest(storage, "web"))
            with seen(storage, "web") as top:
                play.delete_everything(top / "own")

    def test_newer_snapshots_are_named_before_anything_happens(self, storage: Storage) -> None:
        if storage.capabilities.rollback_keeps_newer:
            pytest.skip("this driver keeps them")
        wanted = _three_snapshots(storage)
        with pytest.raises(WrongState, match="2, 3"):
            storage.rollback("web", "1")
        assert_same(wanted["3"], manifest(storage, "web"))

    def test_snapshots_of_snapshots(self, storage: Storage, image: Image) -> None:
        """Each generation deletes something of the one before, changes something and adds something."""
        storage.prepare("web", image)
        wanted: dict[int, Manifest] = {}
        for number in range(GENERATIONS):
            with seen(storage, "web") as top:
                _next_generation(top, number)
                wanted[number] = describe(top)
                storage.snapshot("web", f"s{number}")
            storage.rollback("web", f"s{number}")
            assert_same(wanted[number], manifest(storage, "web"))
        for number in (0, 1, GENERATIONS // 2, GENERATIONS - 2):
            storage.rollback("web", f"s{number}")
            assert_same(wanted[number], manifest(storage, "web"))

    def test_seals_on_seals(self, storage: Storage) -> None:
        if not isinstance(storage, Sealing):
            pytest.skip("this driver cannot seal")
        storage.prepare("web", Empty())
        wanted: dict[int, Manifest] = {}
        for number in range(GENERATIONS):
            with seen(storage, "web") as top:
                _next_generation(top, number)
                wanted[number] = describe(top)
            storage.seal("web", f"s{number}")
            assert_same(wanted[number], manifest(storage, "web"))
        storage.rollback("web", "s3")
        assert_same(wanted[3], manifest(storage, "web"))

    def test_to_another_trees_snapshot(self, storage: Storage, image: Image) -> None:
        storage.prepare("web", image)
        storage.prepare("db", Empty())
        storage.snapshot("web", "s")
        storage.rollback("db", "s")
        assert_same(manifest(storage, "web"), manifest(storage, "db"))

    # --- D9.4: root file system and volumes at one instant

    def test_a_container_and_its_volumes(self, storage: Storage, image: Image) -> None:
        storage.prepare("web", image)
        storage.prepare("data", Empty())
        with seen(storage, "web") as root, seen(storage, "data") as data:
            play.furnish(data / "own")
            wanted = describe(root), describe(data)
            for key in ("web", "data"):
                storage.snapshot(key, f"{key}.s")
            play.delete_everything(root / "image")
            play.rename_over(data / "own")
        for key in ("web", "data"):
            storage.rollback(key, f"{key}.s")
        for key, before in zip(("web", "data"), wanted, strict=True):
            assert_same(before, manifest(storage, key))

    def test_verbs_on_different_keys_at_once(self, storage: Storage, image: Image) -> None:
        storage.prepare("web", image)
        storage.snapshot("web", "s")
        wanted = manifest(storage, "web")
        errors: list[BaseException] = []

        def live(key: str) -> None:
            try:
                storage.clone("s", key)
                for _ in range(3):
                    with seen(storage, key) as top:
                        play.delete_everything(top / "image")
                    storage.rollback(key, "s")
                    assert_same(wanted, manifest(storage, key))
            except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
                errors.append(error)

        threads = [threading.Thread(target=live, args=(f"k{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]


class RollbackSuite(RestoreSuite, HalfwaySuite):
    """The promise of the product."""


def _three_snapshots(storage: Storage) -> dict[str, Manifest]:
    wanted = {}
    storage.prepare("web", Empty())
    for name, spoiling in {"1": play.append, "2": play.recreate_folder, "3": play.rename_over}.items():
        with seen(storage, "web") as top:
            if not (top / "own").exists():
                play.furnish(top / "own")
            spoiling(top / "own")
            wanted[name] = describe(top)
            storage.snapshot("web", name)
    return wanted


def _next_generation(top: Path, number: int) -> None:
    (top / "log").open("a").close()
    (top / f"new-{number}").write_text(str(number))
    (top / f"folder-{number}").mkdir()
    (top / f"folder-{number}" / "file").write_text("here")
    if number:
        (top / f"new-{number - 1}").unlink()
        (top / f"folder-{number - 1}" / "file").unlink()
    if number > 1:
        (top / f"folder-{number - 2}").rmdir()
        (top / f"folder-{number - 2}").write_text("a file now")
    if number == GENERATIONS // 2:
        play.recreate_folder(top / "image") if (top / "image").exists() else play.furnish(top / "own")
