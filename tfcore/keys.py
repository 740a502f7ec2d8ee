"""Curve25519 key pairs: made, kept in files nobody else may read, sealed to a receiver.

The same keys serve CURVE (ZeroMQ) and libnacl's boxes. Knows no accounts and no sockets.
"""

from __future__ import annotations

import os
import stat
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass, field
from pathlib import Path

import libnacl
import libnacl.public
import libnacl.sealed
import zmq.utils.z85

from tfcore.errors import BadRequest, NotFound, Refused

KEY_SIZE = 32


@dataclass(frozen=True)
class KeyPair:
    """A secret key and its public half, 32 bytes each. The secret never shows in a repr."""

    public: bytes
    secret: bytes = field(repr=False)

    @property
    def public_z85(self) -> bytes:
        """As libzmq wants it."""
        return zmq.utils.z85.encode(self.public)

    @property
    def secret_z85(self) -> bytes:
        """As libzmq wants it."""
        return zmq.utils.z85.encode(self.secret)


def generate() -> KeyPair:
    """A fresh pair."""
    pair = libnacl.public.SecretKey()
    return KeyPair(public=pair.pk, secret=pair.sk)


def text_of(key: bytes) -> str:
    """A key for people, files and DNS: base64, 44 characters."""
    return b64encode(key).decode()


def key_from(text: str, *, what: str = "key") -> bytes:
    """A key from its text.

    Raises:
        BadRequest: not 32 bytes in base64.
    """
    try:
        key = b64decode(text.strip(), validate=True)
    except (NotBase64, ValueError) as bad:
        raise BadRequest(f"{what} is not base64", hint="it is 44 characters ending in '='") from bad
    if len(key) != KEY_SIZE:
        raise BadRequest(f"{what} has {len(key)} bytes instead of {KEY_SIZE}")
    return key


def save(path: Path, pair: KeyPair) -> None:
    """Write `path` (secret, mode 0600) and `path`.pub, each in one step; existing files are replaced."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(path, text_of(pair.secret) + "\n", 0o600)
    _write(path.with_name(path.name + ".pub"), text_of(pair.public) + "\n", 0o644)


def _write(path: Path, text: str, mode: int) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(fd, "w") as file:
        os.fchmod(fd, mode)
        file.write(text)
    aside.rename(path)


def load(path: Path) -> KeyPair:
    """The pair whose secret half is in `path`.

    Raises:
        NotFound: there is no such file.
        Refused: somebody else could read it.
        BadRequest: it holds no key.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as missing:
        raise NotFound(f"there is no key in {path}") from missing
    if stat.S_IMODE(mode) & 0o077:
        raise Refused(f"the key in {path} can be read by others", hint=f"chmod 600 {path}")
    secret = key_from(path.read_text(), what=f"the key in {path}")
    return KeyPair(public=libnacl.public.SecretKey(secret).pk, secret=secret)


def seal(data: bytes, *, to: bytes) -> bytes:
    """Encrypt `data` so that only the holder of `to`'s secret half can read it; the sender stays anonymous."""
    return bytes(libnacl.sealed.SealedBox(libnacl.public.PublicKey(to)).encrypt(data))


def unseal(sealed: bytes, pair: KeyPair) -> bytes:
    """The data in a sealed box.

    Raises:
        Refused: it was not sealed to this pair, or was changed.
    """
    try:
        return bytes(libnacl.sealed.SealedBox(libnacl.public.SecretKey(pair.secret)).decrypt(sealed))
    except (ValueError, libnacl.CryptError) as bad:
        raise Refused("this was not sealed to this key, or it was damaged on the way") from bad
