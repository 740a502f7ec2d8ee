"""What a storage owes its node besides the verbs on trees: litter swept, restarts survived, one owner at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tfcore.errors import StorageFailed, WrongState
from tfnode.storage.interface import Image, Storage
from tfnode.storage.occupancy import occupied
from tfnode.testing import play
from tfnode.testing.storage_fixtures import OpenStorage, StorageFixtures
from tfnode.testing.trees import assert_same, describe
from tfnode.testing.views import manifest, seen


class UpkeepSuite(StorageFixtures):
    """`sweep`, `close` and opening again."""

    # --- sweep

    def test_sweep_gives_everything_back(self, storage: Storage, image: Image, root: Path) -> None:
        _use_and_remove(storage, image)
        storage.sweep()
        before = occupied(root).inodes
        for _ in range(2):
            _use_and_remove(storage, image)
        storage.sweep()
        assert occupied(root).inodes == before

    def test_sweep_leaves_what_is_known(self, storage: Storage, image: Image) -> None:
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            play.append(top / "image")
            storage.snapshot("web", "s")
            storage.sweep()
            (top / "after").touch()
            wanted = describe(top)
        assert storage.sweep() == 0
        assert_same(wanted, manifest(storage, "web"))
        storage.rollback("web", "s")
        assert "after" not in manifest(storage, "web")

    def test_sweep_beside_everything_else(self, storage: Storage, image: Image) -> None:
        """It runs in the background whenever it likes; what is just being made is not litter."""
        storage.prepare("web", image)
        storage.snapshot("web", "s")
        done = threading.Event()

        def sweep_until_done() -> int:
            sweeps = 0
            while not done.is_set():
                storage.sweep()
                sweeps += 1
            return sweeps

        with ThreadPoolExecutor(5) as pool:
            sweeps = pool.submit(sweep_until_done)
            try:
                list(pool.map(lambda number: _live_a_while(storage, f"k{number}"), range(4)))
            finally:
                done.set()
            assert sweeps.result() > 0
        assert {info.label for info in storage.walk()} == {"web", "s"}

    # --- opening and closing

    def test_everything_survives_a_restart(self, open_storage: OpenStorage, root: Path, image: Image) -> None:
        storage = open_storage(root)
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            play.append(top / "image")
        storage.snapshot("web", "s")
        with seen(storage, "web") as top:
            play.delete_folder(top / "image")
        wanted, known = manifest(storage, "web"), list(storage.walk())
        storage.close()
        storage = open_storage(root)
        storage.sweep()
        assert list(storage.walk()) == known
        assert_same(wanted, manifest(storage, "web"))
        storage.rollback("web", "s")
        with seen(storage, "web") as top:
            assert (top / "image/folder/one").exists()
        storage.close()

    @pytest.mark.usefixtures("storage")
    def test_one_owner_at_a_time(self, open_storage: OpenStorage, root: Path) -> None:
        with pytest.raises(WrongState, match="in use"):
            open_storage(root)

    def test_an_impossible_root_is_named(self, open_storage: OpenStorage, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StorageFailed, match="file"):
            open_storage(tmp_path / "file" / "below")


def _use_and_remove(storage: Storage, image: Image) -> None:
    storage.prepare("web", image)
    with seen(storage, "web") as top:
        play.append(top / "image")
    storage.snapshot("web", "s")
    storage.rollback("web", "s")
    storage.clone("s", "copy")
    for label in ("web", "copy", "s"):
        storage.remove(label)


def _live_a_while(storage: Storage, key: str) -> None:
    for number in range(3):
        storage.clone("s", key)
        with seen(storage, key) as top:
            (top / "mine").write_text(key)
            storage.snapshot(key, f"{key}.s{number}")
            (top / "mine").unlink()
        storage.rollback(key, f"{key}.s{number}")
        with seen(storage, key) as top:
            assert (top / "mine").read_text() == key
        for label in (key, f"{key}.s{number}"):
            storage.remove(label)
