"""The metastore: what it remembers, what it refuses, and that a transaction is one."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfcore.errors import NotFound, WrongState
from tfnode.storage.interface import Kind, Usage
from tfnode.storage.metastore import FILE, Metastore, Origin

NOTHING = Origin(None, ())
LAYERS = (Path("/layers/bottom"), Path("/layers/top"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Metastore]:
    times = iter(range(1, 1000))
    store = Metastore(tmp_path, "test", now=lambda: next(times))
    yield store
    store.close()


def grow(store: Metastore, label: str, parent: str | None = None, kind: Kind = Kind.SNAPSHOT) -> None:
    with store.transaction():
        store.add(label, kind, f"{label}.dir", Origin(parent, LAYERS))


def test_what_was_added_is_found(store: Metastore) -> None:
    grow(store, "tree", kind=Kind.TREE)
    record = store.get("tree")
    assert (record.label, record.kind, record.directory) == ("tree", Kind.TREE, "tree.dir")
    assert (record.origin, record.created, record.usage) == (Origin(None, LAYERS), 1, None)


def test_a_transaction_happens_as_a_whole_or_not_at_all(store: Metastore) -> None:
    grow(store, "kept")

    def interrupted() -> None:
        with store.transaction():
            store.add("new", Kind.TREE, "new.dir", NOTHING)
            store.forget("kept")
            raise KeyboardInterrupt

    def refused() -> None:
        with store.transaction():
            store.add("new", Kind.TREE, "new.dir", NOTHING)
            store.add("kept", Kind.TREE, "kept.dir", NOTHING)

    for attempt, error in ((interrupted, KeyboardInterrupt), (refused, WrongState)):
        with pytest.raises(error):
            attempt()
        assert [record.label for record in store.records()] == ["kept"]


def test_a_chain_is_nearest_first(store: Metastore) -> None:
    for label, parent in (("a", None), ("b", "a"), ("other", "a"), ("c", "b"), ("d", "c")):
        grow(store, label, parent)
    assert [record.label for record in store.chain("d")] == ["d", "c", "b", "a"]
    assert [record.label for record in store.chain("a")] == ["a"]
    assert store.chain(None) == ()
    assert store.children("a") == ["b", "other"]


def test_a_parent_must_be_a_snapshot_that_is_there(store: Metastore) -> None:
    grow(store, "tree", kind=Kind.TREE)
    with pytest.raises(WrongState, match="is a tree"):
        grow(store, "child", "tree")
    with pytest.raises(NotFound, match="nobody"):
        grow(store, "child", "nobody")


def test_moving_a_tree(store: Metastore) -> None:
    grow(store, "tree", kind=Kind.TREE)
    grow(store, "s")
    with store.transaction():
        assert store.move("tree", "elsewhere") == "tree.dir"
        store.stand_on("tree", Origin("s", LAYERS))
    record = store.tree("tree")
    assert (record.directory, record.origin.parent) == ("elsewhere", "s")


def test_what_is_being_copied_is_not_forgotten(store: Metastore) -> None:
    grow(store, "s")
    with store.held("s"), store.held("s") as record:
        assert record.label == "s"
        with pytest.raises(WrongState, match="being copied"), store.transaction():
            store.forget("s")
    with store.transaction():
        assert store.forget("s") == "s.dir"


def test_a_snapshots_usage_is_remembered_and_a_trees_is_not(store: Metastore) -> None:
    grow(store, "s")
    grow(store, "tree", kind=Kind.TREE)
    for label in ("s", "tree"):
        with store.transaction():
            store.keep_usage(label, Usage(1 << 50, 7))
    assert store.get("s").usage == Usage(1 << 50, 7)
    assert store.get("tree").usage is None


def test_threads_take_turns(store: Metastore) -> None:
    inside, go_on, order = threading.Event(), threading.Event(), []

    def slow() -> None:
        with store.transaction():
            inside.set()
            go_on.wait(10)
            store.add("slow", Kind.TREE, "slow.dir", NOTHING)
            order.append("slow")

    def quick() -> None:
        assert inside.wait(10)
        go_on.set()
        with store.transaction():
            order.append("quick")
            store.get("slow")

    threads = [threading.Thread(target=work) for work in (slow, quick)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order == ["slow", "quick"]


def test_labels_are_not_used_again_by_number(store: Metastore) -> None:
    """A parent's number must never come to mean a later snapshot."""
    grow(store, "s")
    with store.transaction():
        store.forget("s")
    grow(store, "t")
    grow(store, "child", "t")
    assert store.get("child").origin.parent == "t"


# --- opening


def test_another_process_is_refused_and_a_dead_one_is_not(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from tfnode.storage.metastore import Metastore
        store = Metastore(Path(sys.argv[1]), "test")
        print("open", flush=True)
        sys.stdin.read()
        """
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdin=pipe, stdout=pipe, text=True) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == "open\n"
        with pytest.raises(WrongState, match="in use by another process"):
            Metastore(tmp_path, "test")
        owner.kill()
    Metastore(tmp_path, "test").close()


def test_another_driver_is_refused(tmp_path: Path) -> None:
    Metastore(tmp_path, "test").close()
    with pytest.raises(WrongState, match="written by the storage driver test, not other"):
        Metastore(tmp_path, "other")
    Metastore(tmp_path, "test").close()


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    store = Metastore(tmp_path, "test")
    store._db.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(WrongState, match="newer version"):
        Metastore(tmp_path, "test")


def test_something_else_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("not a database, by any means; " * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        Metastore(tmp_path, "test")
