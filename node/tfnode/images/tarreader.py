"""The entries of a tar stream, one after the other, with their content readable in between.

Puts together what belongs together: GNU's long names and pax records in front of a header, sparse maps behind it. Own
parser instead of the standard library's `tarfile`, which takes a damaged header in mid-stream for the end of the archive
and reads headers of any size into memory. Knows nothing of file systems; names are bytes and not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from tfcore.errors import BadImage
from tfnode.images import tarsparse
from tfnode.images.bytestream import ByteStream
from tfnode.images.limits import Limits
from tfnode.images.tarheaders import (
    BLOCK,
    KINDS,
    SECOND,
    Entry,
    Header,
    Kind,
    Pieces,
    decimal,
    in_clock,
    is_end,
    nanoseconds,
    parse_header,
    pax_records,
)

MOST_EXTENSION = 1 << 20
"""Longest pax header or GNU long name in bytes."""

MOST_EXTENSIONS = 4
"""Most of them in front of one header: a long name, a long link, pax records and a global comment."""

_XATTR = b"SCHILY.xattr."


@dataclass
class _Ahead:
    """What stands in front of a header and belongs to it."""

    headers: int = 0
    name: bytes = b""
    link: bytes = b""
    records: list[tuple[bytes, bytes]] = field(default_factory=list)

    def add(self, kind: bytes, data: bytes) -> None:
        self.headers += 1
        if self.headers > MOST_EXTENSIONS:
            raise BadImage(f"has more than {MOST_EXTENSIONS} extended headers in a row")
        if kind == b"L":
            self.name = data.rstrip(b"\0")
        elif kind == b"K":
            self.link = data.rstrip(b"\0")
        elif kind == b"x":
            self.records += pax_records(data)
        # and g, global records: comments of `git archive` and the like; no builder of images means anything by them


@dataclass(frozen=True)
class _Content:
    size: int
    stored: int
    end: int
    """Offset in the stream where content and padding end."""
    pieces: Pieces | None = None


def read_tar(stream: ByteStream, limits: Limits) -> Iterator[Entry]:
    """Yield the entries of `stream` up to its end.

    While an entry is held, its content (`entry.stored` bytes) may be read from the stream; what is not read is skipped.

    Raises:
        BadImage: damaged, cut short, followed by garbage, of an unknown kind, or beyond the limits.
    """
    count = 0
    ahead = _Ahead()
    while (block := stream.block(BLOCK)) is not None and not is_end(block):
        header = parse_header(block)
        if header.type in (b"L", b"K", b"x", b"g"):
            ahead.add(header.type, _extension(stream, header))
            continue
        limits.check_entries(count := count + 1)
        entry, end = _entry(stream, header, block, ahead)
        limits.check_file(entry.size)
        ahead = _Ahead()
        yield entry
        stream.skip(end - stream.offset)
    if ahead.headers:
        raise BadImage("is cut short: ends after an extended header")
    _check_zeros_follow(stream)


def _extension(stream: ByteStream, header: Header) -> bytes:
    if header.size > MOST_EXTENSION:
        raise BadImage(f"has an extended header of {header.size} bytes, more than {MOST_EXTENSION}")
    return stream.exactly(_padded(header.size))[: header.size]


def _check_zeros_follow(stream: ByteStream) -> None:
    for piece in stream.rest():
        if any(piece):
            raise BadImage(f"is followed by garbage before byte {stream.offset}")


def _entry(stream: ByteStream, header: Header, block: bytes, ahead: _Ahead) -> tuple[Entry, int]:
    """The entry, and the offset at which its content and padding end."""
    pax = dict(ahead.records)
    name = pax.get(b"GNU.sparse.name") or pax.get(b"path") or ahead.name or header.name
    kind = _kind(header, name)
    content = _content(stream, header, block, ahead) if kind is Kind.FILE else _Content(0, 0, stream.offset)
    entry = Entry(
        name=name,
        kind=kind,
        mode=header.mode & 0o7777,
        uid=_overriding(pax, b"uid", header.uid),
        gid=_overriding(pax, b"gid", header.gid),
        mtime=nanoseconds(pax[b"mtime"]) if pax.get(b"mtime") else in_clock(header.mtime * SECOND),
        size=content.size,
        stored=content.stored,
        link=pax.get(b"linkpath") or ahead.link or header.link,
        device=header.device,
        xattrs=_xattrs(ahead.records),
        pieces=content.pieces,
    )
    return entry, content.end


def _kind(header: Header, name: bytes) -> Kind:
    if header.type not in KINDS:
        raise BadImage(f"has an entry {name!r} of the unknown type {header.type!r}")
    kind = KINDS[header.type]
    if kind is Kind.FILE and name.endswith(b"/"):  # how archives of 1979 say directory
        return Kind.DIRECTORY
    return kind


def _content(stream: ByteStream, header: Header, block: bytes, ahead: _Ahead) -> _Content:
    """The content of a file. (Of other kinds, a size in the header means nothing: POSIX, and what Docker does.)"""
    pax = dict(ahead.records)
    stored = _overriding(pax, b"size", header.size)
    next_block = partial(stream.exactly, BLOCK)
    if header.type == b"S":
        size, pieces = tarsparse.old_gnu(block, next_block)
        return _sparse(stored, stream.offset + _padded(stored), size, pieces)
    end = stream.offset + _padded(stored)
    if (pax.get(b"GNU.sparse.major"), pax.get(b"GNU.sparse.minor")) == (b"1", b"0"):
        taken, pieces = tarsparse.pax_in_data(next_block)
        return _sparse(stored - taken, end, _overriding(pax, b"GNU.sparse.realsize", -1), pieces)
    if (in_header := tarsparse.pax_in_header(ahead.records)) is not None:
        return _sparse(stored, end, _overriding(pax, b"GNU.sparse.size", -1), in_header)
    return _Content(stored, stored, end)


def _sparse(stored: int, end: int, size: int, pieces: Pieces) -> _Content:
    return _Content(size, stored, end, tarsparse.checked(pieces, size=size, stored=stored))


def _overriding(pax: dict[bytes, bytes], key: bytes, value: int) -> int:
    return decimal(pax[key], key.decode()) if pax.get(key) else value


def _xattrs(records: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    return {_decoded(key[len(_XATTR) :]): value for key, value in records if key.startswith(_XATTR)}


def _decoded(name: bytes) -> bytes:
    """GNU tar writes = and % of an attribute's name in this way, since a pax key ends at the first =."""
    return name.replace(b"%3D", b"=").replace(b"%25", b"%")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
