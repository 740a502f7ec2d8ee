"""What rollback means, continued (D9.3): a verb happens as a whole or not at all, whenever and however it is stopped.

The disk is made to fail at each change in turn (`broken_disk`), once with everything taken back, once as if the process had
died there.
"""

from __future__ import annotations

import itertools
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import pytest

from tfcore.errors import Exhausted, NotFound, StorageFailed, TfError, WrongState
from tfnode.storage.interface import Empty, Kind, Sealing, Storage
from tfnode.storage.occupancy import occupied
from tfnode.testing import play
from tfnode.testing.broken_disk import BrokenDisk
from tfnode.testing.storage_fixtures import OpenStorage, StorageFixtures
from tfnode.testing.trees import Manifest, assert_same, differences
from tfnode.testing.views import manifest, seen

State = dict[str, Manifest]
"""What every tree and every snapshot shows, by label."""

VERBS: dict[str, Callable[[Storage], None]] = {
    "prepare": lambda storage: storage.prepare("new", "old"),
    "snapshot": lambda storage: storage.snapshot("web", "new"),
    "rollback": lambda storage: storage.rollback("web", "old"),
    "rollback to a newer one": lambda storage: storage.rollback("web", "newer"),
    "clone": lambda storage: storage.clone("newer", "new"),
    "remove": lambda storage: storage.remove("spare"),
    "retire": lambda storage: storage.retire("newer"),
    "seal": lambda storage: cast(Sealing, storage).seal("web", "new"),
}
"""Everything that changes something, on what `_furnished` made."""


class HalfwaySuite(StorageFixtures):
    """The old state or the new one, never a mixture, and the verb says which."""

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

    def test_nobody_else_is_touched(self, storage: Storage) -> None:
        """D9.5: a volume that nobody named stays as it is."""
        _furnished(storage)
        before = _state(storage)
        storage.rollback("web", "old")
        after = _state(storage)
        assert differences(before.pop("web"), after.pop("web"))
        for key, wanted in before.items():
            assert_same(wanted, after[key])


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
        if info.kind is Kind.TREE:
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
    for info in sorted(infos, key=lambda info: (info.kind is Kind.SNAPSHOT, -infos.index(info))):
        storage.remove(info.label)
    storage.sweep()


@contextmanager
def _no_file_longer_than(size: int) -> Iterator[None]:
    """Python ignores the signal that goes with it, so that writing beyond is an error (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
