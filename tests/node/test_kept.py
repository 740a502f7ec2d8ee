"""Kept snapshots on a node: what is on the disk is all there is to know; taken whole, or not at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tests.node.fake_generations import FakeSandbox, FakeSurroundings, birth_of
from tfcore.errors import CommandFailed, NotFound, WrongState
from tfcore.wire.containers import Probe
from tfnode.containers.container import Container
from tfnode.containers.life import Moment
from tfnode.containers.output import Output
from tfnode.containers.preboot import moved
from tfnode.images.layers import LayerStore
from tfnode.images.shift import IdShift
from tfnode.kept.keeping import Keeping
from tfnode.kept.store import KeptStore, moment_kept
from tfnode.storage.directory import Directory
from tfnode.storage.interface import Empty, Image, Storage
from tfnode.testing.views import seen

ID, X1, X2, V1 = "c-" + "1" * 22, "x-" + "1" * 22, "x-" + "2" * 22, "v-" + "1" * 22


@pytest.fixture
def layers(tmp_path: Path) -> LayerStore:
    return LayerStore(tmp_path / "layers", IdShift(0, 0))


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    (tmp_path / "storage").mkdir()
    driver = Directory(tmp_path / "storage")
    yield driver
    driver.close()


def keep_now(storage: Storage, layers: LayerStore, kept: Moment) -> KeptStore:
    """A kept snapshot as a running container leaves it: of a root and a volume."""
    storage.prepare("web", Empty())
    storage.prepare("data", Empty())
    for tree in ("web", "data"):
        with seen(storage, tree) as top:
            (top / "file").write_text(tree)
    for label in kept.volumes.values():
        storage.snapshot("data", label)
    storage.snapshot("web", kept.root)
    store = KeptStore(storage, layers)
    store.add(kept)
    return store


# --- on the disk


@pytest.mark.parametrize("asleep", [False, True])
def test_the_next_agent_finds_it(storage: Storage, layers: LayerStore, asleep: bool) -> None:
    kept = moment_kept(X1, [V1], asleep=asleep)
    keep_now(storage, layers, kept)
    store = KeptStore(storage, layers)
    assert (store.ids(), store.get(X1)) == ((X1,), kept)
    assert store.add(kept) == storage.usage(kept.root).bytes + storage.usage(kept.volumes[V1]).bytes
    with pytest.raises(NotFound, match=X2):
        store.get(X2)


def test_what_a_crash_left_half_kept_goes(storage: Storage, layers: LayerStore) -> None:
    keep_now(storage, layers, moment_kept(X1, [V1], asleep=False))
    storage.snapshot("data", f"{X2}.v.{V1[2:]}")
    storage.clone(f"{X2}.v.{V1[2:]}", f"{X2}.s.t")
    before = {"web", "data", f"{X1}.s", f"{X1}.v.{V1[2:]}"}
    assert KeptStore(storage, layers).ids() == (X1,)
    assert {info.label for info in storage.walk()} == before


def test_it_is_dropped_with_its_volumes_whatever_grew_from_it(storage: Storage, layers: LayerStore) -> None:
    kept = moment_kept(X1, [V1], asleep=False)
    store = keep_now(storage, layers, kept)
    storage.clone(kept.root, "grown")
    for _ in range(2):
        store.drop(X1)
    storage.sweep()
    assert store.ids() == ()
    assert not {info.label for info in storage.walk()} & {kept.root, *kept.volumes.values()}
    with seen(storage, "grown") as top:
        assert (top / "file").read_text() == "web"
    storage.remove("grown")
    storage.sweep()
    assert {info.label for info in storage.walk()} == {"web", "data"}


def test_a_snapshot_is_copied_as_far_as_it_goes(storage: Storage, layers: LayerStore) -> None:
    store = keep_now(storage, layers, moment_kept(X1, [V1], asleep=False))
    source, copy = store.get(X1), moment_kept(X2, [V1], asleep=False)
    store.copy(source, copy)
    store.add(copy)
    store.drop(X1)
    storage.clone(copy.volumes[V1], "again")
    with seen(storage, "again") as top:
        assert (top / "file").read_text() == "data"
    with pytest.raises(NotFound):
        store.copy(Moment("gone", "nowhere"), moment_kept(X1, [], asleep=False))
    assert not any(info.label.startswith(X1) for info in storage.walk())


def test_its_layers_are_pinned_as_long_as_it_is_kept(storage: Storage, layers: LayerStore, tmp_path: Path) -> None:
    digest = "ab" * 32
    layer = tmp_path / "layers" / "layers" / digest / "fs"
    layer.mkdir(parents=True)
    storage.prepare("web", Image((layer,)))
    storage.snapshot("web", f"{X1}.s")
    for store in (KeptStore(storage, layers), KeptStore(storage, other := LayerStore(tmp_path / "2", IdShift(0, 0)))):
        assert store.ids() == (X1,)
    store.drop(X1)
    with pytest.raises(WrongState, match="not pinned"):
        other.unpin(f"sha256:{digest}")
    layers.unpin(f"sha256:{digest}")


# --- taken


class FakeStore(dict[str, Moment]):
    """Kept snapshots without a disk."""

    def ids(self) -> tuple[str, ...]:
        return tuple(self)

    def find(self, identifier: str) -> Moment | None:
        return super().get(identifier)

    def get(self, identifier: str) -> Moment:  # type: ignore[override]
        if identifier not in self:
            raise NotFound(identifier)
        return self[identifier]

    def add(self, kept: Moment) -> int:
        self[kept.name] = kept
        return 7

    def copy(self, source: Moment, kept: Moment) -> None:  # type: ignore[override]
        assert source.volumes.keys() == kept.volumes.keys()

    def drop(self, identifier: str) -> None:
        self.pop(identifier, None)


class FakeVolumes:
    """Notes which snapshots were taken."""

    def __init__(self, around: FakeSurroundings) -> None:
        self._around = around

    def get(self, identifier: str) -> str:
        return identifier

    def snapshot(self, volume: str, label: str) -> None:
        self._around.generations._note("snapshot", label)


@asynccontextmanager
async def playing(**wish: Any) -> AsyncIterator[tuple[Container, FakeSurroundings, Keeping, FakeStore]]:
    """A container that is ready, and what keeps it."""
    around = FakeSurroundings()
    sandbox: Any = FakeSandbox()
    birth = birth_of(ID, **{"ready": Probe(kind="running"), **wish})
    container = Container(birth, sandbox, around, Output(asyncio.get_running_loop()), {})
    store = FakeStore()

    container.boot()
    await container.ready()
    try:
        yield container, around, Keeping(store, around.generations, FakeVolumes(around), around.executor), store  # type: ignore[arg-type]
    finally:
        around.generations.failing.clear()
        await container.end()
        around.executor.shutdown()


def story(scenario: Any) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_the_present_state_after_the_users_command() -> None:
    async def scenario() -> None:
        async with playing(before_snapshot="save", pre_boot_files=(("/a", b"a"),)) as (
            container,
            around,
            keeping,
            store,
        ):
            said = await keeping.keep(container, X1)
            assert around.commands == ["save"]
            assert around.generations.diary[-1] == f"keep {X1} of 1"
            assert (said.size, said.wish.pre_boot_files, said.wish.hostname) == (7, (), "1" * 12)
            assert set(container.moments) == {"fresh"}
            assert container.newest == ""
            again = await keeping.keep(container, X1)
            assert (again, around.commands) == (said, ["save"])
            await keeping.drop(X1)
            assert store == {}

    story(scenario)


def test_one_that_has_ended_needs_no_command() -> None:
    async def scenario() -> None:
        async with playing(before_snapshot="save") as (container, around, keeping, _):
            container.main_process_ended(1, 3, "it ended")
            await keeping.keep(container, X1)
            assert around.commands == []

    story(scenario)


def test_what_cannot_be_kept_is_not_there() -> None:
    async def scenario() -> None:
        async with playing(before_snapshot="save") as (container, around, keeping, store):
            with pytest.raises(NotFound, match="nobody"):
                await keeping.keep(container, X1, "nobody")
            around.generations.failing.add("keep")
            with pytest.raises(CommandFailed):
                await keeping.keep(container, X1)
            around.answers["save"] = (1, "no room")
            with pytest.raises(WrongState, match="no room"):
                await keeping.keep(container, X1)
            await container.end()
            with pytest.raises(WrongState, match="nothing to keep"):
                await keeping.keep(container, X1)
            assert (store, keeping.ids()) == ({}, ())

    story(scenario)


def test_one_under_way_is_told_of_and_dropped_when_it_is_there() -> None:
    """Whoever asked for it has gone; the location, which has come back, does not know it."""

    async def scenario() -> None:
        async with playing() as (container, around, keeping, store):
            gate = around.generations.gates["keep"] = threading.Event()
            asking = asyncio.ensure_future(keeping.keep(container, X1))
            await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert keeping.ids() == (X1,)
            dropping = asyncio.ensure_future(keeping.drop(X1))
            await asyncio.sleep(0)
            gate.set()
            await dropping
            assert (store, keeping.ids()) == ({}, ())
            assert f"keep {X1} of 1" in around.generations.diary

    story(scenario)


# --- grown from


def test_a_container_from_one_begins_with_its_volumes() -> None:
    async def scenario() -> None:
        async with playing() as (_, around, keeping, store):
            store[X1] = moment_kept(X1, [V1], asleep=True)
            usual = birth_of(ID)
            birth = replace(usual, boot=structs.replace(usual.boot, kept=X1), session_volumes=(V1,))
            fresh = await keeping.begin(birth)
            assert (fresh.name, fresh.root, fresh.asleep) == ("fresh", f"{ID}.z.fresh", True)
            assert around.generations.diary[-2:] == [f"snapshot {fresh.volumes[V1]}", "make_fresh fresh"]
            around.generations.failing.add("make_fresh")
            with pytest.raises(CommandFailed):
                await keeping.begin(birth)
            assert around.generations.diary[-1] == "forget fresh"
            store.clear()
            with pytest.raises(NotFound, match=X1):
                await keeping.begin(birth)

    story(scenario)


# --- its identity


@pytest.mark.parametrize(
    ("hosts", "after"),
    [
        (b"127.0.0.1\tlocalhost\n10.0.0.1\tdb\n", b"127.0.0.1\tlocalhost\n10.0.0.2\tdb\n"),
        (b"10.0.0.1 db\n10.0.0.9 db2\n", b"10.0.0.2\tdb\n10.0.0.9 db2\n"),
        (b"10.0.0.1 db other\n", b"10.0.0.1 db other\n"),
        (b"# nothing", b"# nothing"),
        (b"", b""),
    ],
)
def test_the_line_with_its_name_has_its_new_address(hosts: bytes, after: bytes) -> None:
    assert moved(hosts, "db", "10.0.0.2") == after
