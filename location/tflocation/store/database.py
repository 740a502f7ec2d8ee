"""The one SQLite file of a location: opened, migrated, written in transactions.

The daemon and the operator's commands have it open at the same time. Knows no tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tfcore.errors import WrongState
from tfcore.failpoints import failpoint
from tfcore.headroom import full_disk_told, keep_headroom

MIGRATIONS = Path(__file__).with_name("migrations")

WAIT = 5.0
"""Seconds to wait for another process's transaction; all of them are short."""


class Database:
    """A connection for one thread."""

    def __init__(self, path: Path) -> None:
        """Open the file, make it if need be, and bring it up to date.

        Raises:
            WrongState: a newer version of this program has written it.
        """
        path.touch(mode=0o600)
        self._path = path
        self._sqlite = sqlite3.connect(path, isolation_level=None, timeout=WAIT)
        try:
            # With a write-ahead log readers and the writer do not wait for each other, and only checkpoints wait for the
            # disk: a crash of the machine may cost the last moments, a crash of the daemon costs nothing.
            self._sqlite.execute("PRAGMA journal_mode=WAL")
            self._sqlite.execute("PRAGMA synchronous=NORMAL")
            self._sqlite.execute("PRAGMA foreign_keys=ON")
            self._migrate(path)
            self._version = self._data_version()
        except BaseException:
            self._sqlite.close()
            raise

    def _migrate(self, path: Path) -> None:
        steps = sorted(MIGRATIONS.glob("*.sql"))
        (done,) = self._sqlite.execute("PRAGMA user_version").fetchone()
        if done > len(steps):
            raise WrongState(f"{path} was written by a newer version of tf-location", hint="upgrade this one")
        for number, step in enumerate(steps[done:], start=done + 1):
            self._sqlite.executescript(f"BEGIN IMMEDIATE; {step.read_text()} PRAGMA user_version={number}; COMMIT;")

    def keep_headroom(self) -> None:
        """See `tfcore.headroom`: for the daemon, which must be able to note on a full disk what it has freed."""
        keep_headroom(self._sqlite)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement.

        Raises:
            Exhausted: the disk is full.
        """
        with full_disk_told(self._path):
            return self._sqlite.execute(sql, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block's statements, or none. Within another transaction's block they are part of that one.

        Raises:
            Exhausted: the disk is full.
        """
        if self._sqlite.in_transaction:
            yield
            return
        with full_disk_told(self._path):
            self._sqlite.execute("BEGIN IMMEDIATE")
            try:
                yield
                failpoint("location.commit")
                self._sqlite.execute("COMMIT")
            except BaseException:
                if self._sqlite.in_transaction:  # a full disk has taken it back already
                    self._sqlite.execute("ROLLBACK")
                raise

    def copy_to(self, path: Path) -> None:
        """Write all there is at this moment into a new file, whoever writes meanwhile (SQLite's online backup)."""
        path.touch(mode=0o600)
        with closing(sqlite3.connect(path)) as copy, full_disk_told(path):
            self._sqlite.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it

    def changed_elsewhere(self) -> bool:
        """True if another process has written since the last call."""
        before, self._version = self._version, self._data_version()
        return before != self._version

    def _data_version(self) -> int:
        (version,) = self._sqlite.execute("PRAGMA data_version").fetchone()
        return int(version)

    def close(self) -> None:
        """Close the file; the last one to do so folds the log into it."""
        self._sqlite.close()
