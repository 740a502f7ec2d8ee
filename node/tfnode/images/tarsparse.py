"""Where the data of a sparse file lies: GNU's old format and its three pax formats.

Every map is checked before use: ascending, within the file, as long as what is stored. Knows nothing of files on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tfcore.errors import BadImage
from tfnode.images.tarheaders import Pieces, decimal, number

MOST_PIECES = 1_000_000
_SLOT = 24
"""Two numeric fields of 12 bytes."""

NextBlock = Callable[[], bytes]
"""Reads the next block of 512 bytes."""


def old_gnu(header: bytes, next_block: NextBlock) -> tuple[int, Pieces]:
    """The size and the map of an entry of type S; the map goes on in blocks after the header.

    Raises:
        BadImage: there is no end to the map.
    """
    pieces = list(_slots(header[386:482]))
    goes_on = header[482]
    while goes_on:
        block = next_block()
        pieces += _slots(block[:504])
        goes_on = block[504]
        _bounded(len(pieces))
    return number(header[483:495]), tuple(pieces)


def _slots(area: bytes) -> Iterator[tuple[int, int]]:
    for start in range(0, len(area), _SLOT):
        slot = area[start : start + _SLOT]
        if not slot[0]:  # an unused slot, and so are all after it
            return
        yield number(slot[:12]), number(slot[12:])


def pax_in_header(records: Sequence[tuple[bytes, bytes]]) -> Pieces | None:
    """The map of pax format 0.0 (one record per number) or 0.1 (one record in all), if there is one.

    Raises:
        BadImage: it is malformed.
    """
    numbers: list[int] = []
    for key, value in records:
        if key == b"GNU.sparse.map":
            numbers = [decimal(text, "sparse map") for text in value.split(b",")] if value else []
        elif key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            numbers.append(decimal(value, "sparse map"))
    present = any(key in (b"GNU.sparse.map", b"GNU.sparse.size") for key, _ in records)
    return _paired(numbers) if present else None


def pax_in_data(next_block: NextBlock) -> tuple[int, Pieces]:
    """The map of pax format 1.0, lines of decimal numbers in front of the data.

    Returns:
        How many bytes it takes, and the map.

    Raises:
        BadImage: it is malformed.
    """
    data = bytearray(next_block())
    count, start = _line(data, 0, next_block)
    _bounded(count)
    numbers = []
    for _ in range(2 * count):
        value, start = _line(data, start, next_block)
        numbers.append(value)
    return len(data), _paired(numbers)


def _line(data: bytearray, start: int, next_block: NextBlock) -> tuple[int, int]:
    end = data.find(b"\n", start)
    if end < 0:
        data += next_block()
        end = data.find(b"\n", start)
    if end < 0:
        raise BadImage(f"has a malformed sparse map at byte {start} of its data")
    return decimal(bytes(data[start:end]), "sparse map"), end + 1


def _paired(numbers: Sequence[int]) -> Pieces:
    if len(numbers) % 2:
        raise BadImage("has a sparse map with an odd number of numbers")
    _bounded(len(numbers) // 2)
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _bounded(count: int) -> None:
    if count > MOST_PIECES:
        raise BadImage(f"has a sparse map of more than {MOST_PIECES} pieces")


def checked(pieces: Pieces, *, size: int, stored: int) -> Pieces:
    """`pieces` if they make sense for a file of `size` bytes of which `stored` are in the archive; empty ones left out.

    Raises:
        BadImage: they overlap, go backwards, lead past the end, or are not as long as what is stored.
    """
    end = 0
    for offset, length in pieces:
        if offset < end or offset + length > size:
            raise BadImage(f"has a sparse map whose piece {offset}+{length} does not fit a file of {size} bytes")
        end = offset + length
    if (total := sum(length for _, length in pieces)) != stored:
        raise BadImage(f"has a sparse map of {total} bytes for {stored} bytes of data")
    return tuple(piece for piece in pieces if piece[1])
