"""What a storage can do beyond the promises: each power is tried where it is declared, and must be declared where it is."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from io import FileIO
from pathlib import Path

import pytest

from tfcore.errors import NotFound, WrongState
from tfnode.cgroups.files import until
from tfnode.kernel.fingerprint import Fingerprint, fingerprint, first_difference, is_fresh, now
from tfnode.storage.contrast import OutOfTime, changes
from tfnode.storage.interface import Empty, Image, Layered, Limiting, Sealing, Storage, Tracing
from tfnode.testing import play
from tfnode.testing.storage_fixtures import StorageFixtures
from tfnode.testing.trees import Entry, Manifest, assert_same, describe
from tfnode.testing.views import manifest, seen


class PowersSuite(StorageFixtures):
    """`Capabilities`, `Limiting`, `Sealing` and `Tracing`."""

    # --- capabilities

    def test_declared_powers_are_there(self, storage: Storage) -> None:
        assert storage.capabilities.quota == isinstance(storage, Limiting)
        if storage.capabilities.instant_snapshot:
            assert isinstance(storage, Sealing) or storage.capabilities.shares_blocks

    def test_quota(self, storage: Storage) -> None:
        if not isinstance(storage, Limiting):
            pytest.skip("this driver has no quota")
        storage.prepare("web", Empty())
        storage.limit("web", 4 << 20)
        with (
            seen(storage, "web") as top,
            (top / "file").open("wb", buffering=0) as file,
            pytest.raises(OSError, match="quota"),
        ):
            _write_through(file, 16 << 20)

    def test_blocks_are_shared(self, storage: Storage, root: Path) -> None:
        if not storage.capabilities.shares_blocks:
            pytest.skip("this driver's file system shares no blocks")
        storage.prepare("web", Empty())
        with seen(storage, "web") as top:
            (top / "big").write_bytes(os.urandom(64 << 20))
        storage.snapshot("web", "first")  # what was written is on the disk then; not every file system heeds sync(2)
        os.sync()
        before = _free(root)
        storage.snapshot("web", "second")
        os.sync()
        assert before - _free(root) < (16 << 20)

    # --- sealing

    def test_seal_is_a_snapshot(self, storage: Storage, image: Image) -> None:
        sealing = _sealing(storage)
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            play.go_on(top)
            wanted = describe(top)
        sealing.seal("web", "s")
        assert_same(wanted, manifest(storage, "web"))
        with seen(storage, "web") as top:
            play.delete_everything(top / "own-0")
        storage.clone("s", "copy")
        assert_same(wanted, manifest(storage, "copy"))
        storage.rollback("web", "s")
        assert_same(wanted, manifest(storage, "web"))
        assert storage.stat("web").parent == "s"

    def test_seal_copies_nothing(self, storage: Storage) -> None:
        sealing = _sealing(storage)
        storage.prepare("web", Empty())
        with seen(storage, "web") as top:
            (top / "file").write_bytes(b"x")
        inode = _only_file(storage, "web").st_ino
        sealing.seal("web", "s")
        assert _only_file(storage, "web").st_ino == inode

    def test_seal_needs_a_free_label_and_a_tree(self, storage: Storage) -> None:
        sealing = _sealing(storage)
        storage.prepare("web", Empty())
        with pytest.raises(WrongState, match="already"):
            sealing.seal("web", "web")
        with pytest.raises(NotFound, match="nobody"):
            sealing.seal("nobody", "s")
        assert [info.label for info in storage.walk()] == ["web"]

    # --- tracing

    @pytest.mark.parametrize("spoiling", play.SPOILINGS)
    def test_whatever_is_written_can_be_seen_to_be(self, storage: Storage, spoiling: str) -> None:
        tracing = _tracing(storage)
        storage.prepare("web", Empty())
        with seen(storage, "web") as top:
            play.furnish(top / "own")
        storage.snapshot("web", "s")
        storage.clone("s", "next")
        with seen(storage, "next") as top:
            until(lambda: not is_fresh(_stamps(tracing, "next"), now()), timeout=5, failure=lambda: "stamps are new")
            before = _stamps(tracing, "next")
            describe(top)
            assert _stamps(tracing, "next") == before, "reading leaves a trace"
            play.SPOILINGS[spoiling](top / "own")
            assert first_difference(before, _stamps(tracing, "next"))

    def test_nothing_was_written_to_no_tree(self, storage: Storage) -> None:
        with pytest.raises(NotFound, match="nobody"):
            _tracing(storage).written("nobody")

    # --- layers

    @pytest.mark.parametrize("spoiling", play.SPOILINGS)
    def test_what_differs_can_be_told(self, storage: Storage, image: Image, spoiling: str) -> None:
        storage.prepare("web", image)
        with seen(storage, "web") as top:
            play.furnish(top / "own")
        storage.snapshot("web", "s")
        before = manifest(storage, "web")
        storage.clone("s", "next")
        assert _told(storage, "s", "next") == set(), "nothing has been done"
        assert _told(storage, "s", "web") == set(), "the tree that the snapshot is of is the same"
        for tree in ("next", "web"):
            with seen(storage, tree) as top:
                play.SPOILINGS[spoiling](top / "own")
            after = manifest(storage, tree)
            assert _told(storage, "s", tree) == _changed(before, after)
            assert _told(storage, tree, "s") == _changed(after, before)

    def test_what_differs_after_many_snapshots_can_be_told(self, storage: Storage, image: Image) -> None:
        """More than a driver may stack upon each other."""
        storage.prepare("web", image)
        manifests = {}
        for number in range(25):
            with seen(storage, "web") as top:
                (top / f"f{number}").write_bytes(b"x" * number)
                (top / f"f{number - 1}").unlink(missing_ok=True)
            storage.snapshot("web", f"s{number}")
            storage.rollback("web", f"s{number}")
            manifests[f"s{number}"] = manifest(storage, "web")
        for one, other in (("s0", "s24"), ("s24", "s3"), ("s22", "s23")):
            assert _told(storage, one, other) == _changed(manifests[one], manifests[other])

    def test_only_a_part_may_be_compared(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        storage.snapshot("web", "s")
        with seen(storage, "web") as top:
            (top / "tmp" / "deep").mkdir(parents=True)
            (top / "tmp" / "deep" / "file").write_bytes(b"x")
            (top / "other").write_bytes(b"x")
        assert _told(storage, "s", "web", below="/tmp") == {("/tmp/deep/file", "added", None, 1)}
        assert _told(storage, "web", "s", below="/tmp/deep") == {("/tmp/deep/file", "removed", 1, None)}
        assert _told(storage, "s", "web", below="/nowhere") == set()

    def test_looking_has_an_end(self, storage: Storage) -> None:
        storage.prepare("web", Empty())
        storage.snapshot("web", "s")
        with seen(storage, "web") as top:
            (top / "file").write_bytes(b"x")
        layered = _layered(storage)
        with layered.layers("s") as before, layered.layers("web") as after, pytest.raises(OutOfTime):
            list(changes(before, after, until=time.monotonic() - 1))

    def test_nobody_has_no_layers(self, storage: Storage) -> None:
        with pytest.raises(NotFound, match="nobody"), _layered(storage).layers("nobody"):
            pass


Told = set[tuple[str, str, int | None, int | None]]


def _layered(storage: Storage) -> Layered:
    assert isinstance(storage, Layered), "every driver can"
    return storage


def _told(storage: Storage, one: str, other: str, below: str = "") -> Told:
    layered = _layered(storage)
    with layered.layers(one) as before, layered.layers(other) as after:
        found = list(changes(before, after, until=time.monotonic() + 60, below=below))
    assert len(found) == len(set(found)), "something is told twice"
    return {(change.path, change.kind, change.before, change.after) for change in found}


def _changed(before: Manifest, after: Manifest) -> Told:
    """The same by two descriptions of all there is; directories without anything below them stand for themselves."""
    found: Told = set()
    for path in before.keys() | after.keys():
        was, now = before.get(path), after.get(path)
        kind = "added" if was is None else "removed" if now is None else "changed"
        there = after if was is None else before
        if (was and now and _essence(was) == _essence(now)) or not path:
            continue
        if kind != "changed" and any(other.startswith(f"{path}/") for other in there):
            continue
        found.add((f"/{path}", kind, _size(was), _size(now)))
    return found


def _essence(entry: Entry) -> Entry:
    return replace(entry, modified=0, data=(), same_file_as=())


def _size(entry: Entry | None) -> int | None:
    return entry.size if entry and entry.mode.startswith("-") else None


def _tracing(storage: Storage) -> Tracing:
    if not isinstance(storage, Tracing):
        pytest.skip("this driver cannot tell what was written")
    return storage


def _stamps(tracing: Tracing, key: str) -> Fingerprint:
    top = os.open(tracing.written(key), os.O_RDONLY | os.O_DIRECTORY)
    try:
        return fingerprint(top)
    finally:
        os.close(top)


def _sealing(storage: Storage) -> Sealing:
    if not isinstance(storage, Sealing):
        pytest.skip("this driver cannot seal")
    return storage


def _only_file(storage: Storage, key: str) -> os.stat_result:
    with seen(storage, key) as top:
        (file,) = top.iterdir()
        return file.stat()


def _free(root: Path) -> int:
    status = os.statvfs(root)
    return status.f_bfree * status.f_frsize


def _write_through(file: FileIO, size: int) -> None:
    for _ in range(size >> 20):
        file.write(os.urandom(1 << 20))
        os.fsync(file.fileno())
