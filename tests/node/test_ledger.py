"""The ledger of volumes on a full disk: what a session's volume does must not fail for it, a persistent one's must."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.privacy import private_mounts
from tfnode.kernel.mounts import mount
from tfnode.volumes.ledger import Entry, Ledger

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="a disk of one's own needs root")

OURS, MINE = "v-" + "1" * 22, "v-" + "2" * 22


def entry(identifier: str, tree: str) -> Entry:
    return Entry(id=identifier, session="s", account="a", persistent=identifier == OURS, tree=tree)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with private_mounts():
        mount("tmpfs", tmp_path, "tmpfs", 0, "size=64k")
        yield tmp_path


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    with (disk / "filling").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield
    (disk / "filling").unlink()


def known(disk: Path) -> dict[str, str]:
    """What another agent would find."""
    return {found.id: found.tree for found in Ledger(disk / "volumes.json").all()}


def test_what_waits_is_written_when_there_is_room(disk: Path) -> None:
    ledger = Ledger(disk / "volumes.json")
    ledger.put(entry(OURS, "t0"))
    ledger.put(entry(MINE, "t0"))
    with full(disk):
        ledger.put(entry(MINE, "t1"))
        assert {found.tree for found in ledger.all()} == {"t0", "t1"}
        assert known(disk) == {OURS: "t0", MINE: "t0"}
        ledger.catch_up()
    ledger.catch_up()
    assert known(disk) == {OURS: "t0", MINE: "t1"}


def test_a_persistent_volume_is_as_it_was(disk: Path) -> None:
    ledger = Ledger(disk / "volumes.json")
    ledger.put(entry(OURS, "t0"))
    with full(disk), pytest.raises(OSError, match="No space left"):
        ledger.put(entry(OURS, "t1"))
    with full(disk), pytest.raises(OSError, match="No space left"):
        ledger.put(Entry(id=MINE, session="s", account="a", persistent=True, tree="t0"))
    assert [found.tree for found in ledger.all()] == ["t0"]
    assert known(disk) == {OURS: "t0"}


def test_removing_never_fails_for_want_of_room(disk: Path) -> None:
    ledger = Ledger(disk / "volumes.json")
    ledger.put(entry(OURS, "t0"))
    with full(disk):
        ledger.remove(OURS)
        assert ledger.all() == []
    ledger.catch_up()
    assert known(disk) == {}
