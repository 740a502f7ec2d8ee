"""Account backups: the key pairs of some locations in one file, sealed with a passphrase.

The passphrase becomes a key by scrypt (RFC 7914; 128 MiB of memory for each guess), and that seals the files by libsodium's
secretbox. What is restored is what was backed up, or nothing: a changed byte is noticed. Knows no terminal.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import libnacl.secret
import msgspec

from tfcore.errors import BadRequest, Refused, WrongState
from tfcore.keys import key_from, load
from tfnz import accounts

MARK = b"20ft-accounts-1\n"
"""How a backup begins; the digit is the format's."""

SALT = 16
COST, BLOCK, LANES = 1 << 17, 8, 1
"""scrypt's parameters: 128 * COST * BLOCK bytes of memory."""

SHORTEST = 8
"""Characters of a passphrase."""

PARTS = ("", ".pub", ".server")
"""The files of an account, by what their names end with after the location's."""


def seal(locations: Iterable[str], passphrase: str) -> bytes:
    """A backup of the accounts at these locations.

    Raises:
        NotFound, Refused: there is none at one of them, or others can read its key. BadRequest: the passphrase is too short.
    """
    if len(passphrase) < SHORTEST:
        raise BadRequest(
            f"a passphrase of {len(passphrase)} characters is no protection", hint=f"take {SHORTEST} or more"
        )
    files: dict[str, bytes] = {}
    for location in locations:
        load(_path(accounts.check_name(location), ""))
        files |= {f"{location}{part}": path.read_bytes() for part in PARTS if (path := _path(location, part)).exists()}
    salt = os.urandom(SALT)
    box = libnacl.secret.SecretBox(_key(passphrase, salt))
    return MARK + salt + bytes(box.encrypt(msgspec.msgpack.encode(files)))


def unseal(backup: bytes, passphrase: str) -> dict[str, bytes]:
    """The files in a backup, by name.

    Raises:
        BadRequest: it is none. Refused: it is another passphrase's, or was changed.
    """
    if not backup.startswith(MARK):
        raise BadRequest("this is not an account backup", hint="tf account backup makes them")
    salt, sealed = backup[len(MARK) :][:SALT], backup[len(MARK) + SALT :]
    try:
        opened = libnacl.secret.SecretBox(_key(passphrase, salt)).decrypt(sealed)
        return msgspec.msgpack.decode(opened, type=dict[str, bytes])
    except (ValueError, libnacl.CryptError, msgspec.MsgspecError) as bad:
        raise Refused("this is not the passphrase of this backup, or the file was changed") from bad


def restore(files: dict[str, bytes]) -> list[str]:
    """Write the accounts of a backup; all of them or none. Returns their locations.

    Raises:
        BadRequest: a name that is no account's, or no key. WrongState: there is another account at one of the locations.
    """
    found = [name for name in files if not name.endswith(PARTS[1:])]
    for location in found:
        accounts.check_name(location)
        _refuse_another(location, files)
    for location in found:
        _write(location, files)
    if accounts.default_location() is None and found:
        accounts.set_default(found[0])
    return found


def _refuse_another(location: str, files: dict[str, bytes]) -> None:
    key_from(files[location].decode("ascii", "replace"), what=f"the key of {location} in the backup")
    path = _path(location, "")
    if path.exists() and path.read_bytes() != files[location]:
        raise WrongState(
            f"there is another account for {location} here already", hint=f"move {path}* away to replace it"
        )


def _write(location: str, files: dict[str, bytes]) -> None:
    accounts.made_directory()
    for part in PARTS:
        content = files.get(f"{location}{part}")
        if content is not None:
            accounts.write(_path(location, part), content, secret=not part)


def _path(location: str, part: str) -> Path:
    return accounts.directory() / f"{location}{part}"


def _key(passphrase: str, salt: bytes) -> bytes:
    room = 2 * 128 * COST * BLOCK
    return hashlib.scrypt(passphrase.encode(), salt=salt, n=COST, r=BLOCK, p=LANES, maxmem=room, dklen=32)
