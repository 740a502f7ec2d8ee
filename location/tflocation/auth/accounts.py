"""Accounts and nodes of a location: their keys, who is revoked. Everything is looked up in the store, each time.

So a change made by another process (`tf-location account revoke`) holds at once. Knows no sockets.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from typing import Literal

from tfcore.errors import NotFound, WrongState
from tfcore.ids import new_id
from tfcore.keys import generate, text_of
from tflocation.auth.principals import Principal, check_name, parse
from tflocation.store.database import Database

Kept = Literal["account", "node"]

_COLUMNS = "role, name, number, id, operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the operator's list. Times are seconds since the epoch; `key` is base64."""

    name: str
    key: str
    id: str
    operator: bool
    created: float
    revoked: float | None


class Accounts:
    """The principals of a location, accounts and nodes alike."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.replaced = False
        """True once a key was replaced by this object, until somebody has heeded it."""

    def add(self, role: Kept, name: str, key: bytes, *, operator: bool = False) -> Principal:
        """Make `key` the key of a new account or node called `name`.

        Raises:
            WrongState: the name is taken, or the key is somebody's already.
        """
        self.check_free(role, name)
        identifier = new_id("n") if role == "node" else ""
        try:
            self._database.execute(
                "INSERT INTO principal (role, name, key, id, operator, created) VALUES (?, ?, ?, ?, ?, ?)",
                (role, name, key, identifier, operator, time.time()),
            )
        except sqlite3.IntegrityError as taken:
            raise WrongState(f"the key {text_of(key)} is in use already", hint="use a fresh key pair") from taken
        found = self.by_key(key)
        assert found is not None
        return found

    def check_free(self, role: Kept, name: str) -> None:
        """Raise `WrongState` if there is an account or node of that name, `BadRequest` if there cannot be one."""
        if self._row("role=? AND name=?", role, check_name(name)) is not None:
            raise WrongState(
                f"there is {_article(role)} called {name} already", hint="choose another name, or revoke it"
            )

    def revoke(self, role: Kept, name: str) -> None:
        """Its key opens nothing any more. Its persistent volumes and images wait for a successor of that name.

        Raises:
            NotFound: there is none (any more).
        """
        done = self._database.execute(
            "UPDATE principal SET revoked=? WHERE role=? AND name=? AND revoked IS NULL", (time.time(), role, name)
        )
        if done.rowcount == 0:
            raise NotFound(f"there is no {role} called {name}", hint=f"see them all: tf-location {role} list")

    def rotate(self, role: Kept, name: str, key: bytes, *, number: int | None = None) -> Principal:
        """Make `key` the key of who is called `name` instead of the one they have, which opens nothing any more.

        Id, powers, and all that hangs on the name stay. Sessions and connections under the old key end.

        Args:
            number: of the row that may be replaced, if it matters.

        Raises:
            NotFound: there is none (any more).
            WrongState: the key is somebody's already.
        """
        old = self._row("role=? AND name=?", role, name)
        if old is None or number not in (None, old.number):
            raise NotFound(f"there is no {role} called {name}", hint=f"see them all: tf-location {role} list")
        now = time.time()
        try:
            with self._database.transaction():
                self._database.execute("UPDATE principal SET revoked=? WHERE number=?", (now, old.number))
                self._database.execute(
                    "INSERT INTO principal (role, name, key, id, operator, created) VALUES (?, ?, ?, ?, ?, ?)",
                    (role, name, key, old.id, old.operator, now),
                )
        except sqlite3.IntegrityError as taken:
            raise WrongState(f"the key {text_of(key)} is in use already", hint="use a fresh key pair") from taken
        self.replaced = True
        found = self.by_key(key)
        assert found is not None
        return found

    def void(self, role: Kept, name: str) -> None:
        """The key of who is called `name` opens nothing any more; they keep all they have, and wait for a new key.

        Raises:
            NotFound: there is none.
        """
        self.rotate(role, name, generate().public)  # whose secret half nobody has

    def number_of(self, role: Kept, name: str) -> int:
        """Of the row of their present key. Raises `NotFound` if there is none."""
        found = self._row("role=? AND name=?", role, name)
        if found is None:
            raise NotFound(f"there is no {role} called {name}", hint=f"see them all: tf-location {role} list")
        return found.number

    def by_key(self, key: bytes) -> Principal | None:
        """Whose key this is, if it is not revoked."""
        return self._row("key=?", key)

    def by_text(self, text: str) -> Principal | None:
        """Who a User-Id stands for, if that key is not revoked."""
        parsed = parse(text)
        return None if parsed is None else self._row("role=? AND name=? AND number=?", *parsed)

    def living(self, role: Kept) -> list[Principal]:
        """All that are not revoked."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM principal WHERE role=? AND revoked IS NULL ORDER BY number", (role,)
        )
        return [_principal(row) for row in rows]

    def entries(self, role: Kept) -> list[Entry]:
        """All there ever were, for the operator."""
        rows = self._database.execute(
            "SELECT name, key, id, operator, created, revoked FROM principal WHERE role=? ORDER BY number", (role,)
        )
        return [
            Entry(name=name, key=text_of(key), id=node, operator=bool(operator), created=created, revoked=revoked)
            for name, key, node, operator, created, revoked in rows
        ]

    def _row(self, where: str, *values: object) -> Principal | None:
        row = self._database.execute(
            f"SELECT {_COLUMNS} FROM principal WHERE revoked IS NULL AND {where}", values
        ).fetchone()
        return None if row is None else _principal(row)


def _principal(row: tuple[Kept, str, int, str, int]) -> Principal:
    role, name, number, identifier, operator = row
    return Principal(role=role, name=name, number=number, id=identifier, operator=bool(operator))


def _article(role: Kept) -> str:
    return "an account" if role == "account" else "a node"
