"""Invitations: made by the operator, used once by a guest (`tfcore.invitations` has the text's form).

The store has the public half of an invitation's key only: who reads the store cannot use it. Knows no sockets.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tfcore import invitations, keys
from tfcore.errors import NotFound, UnknownKey
from tfcore.invitations import Invitation
from tflocation.auth.accounts import Accounts, Kept
from tflocation.auth.principals import Principal, parse
from tflocation.store.database import Database

LIFETIME = 7 * 86400.0
"""Seconds an invitation is good for, unless the operator says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What an invitation says of the location: name, endpoint, public key (32 bytes)."""

    location: str
    endpoint: str
    server_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """An invitation nobody has used yet; `expires` is seconds since the epoch."""

    role: Kept
    name: str
    expires: float


class Invitations:
    """All invitations of a location."""

    def __init__(self, database: Database, accounts: Accounts) -> None:
        self._database = database
        self._accounts = accounts

    def make(self, role: Kept, name: str, address: Address, *, lifetime: float = LIFETIME, rotate: bool = False) -> str:
        """The text of a fresh invitation; an older one for the same name is withdrawn.

        Args:
            lifetime: seconds until it expires.
            rotate: it gives who has that name a new key, and is void once they have another one than now.

        Raises:
            WrongState: there is an account or node of that name.
            NotFound: there is none, and `rotate` wants one.
        """
        replaces = self._accounts.number_of(role, name) if rotate else None
        if not rotate:
            self._accounts.check_free(role, name)
        pair, now = keys.generate(), time.time()
        invitation = Invitation(
            location=address.location,
            address=address.endpoint,
            server_key=address.server_key,
            secret=pair.secret,
            role="node" if role == "node" else "client",
            name=name,
            expires=now + lifetime,
        )
        with self._database.transaction():
            self._database.execute("DELETE FROM invitation WHERE role=? AND name=? AND accepted IS NULL", (role, name))
            self._database.execute(
                "INSERT INTO invitation (role, name, key, created, expires, replaces) VALUES (?, ?, ?, ?, ?, ?)",
                (role, name, pair.public, now, now + lifetime, replaces),
            )
        return invitations.text_of(invitation)

    def withdraw(self, role: Kept, name: str) -> None:
        """Void the unused invitation for that name.

        Raises:
            NotFound: there is none.
        """
        done = self._database.execute(
            "DELETE FROM invitation WHERE role=? AND name=? AND accepted IS NULL", (role, name)
        )
        if done.rowcount == 0:
            raise NotFound(f"there is no invitation for {role} {name}")

    def pending(self, role: Kept) -> list[Pending]:
        """Those that can still be used."""
        rows = self._database.execute(
            "SELECT name, expires FROM invitation WHERE role=? AND accepted IS NULL AND expires > ? ORDER BY number",
            (role, time.time()),
        )
        return [Pending(role=role, name=name, expires=expires) for name, expires in rows]

    def by_key(self, key: bytes) -> Principal | None:
        """The invitation with this public key, if it can still be used."""
        row = self._database.execute(
            "SELECT name, number FROM invitation WHERE key=? AND accepted IS NULL AND expires > ?", (key, time.time())
        ).fetchone()
        return None if row is None else Principal(role="invitation", name=row[0], number=row[1])

    def accept(self, text: str, key: bytes) -> Principal:
        """Make `key` the key of the account or node that the invitation with this User-Id is for.

        The same key again is answered the same: the first answer may have been lost on its way.

        Raises:
            UnknownKey: the invitation was used for another key, withdrawn, or has expired.
            WrongState: name or key have been taken in the meantime.
        """
        with self._database.transaction():
            role, name, number, accepted, replaces = self._open(text)
            if accepted is not None:
                return self._again(accepted, key)
            principal = self._admit(role, name, key, replaces)
            self._database.execute("UPDATE invitation SET accepted=? WHERE number=?", (key, number))
        return principal

    def _admit(self, role: Kept, name: str, key: bytes, replaces: int | None) -> Principal:
        if replaces is None:
            return self._accounts.add(role, name, key)
        try:
            return self._accounts.rotate(role, name, key, number=replaces)
        except NotFound as gone:
            raise UnknownKey(
                f"the key of {role} {name} that this invitation replaces is none any more", hint="ask for a new one"
            ) from gone

    def _open(self, text: str) -> tuple[Kept, str, int, bytes | None, int | None]:
        parsed = parse(text)
        row = None
        if parsed is not None and parsed[0] == "invitation":
            row = self._database.execute(
                "SELECT role, name, number, accepted, replaces FROM invitation WHERE name=? AND number=? AND expires > ?",
                (*parsed[1:], time.time()),
            ).fetchone()
        if row is None:
            raise UnknownKey("this invitation has been withdrawn or has expired", hint="ask for a new one")
        role, name, number, accepted, replaces = row
        return role, name, number, accepted, replaces

    def _again(self, accepted: bytes, key: bytes) -> Principal:
        principal = self._accounts.by_key(accepted)
        if principal is None or accepted != key:
            raise UnknownKey("this invitation has been used already", hint="ask for a new one")
        return principal
