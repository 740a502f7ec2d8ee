"""A store on a full disk can still be told that something was removed."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.privacy import private_mounts
from tfcore.headroom import keep_headroom
from tfnode.kernel.mounts import mount

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="a disk of one's own needs root")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Eight megabytes, which is soon full."""
    with private_mounts():
        mount("tmpfs", tmp_path, "tmpfs", 0, "size=8m")
        yield tmp_path


def store(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    for setting in ("journal_mode = WAL", "synchronous = NORMAL"):
        db.execute(f"PRAGMA {setting}")
    db.execute("CREATE TABLE thing (name TEXT PRIMARY KEY)")
    db.executemany("INSERT INTO thing VALUES (?)", [(f"thing {number}",) for number in range(2000)])
    return db


def fill(disk: Path) -> None:
    with (disk / "filling").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def remove_all(db: sqlite3.Connection) -> None:
    for number in range(2000):
        db.execute("DELETE FROM thing WHERE name = ?", (f"thing {number}",))


def test_with_headroom_everything_can_be_removed(disk: Path) -> None:
    db = store(disk / "store")
    keep_headroom(db)
    fill(disk)
    remove_all(db)
    assert db.execute("SELECT count(*) FROM thing").fetchone() == (0,)
    db.close()


def test_without_it_nothing_can(disk: Path) -> None:
    db = store(disk / "store")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    fill(disk)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        remove_all(db)
    db.close()


def test_a_disk_that_is_full_already_is_no_error(disk: Path) -> None:
    db = store(disk / "store")
    fill(disk)
    keep_headroom(db)
    assert db.execute("SELECT count(*) FROM thing").fetchone() == (2000,)
    db.close()


def test_twice_takes_no_more_room_than_once(disk: Path) -> None:
    db = store(disk / "store")
    keep_headroom(db)
    once = (disk / "store").stat().st_size
    keep_headroom(db)
    assert (disk / "store").stat().st_size == once
    db.close()
