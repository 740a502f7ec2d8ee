"""What rollback means, for bare trees: points 1, 3, 4 and 5 of section D9 of the design, which belong to the storage.

Every point is tried through real mounts, with one of everything in the tree, and with the disk failing at every step.
"""

from __future__ import annotations

import itertools
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import pytest

from tfcore.errors import Exhausted, NotFound, TfError, WrongState
from tfnode.storage.interface import Empty, Image, Sealing, Storage, StorageFailed
from tfnode.storage.occupancy import occupied
from tfnode.testing import play
from tfnode.testing.broken_disk import BrokenDisk
from tfnode.testing.storage_suite import OpenStorage, StorageFixtures
from tfnode.testing.trees import Manifest, assert_same, describe, differences
from tfnode.testing.views import manifest, seen

GENERATIONS = 30
"""More than a driver may stack upon each other without doing something about it."""

State = dict[str, Manifest]
"""What every tree shows, by its key."""

VERBS: dict[str, Callable[[Storage], None]] = {
    "prepare": lambda storage: storage.prepare("new", "old"),
    "snapshot": lambda storage: storage.snapshot("web", "new"),
    "rollback": lambda storage: storage.rollback("web", "old"),
    "rollback to a newer one": lambda storage: storage.rollback("web", "newer"),
    "clone": lambda storage: storage.clone("newer", "new"),
    "remove": lambda storage: storage.remove("spare"),
    "seal": lambda storage: cast(Sealing, storage).seal("web", "new"),
}
"""Everything that changes something, on what `_furnished` made."""


class RollbackSuite(StorageFixtures):
    """The promise of the product."""

    # --- D9.1: everything is as it was

    @pytest.mark.parametrize("place", ["image", "own"])
    @pytest.mark.parametrize("spoiling", play.SPOILINGS)
    def test_brings_everything_back(self, storage: Storage, image: Image, spoiling: str, place: str) -> None:
        """In what came with the image as in what was written since."""
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            play.furnish(top / "own")
            wanted = describe(top)
            storage.snapshot("web", "s")
            play.SPOILINGS[spoiling](top / place)
            assert differences(wanted, describe(top)), "the test spoiled nothing"
        storage.rollback("web", "s")
        assert_same(wanted, manifest(storage, "web"))

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

    def test_nobody_else_is_touched(self, storage: Storage) -> None:
        """D9.5: a volume that nobody named stays as it is."""
        _furnished(storage)
        before = _state(storage)
        storage.rollback("web", "old")
        after = _state(storage)
        assert differences(before.pop("web"), after.pop("web"))
        for key, wanted in before.items():
            assert_same(wanted, after[key])

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

    # --- refusals change nothing

    def test_to_nobody(self, storage: Storage) -> None:
        _furnished(storage)
        before = _state(storage)
        for key, name in (("web", "nobody"), ("nobody", "old")):
            with pytest.raises(NotFound, match="nobody"):
                storage.rollback(key, name)
        for key, name in (("web", "spare"), ("old", "newer")):
            with pytest.raises(WrongState, match="is a"):
                storage.rollback(key, name)
        _assert_unchanged(before, storage)

    # --- D9.3: failures half way

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_disk_that_fails_at_each_step(self, storage: Storage, root: Path, verb: str) -> None:
        """The verb says that it failed and has changed nothing, or has been done; nothing is left lying about."""
        _skip_without(verb, storage)
        _furnished(storage)
        before = _state(storage)
        for step in itertools.count(1):
            inodes = occupied(root).inodes
            with BrokenDisk(step) as disk:
                error = _attempt(VERBS[verb], storage)
            if error is None:
                break
            assert disk.failed
            assert isinstance(error, Exhausted)
            assert "nothing was changed" in str(error)
            assert occupied(root).inodes == inodes
            _assert_unchanged(before, storage)
        _assert_done(before, storage)

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_process_that_dies_at_each_step(self, open_storage: OpenStorage, root: Path, verb: str) -> None:
        """It cannot take anything back; who opens the storage next finds the old state or the new one."""
        with closing(open_storage(root)) as storage:
            _skip_without(verb, storage)
            _furnished(storage)
            before = _state(storage)
        error: TfError | None = Exhausted("not tried yet")
        for step in itertools.count(1):
            with closing(open_storage(root)) as storage, BrokenDisk(step, for_good=True):
                error = _attempt(VERBS[verb], storage)
            with closing(open_storage(root)) as storage:
                storage.sweep()
                if error is None:
                    break
                _assert_unchanged(before, storage)
        with closing(open_storage(root)) as storage:
            _assert_done(before, storage)
            _assert_no_litter(storage, root)

    def test_a_file_that_cannot_be_copied(self, storage: Storage) -> None:
        """Writing fails in the middle of a big file, as at a limit or on a broken disk."""
        storage.prepare("web", Empty())
        with seen(storage, "web") as top:
            (top / "big").write_bytes(play.DATABASE * 256)
            storage.snapshot("web", "old")
            (top / "big").write_bytes(play.DATABASE * 512)
        before = _state(storage)
        with _no_file_longer_than(2 << 20):
            error = _attempt(lambda storage: storage.snapshot("web", "new"), storage)
        if error is None:
            pytest.skip("this driver writes no files to take a snapshot")
        assert isinstance(error, StorageFailed)
        assert "big" in str(error)
        _assert_unchanged(before, storage)

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


def _skip_without(verb: str, storage: Storage) -> None:
    if verb == "seal" and not isinstance(storage, Sealing):
        pytest.skip("this driver cannot seal")


def _furnished(storage: Storage) -> None:
    """A tree "web" with the snapshots "old" and "newer" and changes since, a clone "spare", and a volume "data"."""
    storage.prepare("web", Empty())
    with seen(storage, "web") as top:
        (top / "folder").mkdir()
        (top / "folder/file").write_text("old")
        os.link(top / "folder/file", top / "link")
        storage.snapshot("web", "old")
        (top / "folder/file").write_text("newer")
        storage.snapshot("web", "newer")
        (top / "folder/file").unlink()
        (top / "changed").symlink_to("elsewhere")
    storage.clone("old", "spare")
    storage.prepare("data", Empty())
    with seen(storage, "data") as top:
        (top / "row").write_text("1")


def _state(storage: Storage) -> State:
    """What every tree shows. Snapshots are looked at by way of clones, which are gone again afterwards."""
    state = {}
    for info in list(storage.walk()):
        if info.kind.value == "tree":
            state[info.label] = manifest(storage, info.label)
        else:
            storage.clone(info.label, "look")
            state[info.label] = manifest(storage, "look")
            storage.remove("look")
    storage.sweep()
    return state


def _assert_unchanged(before: State, storage: Storage) -> None:
    after = _state(storage)
    assert after.keys() == before.keys()
    for label, wanted in before.items():
        assert_same(wanted, after[label])


def _assert_done(before: State, storage: Storage) -> None:
    """The verb did what it is for; whatever it did not name is as before."""
    after = _state(storage)
    assert (after.keys() != before.keys()) or differences(before["web"], after["web"])
    for label in (before.keys() & after.keys()) - {"web"}:
        assert_same(before[label], after[label])


def _attempt(verb: Callable[[Storage], None], storage: Storage) -> TfError | None:
    try:
        verb(storage)
    except TfError as error:
        return error
    return None


def _assert_no_litter(storage: Storage, root: Path) -> None:
    """What is on the disk when all is removed is what a storage has that was never used much."""
    _remove_all(storage)
    inodes = occupied(root).inodes
    _furnished(storage)
    _remove_all(storage)
    assert occupied(root).inodes == inodes


def _remove_all(storage: Storage) -> None:
    infos = list(storage.walk())
    for info in sorted(infos, key=lambda info: (info.kind.value == "snapshot", -infos.index(info))):
        storage.remove(info.label)
    storage.sweep()


def _three_snapshots(storage: Storage) -> State:
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


@contextmanager
def _no_file_longer_than(size: int) -> Iterator[None]:
    """Python ignores the signal that goes with it, so that writing beyond is an error (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
