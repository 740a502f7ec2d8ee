"""Compressed layers: told by their first bytes, expanded in a stream, damaged ones and bombs refused."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import lzma
from collections.abc import Iterator

import pytest

from tfcore.errors import BadImage, Unavailable
from tfcore.images.chunks import CHUNK
from tfcore.images.compression import Compression, Expansion, compression_of, expanded, media_type_of, sniff

TEXT = b"The quick brown fox jumps over the lazy dog.\n" * 20_000
PACKED = gzip.compress(TEXT, 1)
ZSTD_EMPTY_FRAME = bytes.fromhex("28b52ffd2000010000")


def chopped(data: bytes, size: int = 1000) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def grown(data: bytes, **allowed: int) -> bytes:
    return b"".join(expanded(chopped(data), what="layer", allowed=Expansion(**allowed)))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (TEXT, Compression.NONE),
        (b"", Compression.NONE),
        (PACKED, Compression.GZIP),
        (ZSTD_EMPTY_FRAME, Compression.ZSTD),
        (bz2.compress(TEXT), Compression.BZIP2),
        (lzma.compress(TEXT), Compression.XZ),
    ],
)
def test_the_compression_is_told_by_the_first_bytes(data: bytes, kind: Compression) -> None:
    assert compression_of(data[:8]) is kind
    found, again = sniff(chopped(data, 3))
    assert found is kind
    assert b"".join(again) == data


@pytest.mark.parametrize("size", [1, 7, 1000, 10_000_000])
def test_gzip_is_expanded_whatever_the_chunks(size: int) -> None:
    data = PACKED if size > 1 else gzip.compress(b"small")
    expected = TEXT if size > 1 else b"small"
    assert b"".join(expanded(chopped(data, size), what="layer")) == expected


def test_several_gzip_members_are_one_stream() -> None:
    assert grown(gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")) == b"one two"


def test_plain_data_passes_as_it_is() -> None:
    assert grown(TEXT) == TEXT
    assert grown(b"") == b""


def test_pieces_stay_small_however_well_it_compresses() -> None:
    packed = gzip.compress(bytes(50 * CHUNK))
    assert max(len(piece) for piece in expanded([packed], what="layer")) <= CHUNK


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PACKED[:-1], id="trailer cut"),
        pytest.param(PACKED[: len(PACKED) // 2], id="half"),
        pytest.param(PACKED[:5], id="header cut"),
        pytest.param(PACKED[:-8] + bytes(8), id="wrong checksum"),
        pytest.param(PACKED + b"garbage", id="followed by something"),
        pytest.param(PACKED[:100] + b"\xff" * 50 + PACKED[150:], id="damaged inside"),
    ],
)
def test_damaged_gzip_is_refused(data: bytes) -> None:
    with pytest.raises(BadImage, match="layer is damaged or cut off: gzip"):
        grown(data)


def test_an_error_of_the_source_is_not_mistaken_for_damage() -> None:
    def breaking() -> Iterator[bytes]:
        yield PACKED[:2000]
        raise Unavailable("gone")

    with pytest.raises(Unavailable):
        list(expanded(breaking(), what="layer"))


def test_a_bomb_is_refused_before_it_has_gone_off() -> None:
    taken = 0

    def bomb() -> Iterator[bytes]:
        nonlocal taken
        for chunk in chopped(gzip.compress(bytes(64 * CHUNK), 9), 512):
            taken += len(chunk)
            yield chunk

    allowed = Expansion(ratio=100, free=CHUNK)
    with pytest.raises(BadImage, match="more than 100 times") as refused:
        list(expanded(bomb(), what="layer", allowed=allowed))
    assert "bomb" in refused.value.hint
    assert taken < 4096


def test_the_absolute_limit_holds_for_plain_data_too() -> None:
    with pytest.raises(BadImage, match="5000 bytes allowed"):
        grown(TEXT, size=5000)


def test_small_layers_may_compress_as_well_as_they_like() -> None:
    assert len(grown(gzip.compress(bytes(10 * CHUNK), 9), ratio=2)) == 10 * CHUNK


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress])
def test_what_no_tool_reads_as_a_layer_is_refused(compress: object) -> None:
    with pytest.raises(BadImage, match="cannot be compressed with") as refused:
        grown(compress(TEXT))  # type: ignore[operator]
    assert "gzip" in refused.value.hint


def test_every_layer_compression_has_its_media_type() -> None:
    assert media_type_of(Compression.GZIP).endswith("layer.v1.tar+gzip")
    with pytest.raises(BadImage):
        media_type_of(Compression.XZ)


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


ZSTD = _has("compression.zstd") or _has("zstandard")


@pytest.mark.skipif(ZSTD, reason="this Python reads zstd")
def test_zstd_is_refused_with_the_way_out_where_it_cannot_be_read() -> None:
    with pytest.raises(BadImage, match="cannot read") as refused:
        grown(ZSTD_EMPTY_FRAME)
    assert "zstandard" in refused.value.hint


@pytest.mark.skipif(not ZSTD, reason="needs Python 3.14 or the package zstandard")
def test_zstd_is_expanded_where_it_can_be_read() -> None:
    # A raw block of five bytes, with its frame header written out by hand (RFC 8878).
    frame = bytes.fromhex("28b52ffd2005290000") + b"hello"
    assert grown(frame + frame) == b"hellohello"
    with pytest.raises(BadImage, match="damaged"):
        grown(frame + b"garbage")
