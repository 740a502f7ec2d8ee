"""Digests of blobs, `sha256:` and 64 hexadecimal digits, and their checking while the bytes go by.

The notation is that of the OCI image specification (descriptor.md); other algorithms are refused, since everything a
Docker or OCI tool writes today is sha256 and a second algorithm would be a second name for the same layer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

from tfcore.errors import BadImage

PATTERN = r"\Asha256:[0-9a-f]{64}\Z"
_SHAPE = re.compile(PATTERN)


def is_digest(text: str) -> bool:
    """True if `text` is a whole sha256 digest."""
    return _SHAPE.match(text) is not None


def check_digest(text: str, *, what: str) -> str:
    """`text` itself if it is a digest.

    Raises:
        BadImage: it is not; `what` says whose digest it should have been.
    """
    if not is_digest(text):
        raise BadImage(f"{what}: {text[:100]!r} is not a sha256 digest")
    return text


def digest_of(data: bytes) -> str:
    """The digest of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def hex_of(digest: str) -> str:
    """The 64 digits of a digest: a file name that cannot lead anywhere. Raises `BadImage` if it is no digest."""
    return check_digest(digest, what="blob").removeprefix("sha256:")


class Digester:
    """Passes chunks on and knows, once they have ended, how many bytes they were and their digest."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._hash.update(chunk)
            self.size += len(chunk)
            yield chunk

    @property
    def digest(self) -> str:
        """The digest of what has been passed on so far."""
        return "sha256:" + self._hash.hexdigest()

    def exhaust(self) -> str:
        """Read to the end, keep nothing, return the digest."""
        for _ in self:
            pass
        return self.digest


def verified(chunks: Iterable[bytes], *, digest: str, what: str, size: int | None = None) -> Iterator[bytes]:
    """Pass `chunks` on and fail at their end unless they were the blob promised.

    Who consumes this must treat everything as provisional until it has ended without an error.

    Args:
        digest: what the blob must hash to.
        what: whose blob it is, for the message.
        size: its bytes, if known: one byte more and the rest is not read.

    Raises:
        BadImage: another digest, or another size.
    """
    digester = Digester(chunks)
    for chunk in digester:
        if size is not None and digester.size > size:
            raise BadImage(f"{what} is longer than the {size} bytes announced")
        yield chunk
    if size is not None and digester.size != size:
        raise BadImage(f"{what} is cut off: {digester.size} of {size} bytes")
    if digester.digest != digest:
        raise BadImage(f"{what} is damaged: its digest is {digester.digest}, not {digest}")
