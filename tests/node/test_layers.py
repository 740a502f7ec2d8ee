"""The store of unpacked layers: each unpacked once, kept while in use, whole or absent whatever happens."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.archives import chunked, described, digest, directory, file, gzipped, symlink, tar
from tests.support.privacy import private_mounts
from tfcore.errors import BadImage, DeadlineExceeded, NotFound, WrongState
from tfnode.images.layers import LayerStore
from tfnode.images.shift import IdShift

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners on disk need root")

SHIFT = IdShift()
DEADLINE = 60.0
ONE = tar(directory("etc"), file("etc/one", b"1" * 10_000))
TWO = tar(file("etc/two", b"2"), symlink("l", "etc"))
THREE = tar(file("three", b"3"))
OpenBlob = Callable[[], AbstractContextManager[Iterable[bytes]]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> LayerStore:
    return LayerStore(root, SHIFT)


def opener(data: bytes) -> OpenBlob:
    @contextlib.contextmanager
    def opened() -> Iterator[Iterable[bytes]]:
        yield chunked(gzipped(data))

    return opened


def added(store: LayerStore, *layers: bytes) -> list[str]:
    for data in layers:
        store.ensure(digest(data), opener(data))
    return [digest(data) for data in layers]


def never() -> AbstractContextManager[Iterable[bytes]]:
    raise AssertionError("the blob was opened although the layer is there")


def everything(root: Path) -> set[str]:
    """What is on disk, one level below the store's directories."""
    return {str(path.relative_to(root)) for path in root.glob("*/*")}


def test_a_layer_is_unpacked_once_and_found_again(store: LayerStore) -> None:
    assert not store.has(digest(ONE))
    path = store.ensure(digest(ONE), opener(ONE))
    assert (path / "etc/one").read_bytes() == b"1" * 10_000
    assert (path / "etc/one").stat().st_uid == SHIFT.uid_base
    assert store.ensure(digest(ONE), never) == store.path(digest(ONE)) == path
    assert store.has(digest(ONE))
    assert store.sizes() == {digest(ONE): 4096 * (1 + 3)}


def test_a_layer_that_is_not_there_has_no_path(store: LayerStore) -> None:
    with pytest.raises(NotFound, match=digest(ONE)):
        store.path(digest(ONE))


@pytest.mark.parametrize("diff_id", ["../../etc", "sha256:..", "", "latest"])
def test_names_that_are_no_digests_are_refused(store: LayerStore, diff_id: str) -> None:
    with pytest.raises(BadImage):
        store.ensure(diff_id, never)
    with pytest.raises(BadImage):
        store.pin(diff_id)


def test_nobody_but_root_looks_into_the_store(store: LayerStore, root: Path) -> None:
    assert root.stat().st_mode & 0o777 == 0o700


def test_a_failed_layer_leaves_nothing_and_can_be_tried_again(store: LayerStore, root: Path) -> None:
    with pytest.raises(BadImage):
        store.ensure(digest(ONE), opener(TWO))
    assert everything(root) == set()
    assert not store.has(digest(ONE))
    added(store, ONE)


def test_a_blob_that_cannot_be_opened_is_the_callers_error(store: LayerStore, root: Path) -> None:
    with pytest.raises(AssertionError):
        store.ensure(digest(ONE), never)
    assert everything(root) == set()


class Gate:
    """A blob that says when it is read and then waits to be let through."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.opened = 0
        self.reading = threading.Event()
        self.go = threading.Event()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[Iterable[bytes]]:
        self.opened += 1
        yield self._chunks()

    def _chunks(self) -> Iterator[bytes]:
        self.reading.set()
        assert self.go.wait(DEADLINE)
        yield self._data


def test_calls_for_the_same_layer_unpack_it_once(store: LayerStore) -> None:
    gate = Gate(ONE)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(store.ensure, digest(ONE), gate) for _ in range(8)]
        assert gate.reading.wait(DEADLINE)
        gate.go.set()
        paths = {call.result(DEADLINE) for call in calls}
    assert gate.opened == 1
    assert paths == {store.path(digest(ONE))}


def test_different_layers_are_unpacked_at_the_same_time(store: LayerStore) -> None:
    gates = [Gate(ONE), Gate(TWO)]
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(store.ensure, digest(data), gate) for data, gate in zip((ONE, TWO), gates, strict=True)]
        for gate in gates:
            assert gate.reading.wait(DEADLINE)  # both are under way before either may finish
        for gate in gates:
            gate.go.set()
        for call in calls:
            call.result(DEADLINE)
    assert set(store.sizes()) == {digest(ONE), digest(TWO)}


def test_when_one_call_fails_the_next_tries_with_its_own_blob(store: LayerStore) -> None:
    wrong = Gate(TWO)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(store.ensure, digest(ONE), wrong)
        assert wrong.reading.wait(DEADLINE)
        second = pool.submit(store.ensure, digest(ONE), opener(ONE))
        wrong.go.set()
        with pytest.raises(BadImage):
            first.result(DEADLINE)
        assert second.result(DEADLINE) == store.path(digest(ONE))


def test_waiting_for_another_call_has_an_end(store: LayerStore) -> None:
    gate = Gate(ONE)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(store.ensure, digest(ONE), gate)
        assert gate.reading.wait(DEADLINE)
        with pytest.raises(DeadlineExceeded, match=f"{digest(ONE)} is still being worked on .* after 0.01 s"):
            store.ensure(digest(ONE), never, patience=0.01)
        gate.go.set()
        slow.result(DEADLINE)


def test_layers_last_over_restarts(store: LayerStore, root: Path) -> None:
    ids = added(store, ONE, TWO)
    before = described(store.path(ids[0]))
    again = LayerStore(root, SHIFT)
    assert again.sizes() == store.sizes()
    assert described(again.ensure(ids[0], never)) == before


def test_leftovers_are_swept_at_start(store: LayerStore, root: Path) -> None:
    ids = added(store, ONE, TWO)
    half = root / "aside/0123456789abcdef/fs/deep/er"
    half.mkdir(parents=True)
    (half / "file").touch()
    (root / "layers" / ids[0].removeprefix("sha256:") / "layer.json").write_text("{")
    again = LayerStore(root, SHIFT)
    assert everything(root) == {f"layers/{ids[1].removeprefix('sha256:')}"}
    assert list(again.sizes()) == [ids[1]]


def test_layers_for_other_ids_or_of_another_format_are_thrown_away(store: LayerStore, root: Path) -> None:
    added(store, ONE, TWO)
    again = LayerStore(root, IdShift(uid_base=300_000, gid_base=300_000))
    assert again.sizes() == {}
    assert everything(root) == set()
    path = again.ensure(digest(ONE), opener(ONE))
    assert path.stat().st_uid == 300_000
    (root / "shelf.json").write_text("something else")
    assert LayerStore(root, IdShift(uid_base=300_000, gid_base=300_000)).sizes() == {}


def rebooted(root: Path) -> LayerStore:
    """The store as found after a reboot: every layer was made under another boot id."""
    for note in root.glob("layers/*/layer.json"):
        note.write_text(note.read_text().replace('"boot_id":"', '"boot_id":"before-'))
    return LayerStore(root, SHIFT)


def test_after_a_reboot_only_layers_known_to_be_on_disk_are_used(store: LayerStore, root: Path) -> None:
    ids = added(store, ONE, TWO)
    store.flush()
    added(store, THREE)
    assert sorted(rebooted(root).sizes()) == sorted(ids)


def test_flushing_twice_is_the_same_as_once(store: LayerStore, root: Path) -> None:
    added(store, ONE)
    store.flush()
    store.flush()
    assert list(rebooted(root).sizes()) == [digest(ONE)]


def test_eviction_takes_the_longest_unused_first(store: LayerStore, root: Path) -> None:
    ids = added(store, ONE, TWO, THREE)
    store.ensure(ids[0], never)
    sizes = store.sizes()
    assert list(sizes) == [ids[1], ids[2], ids[0]]
    assert store.evict(sum(sizes.values())) == []
    assert store.evict(sum(sizes.values()) - 1) == [ids[1]]
    assert store.evict(0) == [ids[2], ids[0]]
    assert everything(root) == set()
    assert store.sizes() == {}


def test_use_is_remembered_over_restarts(store: LayerStore, root: Path) -> None:
    ids = added(store, ONE, TWO, THREE)
    store.ensure(ids[0], never)
    assert LayerStore(root, SHIFT).evict(4096) == [ids[1], ids[2], ids[0]]


def test_layers_in_use_are_never_evicted(store: LayerStore) -> None:
    ids = added(store, ONE, TWO)
    store.pin(ids[0])
    store.pin(ids[0])
    assert store.evict(0) == [ids[1]]
    store.unpin(ids[0])
    assert store.evict(0) == []
    store.unpin(ids[0])
    assert store.evict(0) == [ids[0]]


def test_a_layer_pinned_before_it_is_there_stays(store: LayerStore) -> None:
    with store.pinned([digest(ONE), digest(TWO)]):
        added(store, ONE, TWO)
        assert store.evict(0) == []
    assert len(store.evict(0)) == 2


def test_pins_are_taken_back_when_one_is_refused(store: LayerStore) -> None:
    added(store, ONE)
    with pytest.raises(BadImage), store.pinned([digest(ONE), "nonsense"]):
        raise AssertionError("not reached")
    assert store.evict(0) == [digest(ONE)]


def test_unpinning_what_is_not_pinned_is_refused(store: LayerStore) -> None:
    with pytest.raises(WrongState, match="is not pinned"):
        store.unpin(digest(ONE))


def test_an_evicted_layer_can_be_had_again(store: LayerStore) -> None:
    added(store, ONE)
    store.evict(0)
    assert (store.ensure(digest(ONE), opener(ONE)) / "etc/one").exists()


def test_a_stack_is_in_the_images_order(store: LayerStore) -> None:
    ids = added(store, ONE, TWO, THREE)
    assert store.stack(ids) == [store.path(diff_id) for diff_id in ids]
    with pytest.raises(NotFound):
        store.stack([*ids, digest(b"")])


def mounted_names(tmp_path: Path, stack: list[Path]) -> list[str]:
    """What a container would see at its root."""
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()
    lower = ":".join(str(path) for path in reversed(stack))
    options = f"lowerdir={lower},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    with private_mounts():
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, tmp_path / "merged"], check=True)
        return sorted(os.listdir(tmp_path / "merged"))


def test_an_image_may_have_a_layer_twice(store: LayerStore, tmp_path: Path) -> None:
    gone = tar(file(".wh.three"))
    one, three, without = added(store, ONE, THREE, gone)
    stack = store.stack([one, three, without, one, three])
    assert stack == [store.path(diff_id) for diff_id in (without, one, three)]
    assert mounted_names(tmp_path, stack) == ["etc", "three"]


def test_a_whole_layer_may_be_opaque(store: LayerStore, tmp_path: Path) -> None:
    opaque = tar(file(".wh..wh..opq"), file("only", b""))
    ids = added(store, ONE, opaque, THREE)
    stack = store.stack(ids)
    assert stack == [store.path(diff_id) for diff_id in ids[1:]]
    assert mounted_names(tmp_path, stack) == ["only", "three"]
