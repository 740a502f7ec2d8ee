"""What one tar header says: ustar, GNU and v7 blocks, and pax records.

Pure functions over bytes, strict where the tar programs are lenient: a header that two readers could understand differently
is refused. (The formats: POSIX.1-2017 pax, section "ustar Interchange Format"; GNU tar manual, appendix "Tar Internals".)
Knows nothing of streams or files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from tfcore.errors import BadImage

BLOCK = 512
SECOND = 1_000_000_000

_USTAR = b"ustar\x0000"
_GNU = b"ustar  \x00"
_TIME = re.compile(rb"(-?)(\d{1,18})(?:\.(\d*))?")
_LATEST = (1 << 34) * SECOND  # the year 2514; ext4 ends 2446
_ZEROS = bytes(BLOCK)


class Kind(Enum):
    """What an entry makes."""

    FILE = "file"
    HARDLINK = "hard link"
    SYMLINK = "symbolic link"
    CHARACTER = "character device"
    BLOCK = "block device"
    DIRECTORY = "directory"
    FIFO = "fifo"


KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,  # "contiguous", which nobody honours
    b"S": Kind.FILE,
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}

Pieces = tuple[tuple[int, int], ...]
"""Where a sparse file has data: (offset, length) in ascending order; between them are holes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of an archive, ids and name as the archive gives them."""

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime: int
    """Nanoseconds since 1970."""
    size: int
    """Of the file as a reader sees it, holes included."""
    stored: int
    """Bytes of content in the archive."""
    link: bytes
    device: tuple[int, int]
    xattrs: dict[bytes, bytes]
    pieces: Pieces | None
    """None: not sparse."""


@dataclass(frozen=True, slots=True)
class Header:
    """One header block, before longer names and pax records have their say."""

    name: bytes
    type: bytes
    mode: int
    uid: int
    gid: int
    mtime: int
    """Seconds since 1970."""
    size: int
    link: bytes
    device: tuple[int, int]
    gnu: bool


def is_end(block: bytes) -> bool:
    """True for the block of zeros that ends an archive."""
    return block == _ZEROS


def parse_header(block: bytes) -> Header:
    """Read one header block of 512 bytes.

    Raises:
        BadImage: wrong checksum, or a field that is no number.
    """
    check_sum(block)
    magic = block[257:265]
    extended = magic in (_USTAR, _GNU)
    name = _text(block[0:100])
    if magic == _USTAR and (prefix := _text(block[345:500])):
        name = prefix + b"/" + name
    return Header(
        name=name,
        type=block[156:157],
        mode=number(block[100:108]),
        uid=number(block[108:116]),
        gid=number(block[116:124]),
        size=_size(block[124:136]),
        mtime=number(block[136:148]),
        link=_text(block[157:257]),
        device=(number(block[329:337]), number(block[337:345])) if extended else (0, 0),
        gnu=magic == _GNU,
    )


def check_sum(block: bytes) -> None:
    """Refuse a header block whose checksum is wrong.

    Raises:
        BadImage: it is; most often the stream is damaged or no tar.
    """
    stated = block[148:156]
    blank = b"        "
    if _is_sum(stated, sum(block) - sum(stated) + sum(blank)):
        return
    signed = block[:148] + blank + block[156:]  # some old programs added up signed characters
    if not _is_sum(stated, sum(byte - 256 if byte > 127 else byte for byte in signed)):
        raise BadImage("is damaged, or no tar archive: the checksum of a header is wrong")


def _is_sum(stated: bytes, total: int) -> bool:
    try:
        return number(stated) == total
    except BadImage:
        return False


def number(field: bytes) -> int:
    """A numeric field: octal text, or GNU's base 256 when its first bit is set.

    Raises:
        BadImage: it is neither.
    """
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        return value - (1 << (8 * len(field) - 1)) if field[0] & 0x40 else value
    text = field.partition(b"\0")[0].strip(b" ")
    try:
        return int(text, 8) if text.isdigit() else _absent(text)
    except ValueError as broken:
        raise BadImage(f"has a header with {field!r} where an octal number belongs") from broken


def _absent(text: bytes) -> int:
    if text:
        raise ValueError(text)
    return 0


def _size(field: bytes) -> int:
    size = number(field)
    if size < 0:
        raise BadImage(f"has a header with the negative size {size}")
    return size


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def pax_records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records of a pax extended header, in their order.

    Raises:
        BadImage: a record's length is not where the next one begins.
    """
    start = 0
    while start < len(data):
        length, space, _ = data[start : start + 20].partition(b" ")
        end = start + int(length) if space and length.isdigit() else 0
        key, equals, value = data[start + len(length) + 1 : end - 1].partition(b"=")
        if end > len(data) or not (equals and key) or data[end - 1 : end] != b"\n":
            raise BadImage(f"has a malformed pax record: {data[start : start + 40]!r}")
        yield key, value
        start = end


def decimal(text: bytes, what: str) -> int:
    """A non-negative decimal number of a pax record.

    Raises:
        BadImage: it is none.
    """
    if not text.isdigit() or len(text) > 19:
        raise BadImage(f"has a pax record with {text[:40]!r} as {what}")
    return int(text)


def nanoseconds(text: bytes) -> int:
    """A pax time such as 1700000000.25, exactly.

    Raises:
        BadImage: it is none, or beyond what a file system's clock can say.
    """
    parts = _TIME.fullmatch(text)
    if not parts:
        raise BadImage(f"has a pax record with {text[:40]!r} as time")
    sign, whole, fraction = parts.groups()
    value = int(whole) * SECOND + int((fraction or b"").ljust(9, b"0")[:9])
    return in_clock(-value if sign else value)


def in_clock(value: int) -> int:
    """`value`, nanoseconds since 1970, if a file can have it as its time.

    Raises:
        BadImage: it cannot.
    """
    if abs(value) > _LATEST:
        raise BadImage(f"has a time {value // SECOND} seconds from 1970")
    return value
