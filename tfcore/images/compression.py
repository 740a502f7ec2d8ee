"""How layers are compressed, told from their first bytes, and their safe expansion.

Media types are not asked: archives of `docker save` have none, and tools are known to mislabel. Expansion is streamed,
and ends with an error when a small blob turns out to be a bomb. Knows nothing of tar.
"""

from __future__ import annotations

import contextlib
import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from tfcore.errors import BadImage
from tfcore.images.chunks import CHUNK, ChunkReader, Readable, Tally

GIB = 1024**3

ZSTD_WINDOW = 128 * 1024**2
"""Bytes of memory a zstd blob may ask for: what `zstd --long` makes, and the library's own limit."""


class Compression(StrEnum):
    """How a blob is compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    BZIP2 = "bzip2"
    XZ = "xz"


_MAGIC = {
    b"\x1f\x8b": Compression.GZIP,
    b"\x28\xb5\x2f\xfd": Compression.ZSTD,
    b"BZh": Compression.BZIP2,
    b"\xfd7zXZ\x00": Compression.XZ,
}

_MEDIA_TYPES = {
    Compression.NONE: "application/vnd.oci.image.layer.v1.tar",
    Compression.GZIP: "application/vnd.oci.image.layer.v1.tar+gzip",
    Compression.ZSTD: "application/vnd.oci.image.layer.v1.tar+zstd",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """What a compressed blob may grow to.

    Args:
        size: bytes, however well it compresses.
        ratio: times its compressed size. A preallocated database file of zeros reaches 1000 with gzip, therefore
        free: bytes for which no ratio is asked.
    """

    size: int = 64 * GIB
    ratio: int = 200
    free: int = 1 * GIB

    def check(self, *, taken: int, grown: int, what: str) -> None:
        """Raise `BadImage` if `taken` compressed bytes may not have become `grown` bytes."""
        if grown > self.size:
            raise BadImage(f"{what} expands to more than the {self.size} bytes allowed for a layer")
        if grown > self.free and grown > taken * self.ratio:
            raise BadImage(
                f"{what} expands to more than {self.ratio} times its size ({taken} bytes became {grown})",
                hint="it looks like a decompression bomb; if it is not, store the layer uncompressed",
            )


DEFAULT_EXPANSION = Expansion()


def media_type_of(compression: Compression) -> str:
    """The media type of a layer compressed so (OCI image specification, layer.md).

    Raises:
        BadImage: the specification has none, so that no other tool could read the layer.
    """
    if compression not in _MEDIA_TYPES:
        raise _no_layer(compression)
    return _MEDIA_TYPES[compression]


def _no_layer(compression: Compression) -> BadImage:
    return BadImage(f"layers cannot be compressed with {compression}", hint="decompress it first, or use gzip instead")


def sniff(chunks: Iterable[bytes]) -> tuple[Compression, Iterator[bytes]]:
    """The compression of a blob, and its chunks again with those that had to be looked at."""
    rest = iter(chunks)
    head = b""
    while len(head) < 8 and (chunk := next(rest, None)) is not None:
        head += chunk
    return compression_of(head), _with_head(head, rest)


def compression_of(head: bytes) -> Compression:
    """The compression of a blob that begins with `head` (at least 6 bytes, unless the blob is shorter)."""
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), Compression.NONE)


def _with_head(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def expanded(chunks: Iterable[bytes], *, what: str, allowed: Expansion = DEFAULT_EXPANSION) -> Iterator[bytes]:
    """The uncompressed bytes of a blob; an uncompressed blob passes as it is.

    Args:
        what: whose blob it is, for messages.
        allowed: what it may grow to.

    Raises:
        BadImage: damaged, cut off, followed by something else, larger than allowed, or not to be read by this Python.
    """
    compression, blob = sniff(chunks)
    taken = Tally(blob)
    grown = 0
    try:
        for piece in _decoder(compression)(taken):
            grown += len(piece)
            allowed.check(taken=taken.size, grown=grown, what=what)
            yield piece
    except _Damaged as damaged:
        raise BadImage(f"{what} is damaged or cut off: {compression}: {damaged}") from damaged


class _Damaged(Exception):
    """What the decoders raise, so that an error of the blob's *source* is never taken for one of its content."""


Decoder = Callable[[Iterable[bytes]], Iterator[bytes]]


def _decoder(compression: Compression) -> Decoder:
    match compression:
        case Compression.NONE:
            return iter
        case Compression.GZIP:
            return _gunzip
        case Compression.ZSTD:
            return _zstd_decoder()
        case _:
            raise _no_layer(compression)


def _gunzip(blob: Iterable[bytes]) -> Iterator[bytes]:
    """RFC 1952 with several members in a row, which some tools write; never more than a chunk in memory."""
    member = _gzip_member()
    for chunk in blob:
        while chunk:
            if member.eof:
                member = _gzip_member()
            try:
                piece = member.decompress(chunk, CHUNK)
            except zlib.error as error:
                raise _Damaged(error) from error
            if piece:
                yield piece
            chunk = member.unused_data if member.eof else member.unconsumed_tail
    # Nothing can be left inside: as long as output is pending, zlib has not read the member's trailer.
    if not member.eof:
        raise _Damaged("the end is missing")


def _gzip_member() -> zlib._Decompress:
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


def _zstd_decoder() -> Decoder:
    """With the standard library from Python 3.14 on, else with the package zstandard."""
    with contextlib.suppress(ModuleNotFoundError):
        return partial(_unzstd_standard_library, importlib.import_module("compression.zstd"))
    with contextlib.suppress(ModuleNotFoundError):
        return partial(_unzstd_package, importlib.import_module("zstandard"))
    raise BadImage(
        "the layer is compressed with zstd, which this Python cannot read",
        hint="install the Python package zstandard, or write the image with gzip layers",
    )


def _unzstd_standard_library(zstd: Any, blob: Iterable[bytes]) -> Iterator[bytes]:
    options = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW.bit_length() - 1}
    reader = zstd.ZstdFile(ChunkReader(blob), options=options)
    yield from _pieces(reader, (zstd.ZstdError, EOFError))


def _unzstd_package(zstandard: Any, blob: Iterable[bytes]) -> Iterator[bytes]:
    """This reader ends without a word where the data ends; what is cut off is found out by its digest."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    reader = decompressor.stream_reader(ChunkReader(blob), read_across_frames=True)
    yield from _pieces(reader, (zstandard.ZstdError,))


def _pieces(reader: Readable, errors: tuple[type[Exception], ...]) -> Iterator[bytes]:
    while True:
        try:
            piece = reader.read(CHUNK)
        except errors as error:
            raise _Damaged(error) from error
        if not piece:
            return
        yield piece
