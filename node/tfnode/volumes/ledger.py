"""Which volumes there are and which tree each one shows now: one small file, replaced as a whole.

It is what is left of a volume when the agent dies. Knows nothing of storage or mounts.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec

from tfcore.errors import Internal


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
        power cut, like the session."""
        with self._lock:
            self._entries[entry.id] = entry
            self._write(durable=entry.persistent)

    def remove(self, identifier: str) -> None:
        """Forget an entry; an unknown one is no error."""
        with self._lock:
            entry = self._entries.pop(identifier, None)
            if entry is not None:
                self._write(durable=entry.persistent)

    def _write(self, *, durable: bool) -> None:
        aside = self._path.with_suffix(".new")
        with aside.open("wb") as file:
            file.write(msgspec.json.encode(list(self._entries.values())))
            file.flush()
            if durable:
                os.fsync(file.fileno())
        aside.rename(self._path)
