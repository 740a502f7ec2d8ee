"""What trees and snapshots there are and what they grew from: one SQLite store per storage root, shared by all drivers.

Rows point to directories by name; making, moving and deleting those is the business of `shelf`. The data and this store
agree because a driver changes both inside one transaction and because a directory without a row is litter.

One process owns a store (SQLite's exclusive lock says so); its threads share it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tfcore.errors import NotFound, WrongState
from tfcore.failpoints import failpoint
from tfcore.headroom import keep_headroom
from tfnode.storage.interface import Info, Kind, Usage, checked

FILE = "store.sqlite"
RETIRED = "retired."
"""How the labels of retired snapshots begin; callers give no such labels."""
VERSION = 1
LOCK_SECONDS = 0.5
"""How long to wait for a predecessor that is just being killed."""

SCHEMA = """
CREATE TABLE objects (
    serial    INTEGER PRIMARY KEY AUTOINCREMENT,
    label     TEXT NOT NULL UNIQUE,
    kind      TEXT NOT NULL CHECK (kind IN ('tree', 'snapshot')),
    directory TEXT NOT NULL UNIQUE,
    parent    INTEGER REFERENCES objects (serial) ON DELETE RESTRICT,
    layers    TEXT NOT NULL,
    created   REAL NOT NULL,
    bytes     INTEGER,
    inodes    INTEGER
) STRICT;
CREATE INDEX children ON objects (parent);
CREATE TABLE driver (name TEXT NOT NULL) STRICT;
"""

ROW = """
SELECT o.label, o.kind, o.directory, p.label AS parent, o.layers, o.created, o.bytes, o.inodes
FROM objects AS o LEFT JOIN objects AS p ON p.serial = o.parent
"""

CHAIN = f"""
WITH RECURSIVE chain (serial, depth) AS (
    SELECT serial, 0 FROM objects WHERE label = ?
    UNION ALL
    SELECT below.parent, depth + 1 FROM chain JOIN objects AS below USING (serial) WHERE below.parent IS NOT NULL
)
{ROW} JOIN chain ON chain.serial = o.serial ORDER BY chain.depth
"""


@dataclass(frozen=True)
class Origin:
    """What a tree or a snapshot stands on.

    Args:
        parent: the snapshot directly below, if any.
        layers: the image layers at the very bottom, bottom first.
    """

    parent: str | None
    layers: tuple[Path, ...]


@dataclass(frozen=True)
class Record:
    """One tree or snapshot, with the directory its data is in."""

    label: str
    kind: Kind
    directory: str
    origin: Origin
    created: float
    usage: Usage | None

    def info(self) -> Info:
        """What callers of the driver may know."""
        return Info(self.label, self.kind, self.origin.parent, self.origin.layers, self.created)


class Metastore:
    """The store of one storage root.

    Args:
        root: an existing directory.
        driver: the driver's name; only that driver can make sense of the data.
        now: gives the time in seconds since 1970.

    Raises:
        WrongState: another process has the root open; or another driver, or a newer version of this program, made it.
    """

    def __init__(self, root: Path, driver: str, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.RLock()
        self._held: Counter[str] = Counter()
        self._former: dict[str, str] = {}
        self._db = _open(root, driver)

    def close(self) -> None:
        """Let the root go; further calls fail."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens, or nothing. Other threads wait: do nothing slow in here."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                failpoint("storage.commit")
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    # --- questions

    def get(self, label: str) -> Record:
        """Whatever has this label; NotFound if nothing has."""
        found = self._rows(f"{ROW} WHERE o.label = ?", checked(label))
        if not found:
            raise NotFound(f"there is no tree or snapshot {label!r}")
        return found[0]

    def tree(self, key: str) -> Record:
        """The tree `key`; NotFound, or WrongState if it is a snapshot."""
        return self._of_kind(key, Kind.TREE, "clone it and use the clone")

    def snapshot(self, name: str) -> Record:
        """The snapshot `name`; NotFound, or WrongState if it is a tree."""
        return self._of_kind(name, Kind.SNAPSHOT, "take a snapshot of it and use that")

    def chain(self, name: str | None) -> tuple[Record, ...]:
        """The snapshot `name` and those below it, nearest first; empty for None."""
        return () if name is None else tuple(self._rows(CHAIN, name))

    def children(self, label: str) -> list[str]:
        """Labels of the trees and snapshots that grew directly from it."""
        return [child.label for child in self._rows(f"{ROW} WHERE p.label = ? ORDER BY o.serial", label)]

    def records(self) -> list[Record]:
        """Everything there is, oldest first."""
        return self._rows(f"{ROW} ORDER BY o.serial")

    def require_free(self, label: str) -> None:
        """WrongState if something has this label."""
        if self._rows(f"{ROW} WHERE o.label = ?", checked(label)):
            raise WrongState(f"there is a tree or snapshot {label!r} already", hint="remove it, or choose another name")

    # --- changes, inside a transaction

    def add(self, label: str, kind: Kind, directory: str, origin: Origin) -> None:
        """A new tree or snapshot; WrongState if the label is taken, NotFound if its parent is gone."""
        self.require_free(label)
        self._db.execute(
            "INSERT INTO objects (label, kind, directory, parent, layers, created) VALUES (?, ?, ?, ?, ?, ?)",
            (label, kind.value, directory, self._serial(origin.parent), _packed(origin.layers), self._now()),
        )

    def move(self, key: str, directory: str) -> str:
        """Let the data of the tree be in `directory`; returns the directory it had before."""
        before = self.tree(key).directory
        self._db.execute("UPDATE objects SET directory = ? WHERE label = ?", (directory, key))
        return before

    def stand_on(self, key: str, origin: Origin) -> None:
        """Let the tree stand on `origin`; NotFound if its parent is gone."""
        self._db.execute(
            "UPDATE objects SET parent = ?, layers = ? WHERE label = ?",
            (self._serial(origin.parent), _packed(origin.layers), self.tree(key).label),
        )

    def forget(self, label: str) -> str:
        """Delete the row; returns the directory it had. WrongState if something stands on it or is being made from it."""
        record = self.get(label)
        users = self.children(label)
        if users:
            raise WrongState(f"{label!r} is needed by {', '.join(users)}", hint="remove these first")
        if self._held[record.directory]:
            raise WrongState(f"{label!r} is just being copied", hint="try again when that has ended")
        self._db.execute("DELETE FROM objects WHERE label = ?", (label,))
        return record.directory

    def retire(self, name: str) -> str | None:
        """Forget a snapshot; if something stands on it, it only loses its label, for `forget_retired`.

        Returns:
            The directory it had, if it is forgotten.

        Raises:
            NotFound, WrongState: as `snapshot`.
        """
        record = self.snapshot(name)
        if not self._needed(record):
            return self.forget(name)
        directory = record.directory
        self._former[name] = RETIRED + directory[-100 + len(RETIRED) :]
        self._db.execute("UPDATE objects SET label = ? WHERE label = ?", (self._former[name], name))
        return None

    def forget_retired(self) -> list[str]:
        """Delete the rows of retired snapshots that nothing stands on or is being made from; returns their directories."""
        gone: list[str] = []
        while unneeded := [record for record in self._retired() if not self._needed(record)]:
            gone += [self.forget(record.label) for record in unneeded]
        self._former = {name: label for name, label in self._former.items() if self._has(label)}
        return gone

    def _retired(self) -> list[Record]:
        return self._rows(f"{ROW} WHERE o.label GLOB '{RETIRED}*'")

    def _needed(self, record: Record) -> bool:
        return bool(self._held[record.directory] or self.children(record.label))

    def keep_usage(self, name: str, usage: Usage) -> None:
        """Remember what a snapshot occupies: it will not change."""
        self._db.execute(
            "UPDATE objects SET bytes = ?, inodes = ? WHERE label = ? AND kind = 'snapshot'",
            (usage.bytes, usage.inodes, name),
        )

    @contextmanager
    def held(self, name: str) -> Iterator[Record]:
        """The snapshot `name`, which nobody can remove inside the block: for copying it outside a transaction."""
        with self._lock:
            record = self.snapshot(name)
            self._held[record.directory] += 1
        try:
            yield record
        finally:
            with self._lock:
                self._held[record.directory] -= 1

    # --- inside

    def _of_kind(self, label: str, kind: Kind, hint: str) -> Record:
        record = self.get(label)
        if record.kind is not kind:
            raise WrongState(f"{label!r} is a {record.kind.value}, not a {kind.value}", hint=hint)
        return record

    def _serial(self, parent: str | None) -> int | None:
        if parent is None:
            return None
        if not self._has(parent):  # retired since the caller looked what its tree stands on
            parent = self._former.get(parent, parent)
        self.snapshot(parent)
        serial: int = self._db.execute("SELECT serial FROM objects WHERE label = ?", (parent,)).fetchone()[0]
        return serial

    def _has(self, label: str) -> bool:
        return self._db.execute("SELECT 1 FROM objects WHERE label = ?", (label,)).fetchone() is not None

    def _rows(self, query: str, *arguments: str) -> list[Record]:
        with self._lock:
            return [_record(row) for row in self._db.execute(query, arguments)]


def maker_of(root: Path) -> str | None:
    """The driver that wrote what is below `root`; None if nothing is.

    Also while a node has it open, whose exclusive lock is passed by: this one row never changes.
    """
    if not (root / FILE).exists():
        return None
    with closing(sqlite3.connect(f"file:{quote(str(root / FILE))}?immutable=1", uri=True)) as db:
        try:
            row = db.execute("SELECT name FROM driver").fetchone()
        except sqlite3.Error:  # not even created, or not quite
            return None
    return None if row is None else str(row[0])


def _open(root: Path, driver: str) -> sqlite3.Connection:
    db = sqlite3.connect(root / FILE, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            db.execute(f"PRAGMA {setting}")
        _create_or_check(db, root, driver)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that `maker_of` finds it in the file itself
        keep_headroom(db)
    except sqlite3.OperationalError as error:
        db.close()
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
            raise
        raise WrongState(f"{root} is in use by another process", hint="one node per storage directory") from error
    except BaseException:
        db.close()
        raise
    return db


def _create_or_check(db: sqlite3.Connection, root: Path, driver: str) -> None:
    db.execute("BEGIN EXCLUSIVE")
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise WrongState(f"{root} was written by a newer version of the node", hint="update this node")
    if version == 0:
        for statement in SCHEMA.split(";"):
            db.execute(statement)
        db.execute("INSERT INTO driver VALUES (?)", (driver,))
        db.execute(f"PRAGMA user_version = {VERSION}")
    maker = db.execute("SELECT name FROM driver").fetchone()[0]
    if maker != driver:
        raise WrongState(
            f"{root} was written by the storage driver {maker}, not {driver}", hint=f"use {maker}, or another directory"
        )
    db.execute("COMMIT")


def _packed(layers: tuple[Path, ...]) -> str:
    return json.dumps([str(layer) for layer in layers])


def _record(row: tuple[Any, ...]) -> Record:
    label, kind, directory, parent, layers, created, size, inodes = row
    usage = None if size is None else Usage(size, inodes)
    origin = Origin(parent, tuple(Path(layer) for layer in json.loads(layers)))
    return Record(label, Kind(kind), directory, origin, created, usage)
