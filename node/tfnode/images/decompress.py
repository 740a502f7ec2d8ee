"""A layer's compressed stream as plain tar bytes, in pieces of bounded size.

Tells gzip, zstd and plain tar apart by their first bytes, not by what a manifest claims. Knows nothing of tar.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from types import ModuleType
from typing import Any

from tfcore.errors import BadImage, HostLacks
from tfnode.images.limits import Limits

PIECE = 1 << 20
"""Most bytes that one step of decompression yields: what a bomb may cost in memory."""

SLICE = 64 << 10
"""Most compressed bytes given to zlib at once."""

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_WINDOW_LOG = 27
"""Memory a zstd stream may ask for, as a power of two; what `zstd --long` makes."""

_FOREIGN = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x04\x22\x4d\x18": "lz4", b"PK\x03\x04": "zip"}
_SNIFF = 6

Decoder = Callable[[Iterator[bytes]], Iterator[bytes]]


def uncompressed(chunks: Iterable[bytes], limits: Limits) -> Iterator[bytes]:
    """The uncompressed stream of a layer.

    Args:
        chunks: the blob, in pieces of any size.
        limits: how much may come out.

    Raises:
        BadImage: damaged, cut short, followed by garbage, of an unknown compression, or beyond the limits.
        HostLacks: it is zstd, and this Python cannot read that.
    """
    packed = 0

    def counted(source: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal packed
        for chunk in source:
            packed += len(chunk)
            yield chunk

    source = counted(chunks)
    head = _head(source)
    unpacked = 0
    for piece in _decoder(head)(chain([head], source)):
        unpacked += len(piece)
        limits.check_stream(packed=packed, unpacked=unpacked)
        yield piece


def _head(source: Iterator[bytes]) -> bytes:
    head = b""
    while len(head) < _SNIFF and (chunk := next(source, None)) is not None:
        head += chunk
    return head


def _decoder(head: bytes) -> Decoder:
    if head.startswith(GZIP_MAGIC):
        return _gunzip
    if head.startswith(ZSTD_MAGIC):
        return _zstd_decoder()
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            raise BadImage(f"is compressed with {name}", hint="layers are plain tar, gzip or zstd")
    return _plain


def _plain(source: Iterator[bytes]) -> Iterator[bytes]:
    return source


def _gunzip(source: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    try:
        for chunk in _sliced(source):
            while chunk:
                if member.eof:  # gzip allows several members one after the other; anything else fails as a header
                    member = zlib.decompressobj(wbits=31)
                if piece := member.decompress(chunk, PIECE):
                    yield piece
                chunk = member.unused_data if member.eof else member.unconsumed_tail
    except zlib.error as broken:
        raise BadImage(f"is damaged, or followed by garbage: {broken}") from broken
    if not member.eof:
        raise BadImage("is cut short: the gzip stream has no end")


def _sliced(source: Iterator[bytes]) -> Iterator[bytes]:
    """Short slices, since every step of the loop above copies what is left of one."""
    for chunk in source:
        for start in range(0, len(chunk), SLICE):
            yield chunk[start : start + SLICE]


def _zstd_decoder() -> Decoder:
    if stdlib := _module("compression.zstd"):
        return lambda source: _zstd_by_stdlib(stdlib, source)
    if package := _module("zstandard"):
        return lambda source: _zstd_by_package(package, source)
    raise HostLacks(
        "is compressed with zstd, which this Python cannot read",
        hint="install the Python package zstandard on the node, or run it with Python 3.14",
    )


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _zstd_by_stdlib(zstd: Any, source: Iterator[bytes]) -> Iterator[bytes]:
    options = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    try:
        with zstd.ZstdFile(_Readable(source), options=options) as reader:
            while piece := reader.read(PIECE):
                yield piece
    except (zstd.ZstdError, EOFError) as broken:
        raise BadImage(f"is damaged: {broken}") from broken


def _zstd_by_package(zstandard: Any, source: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << ZSTD_WINDOW_LOG)
    try:
        with decompressor.stream_reader(_Readable(source), read_across_frames=True) as reader:
            while piece := reader.read(PIECE):
                yield piece
    except zstandard.ZstdError as broken:
        raise BadImage(f"is damaged: {broken}") from broken


class _Readable:
    """The little of a file that zstd readers ask of their source."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            self._left = next(self._source, b"")
        size = len(self._left) if size < 0 else size
        piece, self._left = self._left[:size], self._left[size:]
        return piece
