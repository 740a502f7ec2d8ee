"""Who may log in: whoever has one of the keys, or says the password. Knows no connections."""

from __future__ import annotations

import hmac
import logging
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from tfcore.errors import BadRequest

log = logging.getLogger(__name__)

WORD = 16
"""Bytes of chance in a password."""


@dataclass(frozen=True)
class Admission:
    """What opens the door.

    Attributes:
        keys: public keys, as they are on the wire.
        password: empty for none.
    """

    keys: frozenset[bytes]
    password: str = field(default="", repr=False)

    def key_admits(self, key: asyncssh.SSHKey) -> bool:
        """True if the holder of `key` may enter."""
        return key.public_data in self.keys

    def password_admits(self, word: str) -> bool:
        """True if `word` is the password."""
        return bool(self.password) and hmac.compare_digest(self.password.encode(), word.encode())


def admission(authorized_keys: Iterable[str | os.PathLike[str]] | None, password: bool | None) -> Admission:
    """Who shall be let in.

    Args:
        authorized_keys: public keys as text (`ssh-ed25519 AAAA… me`), or paths of files of such; None: the user's own,
            `~/.ssh/*.pub`.
        password: whether a new password does as well; None: only if there is no key.

    Raises:
        BadRequest: something is no public key; or nobody would be let in.
    """
    keys = _own() if authorized_keys is None else _given(authorized_keys)
    if password is None:
        password = not keys
    if not keys and not password:
        raise BadRequest("nobody could log in: there is no public key and no password", hint="ssh-keygen makes a key")
    return Admission(frozenset(key.public_data for key in keys), secrets.token_urlsafe(WORD) if password else "")


def _own() -> list[asyncssh.SSHKey]:
    keys = []
    for path in sorted((Path.home() / ".ssh").glob("*.pub")):
        try:
            keys.append(asyncssh.read_public_key(path))
        except (OSError, asyncssh.KeyImportError) as error:  # a certificate, or a key of a kind unknown here
            log.info("%s is not used as a key for ssh: %s", path, error)
    return keys


def _given(wanted: Iterable[str | os.PathLike[str]]) -> list[asyncssh.SSHKey]:
    if isinstance(wanted, str | os.PathLike):
        raise BadRequest("authorized_keys is a list of public keys or of paths of files of them")
    return [key for one in wanted for key in _keys_in(one)]


def _keys_in(one: str | os.PathLike[str]) -> list[asyncssh.SSHKey]:
    inline = isinstance(one, str) and " " in one.strip()
    words = f"{os.fspath(one)[:80]!r} is no public key, nor a file of such"
    try:
        keys = [asyncssh.import_public_key(str(one))] if inline else list(asyncssh.read_public_key_list(os.fspath(one)))
    except (OSError, asyncssh.KeyImportError) as error:
        raise BadRequest(f"{words}: {error}") from error
    if not keys:
        raise BadRequest(words)
    return keys
