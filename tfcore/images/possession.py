"""The proof that somebody holds a layer's bytes, and not only its digest (DESIGN D5).

A digest is no secret: it stands in manifests, logs and registries. So whoever claims a layer that the location has from
somebody else is given a nonce, and answers with a hash only the content can yield. Knows no accounts and no sockets.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable

NONCE_SIZE = 32
"""Bytes."""

_LABEL = b"pytest-tf layer possession 1\0"


def new_nonce() -> bytes:
    """A fresh challenge, to be used once."""
    return secrets.token_bytes(NONCE_SIZE)


def proof_of(nonce: bytes, content: Iterable[bytes]) -> bytes:
    """The answer to a challenge: sha256 over label, nonce and the layer's *uncompressed* bytes.

    Uncompressed, because the same layer is gzip in one source and plain in another, and only the plain bytes have the
    digest (diff_id) both agree on. The nonce stands first, because sha256 can be continued by anyone who knows a hash:
    with the nonce last, the diff_id alone would be enough to answer.
    """
    hashed = hashlib.sha256(_LABEL + nonce)
    for chunk in content:
        hashed.update(chunk)
    return hashed.digest()


def same_proof(left: bytes, right: bytes) -> bool:
    """Compares two proofs in a time that tells nothing."""
    return hmac.compare_digest(left, right)
