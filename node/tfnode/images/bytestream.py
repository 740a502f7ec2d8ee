"""An iterator of chunks, read in the portions a parser wants.

Knows nothing of tar: it counts, cuts and says where a stream ended too early.
"""

from __future__ import annotations

from collections.abc import Iterator

from tfcore.errors import BadImage


class ByteStream:
    """Sequential reading from an iterator of byte chunks of any size."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = memoryview(b"")
        self.offset = 0
        """Bytes handed out or skipped so far."""

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes, without copying them.

        Raises:
            BadImage: the stream ends before.
        """
        while size > 0:
            piece = self._next(size)
            if not piece:
                raise BadImage(f"is cut short: ends at byte {self.offset}, {size} bytes too early")
            size -= len(piece)
            yield piece

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes in one. The caller bounds `size`.

        Raises:
            BadImage: the stream ends before.
        """
        if len(self._chunk) >= size:  # nearly always: a header within the chunk at hand
            return bytes(self._next(size))
        return b"".join(self.pieces(size))

    def skip(self, size: int) -> None:
        """Leave out the next `size` bytes.

        Raises:
            BadImage: the stream ends before.
        """
        for _ in self.pieces(size):
            pass

    def block(self, size: int) -> bytes | None:
        """The next `size` bytes, or None where the stream ends exactly here.

        Raises:
            BadImage: the stream ends within them.
        """
        return self.exactly(size) if self._fill() else None

    def rest(self) -> Iterator[memoryview]:
        """Everything up to the end."""
        while self._fill():
            yield self._next(len(self._chunk))

    def _next(self, most: int) -> memoryview:
        if not self._fill():
            return self._chunk
        piece, self._chunk = self._chunk[:most], self._chunk[most:]
        self.offset += len(piece)
        return piece

    def _fill(self) -> bool:
        while not self._chunk:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._chunk = memoryview(chunk)
        return True
