"""Room in an SQLite file for what must still be written when its disk is full: that something has been removed.

Without it nobody could ever make room, because what is removed is first written down as removed. Knows no tables.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfcore.errors import Exhausted

log = logging.getLogger(__name__)

PAGES = 256
"""Of both the file and its write-ahead log; a megabyte with SQLite's usual pages."""


def keep_headroom(db: sqlite3.Connection) -> None:
    """Let the file and its log occupy more than they need: what is written from now on replaces what was there.

    To be called outside a transaction, after each opening: the log goes with the last connection. On a disk that is full
    already nothing changes.

    Args:
        db: in WAL mode and without implicit transactions.
    """
    (page_size,) = db.execute("PRAGMA page_size").fetchone()
    db.execute(f"PRAGMA wal_autocheckpoint={PAGES // 2}")  # the log begins again before it outgrows its room
    try:
        db.execute("CREATE TABLE IF NOT EXISTS headroom (room BLOB)")
        db.execute("INSERT INTO headroom VALUES (zeroblob(?))", (PAGES * page_size,))
        db.execute("DROP TABLE headroom")
        db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    except sqlite3.OperationalError as refused:
        log.warning("there is no headroom in the store: %s", refused)


@contextmanager
def full_disk_told(path: Path) -> Iterator[None]:
    """In the block, that the disk of the store at `path` is full becomes an `Exhausted`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
            raise
        raise Exhausted(f"the disk is full: {path}", hint="end sessions, or free space") from error
