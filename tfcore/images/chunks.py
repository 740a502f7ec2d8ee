"""Bytes in motion: files as chunks and chunks as a file, so that no blob is ever held in memory.

Knows nothing of what the bytes mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

CHUNK = 256 * 1024
"""Bytes per chunk: large enough that hashing and system calls do not show, small enough for a stream's credit."""


class Readable(Protocol):
    """Anything with a file's `read`."""

    def read(self, size: int, /) -> bytes: ...


def chunks_of(file: Readable, *, size: int | None = None) -> Iterator[bytes]:
    """The chunks of `file` from where it stands: `size` bytes of it, or all. Ends early if the file does."""
    left = size
    while left is None or left > 0:
        chunk = file.read(CHUNK if left is None else min(CHUNK, left))
        if not chunk:
            return
        if left is not None:
            left -= len(chunk)
        yield chunk


class Tally:
    """Passes chunks on and counts their bytes."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            yield chunk


class ChunkReader:
    """The other way round: gives chunks to a library that wants a file to read from, front to back."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def read(self, size: int = CHUNK, /) -> bytes:
        """Up to `size` bytes, at least one unless the chunks have ended; a negative `size` is the next chunk."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = chunk
        size = len(self._rest) if size < 0 else size
        given, self._rest = self._rest[:size], self._rest[size:]
        return given
