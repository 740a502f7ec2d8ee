"""Which volumes there are and which tree each one shows now: one small file, replaced as a whole.

It is what is left of a volume when the agent dies. Knows nothing of storage or mounts.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import msgspec

from tfcore.errors import Internal
from tfcore.failpoints import failpoint
from tfnode.storage.failures import FULL

log = logging.getLogger(__name__)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One volume; `tree` is the storage's key of what it shows, `count` numbers its trees."""

    id: str
    session: str
    account: str
    persistent: bool
    tree: str
    count: int = 0


class Ledger:
    """All entries, in memory and on disk."""

    def __init__(self, path: Path) -> None:
        """Read the file, if there is one.

        Raises:
            Internal: it is damaged (it is only ever replaced as a whole, so somebody else has written to it).
        """
        self._path = path
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._waiting = False
        if path.exists():
            try:
                found = msgspec.json.decode(path.read_bytes(), type=list[Entry])
            except msgspec.MsgspecError as bad:
                raise Internal(f"{path} is damaged: {bad}", hint="move it away; its volumes are lost then") from bad
            self._entries = {entry.id: entry for entry in found}

    def all(self) -> list[Entry]:
        """Every entry."""
        with self._lock:
            return list(self._entries.values())

    def put(self, entry: Entry) -> None:
        """Add or replace an entry. A persistent volume's is on disk when this returns; a session's may be lost in a
        power cut, like the session, and waits for `catch_up` if the disk is full.

        Raises:
            OSError: a persistent volume's entry cannot be written; it is as it was.
        """
        with self._lock:
            before = self._entries.get(entry.id)
            self._entries[entry.id] = entry
            try:
                self._write_or_wait(durable=entry.persistent)
            except OSError:
                if before is None:
                    del self._entries[entry.id]
                else:
                    self._entries[entry.id] = before
                raise

    def remove(self, identifier: str) -> None:
        """Forget an entry; an unknown one is no error. On a full disk that waits for `catch_up`: whoever removes a volume
        makes room."""
        with self._lock:
            entry = self._entries.pop(identifier, None)
            if entry is not None:
                self._write_or_wait(durable=False)

    def catch_up(self) -> None:
        """Write what has waited, if there is room by now."""
        with self._lock:
            if self._waiting:
                self._write_or_wait(durable=False)

    def _write_or_wait(self, *, durable: bool) -> None:
        try:
            self._write(durable=durable)
        except OSError as error:
            if durable or error.errno not in FULL:
                raise
            log.warning("the ledger of volumes waits for room on the disk: %s", error)
            self._waiting = True

    def _write(self, *, durable: bool) -> None:
        failpoint("ledger.write")
        aside = self._path.with_suffix(".new")
        with aside.open("wb") as file:
            file.write(msgspec.json.encode(list(self._entries.values())))
            file.flush()
            if durable:
                os.fsync(file.fileno())
        failpoint("ledger.place")
        aside.rename(self._path)
        self._waiting = False
