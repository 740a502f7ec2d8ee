"""The kept snapshots of a location: whose they are, where, and what a container spawned from one is to be like.

Every change is written before it shows. Knows no messages but those it hands on, and no clocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from tfcore.errors import NotFound, WrongState
from tfcore.wire.kept import KeptSnapshot, MomentKept
from tfcore.wire.message import decode, encode
from tflocation.store.database import Database

State = Literal["making", "kept", "forgotten"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One of them.

    Attributes:
        created, expires: seconds since the epoch; None: never.
        request: id of the request that asked for it.
        moment: what its node said of it; None until it is there.
    """

    id: str
    account: str
    node: str
    image: str
    created: float
    name: str = ""
    expires: float | None = None
    evictable: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    request: str = ""
    state: State = "making"
    moment: MomentKept | None = None

    @property
    def size(self) -> int:
        """Bytes on its node's disk."""
        return self.moment.size if self.moment else 0

    @property
    def recipe(self) -> MomentKept:
        """What a container spawned from it is to be like."""
        assert self.moment is not None, f"{self.id} is not there yet"
        return self.moment

    @property
    def title(self) -> str:
        """What to call it in messages."""
        return f"{self.name} ({self.id})" if self.name else self.id

    def offer(self) -> KeptSnapshot:
        """As its account sees it."""
        return KeptSnapshot(
            id=self.id, node=self.node, image=self.image, name=self.name, created=self.created, expires=self.expires,
            size=self.size, evictable=self.evictable, labels=self.labels,
        )  # fmt: skip


class KeptShelf:
    """All of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._all: dict[str, Kept] = {row.id: row for row in _stored(database)}
        self.under_way: set[str] = set()
        """Ids of those that a node is being asked to keep."""
        self._used: Counter[str] = Counter()

    # questions

    def __iter__(self) -> Iterator[Kept]:
        """Whatever there is a record of, oldest first."""
        return iter(sorted(self._all.values(), key=lambda kept: kept.created))

    def of(self, account: str) -> list[Kept]:
        """An account's, oldest first."""
        return [kept for kept in self if kept.account == account and kept.state == "kept"]

    def get(self, identifier: str, *, account: str) -> Kept:
        """One of an account's.

        Raises:
            NotFound: there is none, or it is somebody else's: both read the same.
        """
        found = self._all.get(identifier)
        if found is None or found.account != account or found.state != "kept":
            raise NotFound(f"there is no kept snapshot {identifier} for this account", details={"kept": identifier})
        return found

    def find(self, identifier: str) -> Kept | None:
        """One of this id, also if it is being made, or was forgotten while something spawned from it lives."""
        return self._all.get(identifier)

    def asked(self, account: str, request: str) -> Kept | None:
        """The one this very request has asked for before a restart of ours."""
        return next((k for k in self if (k.account, k.request) == (account, request) and k.state != "forgotten"), None)

    def named(self, account: str, name: str) -> Kept | None:
        """The account's of that name, also one that is just being made."""
        mine = [kept for kept in self if kept.account == account and kept.name == name != ""]
        return next((k for k in mine if k.state == "kept" or (k.state == "making" and k.id in self.under_way)), None)

    def on(self, node: str) -> list[Kept]:
        """Those that are, or will be, on a node."""
        return [kept for kept in self if kept.node == node and kept.state != "forgotten"]

    @property
    def used(self) -> frozenset[str]:
        """Ids of those that a container is just being spawned from."""
        return frozenset(+self._used)

    @contextmanager
    def using(self, identifier: str) -> Iterator[None]:
        """Something is being spawned from it during the block; "" for nothing."""
        self._used[identifier] += 1
        try:
            yield
        finally:
            self._used[identifier] -= 1

    # changes

    def begin(self, kept: Kept) -> Kept:
        """Take note of one that is about to be made."""
        self._database.execute(
            "INSERT INTO kept VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                kept.id, kept.account, kept.node, kept.image, kept.name, kept.created, kept.expires, kept.evictable,
                msgspec.json.encode(kept.labels).decode(), kept.request, kept.state, b"",
            ),
        )  # fmt: skip
        self._all[kept.id] = kept
        return kept

    def finish(self, identifier: str, moment: MomentKept, *, expires: float | None) -> tuple[Kept, Kept | None]:
        """It is there; returns it, and the one whose name it has taken.

        Raises:
            NotFound: it was given up meanwhile.
        """
        kept = self._all.get(identifier)
        if kept is None or kept.state != "making":
            raise NotFound(f"the kept snapshot {identifier} was given up meanwhile")
        before = next((k for k in self.of(kept.account) if k.name == kept.name != ""), None)
        done = replace(kept, state="kept", moment=moment, expires=expires)
        with self._database.transaction():
            if before is not None:
                self._database.execute("UPDATE kept SET state='forgotten' WHERE id=?", (before.id,))
            self._database.execute(
                "UPDATE kept SET state='kept', expires=?, moment=? WHERE id=?", (expires, encode(moment), identifier)
            )
        self._all[identifier] = done
        if before is not None:
            self._all[before.id] = replace(before, state="forgotten")
        return done, before

    def forget(self, identifier: str, *, wanted: bool) -> None:
        """It is nobody's any more. `wanted`: its record stays, since a container spawned from it lives."""
        kept = self._all.get(identifier)
        if kept is None:
            return
        if wanted and kept.moment is not None:
            self._database.execute("UPDATE kept SET state='forgotten' WHERE id=?", (identifier,))
            self._all[identifier] = replace(kept, state="forgotten")
        else:
            self._database.execute("DELETE FROM kept WHERE id=?", (identifier,))
            del self._all[identifier]


def refuse_taken(kept: Kept | None, *, replaced: bool) -> None:
    """Raise `WrongState` if a name is in use; one that may be replaced is not, once it is there."""
    if kept is not None and not (replaced and kept.state == "kept"):
        being = "" if kept.state == "kept" else ", which is just being kept"
        raise WrongState(
            f"there is a kept snapshot named {kept.name!r} already: {kept.id}{being}",
            hint="forget it, choose another name, or replace it",
            details={"kept": kept.id},
        )


def _stored(database: Database) -> Iterator[Kept]:
    rows = database.execute(
        "SELECT id, account, node, image, name, created, expires, evictable, labels, request, state, moment FROM kept"
        " ORDER BY rowid"
    )
    for identifier, account, node, image, name, created, expires, evictable, labels, request, state, moment in rows:
        yield Kept(
            id=identifier, account=account, node=node, image=image, name=name, created=created, expires=expires,
            evictable=bool(evictable), labels=msgspec.json.decode(labels, type=dict[str, str]), request=request,
            state=state, moment=decode(moment, MomentKept) if moment else None,
        )  # fmt: skip
