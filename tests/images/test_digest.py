"""Digests and the checking of streams."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from tfcore.errors import BadImage
from tfcore.images.chunks import CHUNK, ChunkReader, Tally, chunks_of
from tfcore.images.digest import Digester, check_digest, digest_of, hex_of, is_digest, verified

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_digest_of_nothing_is_the_known_one() -> None:
    assert digest_of(b"") == EMPTY
    assert hex_of(EMPTY) == EMPTY[7:]


@pytest.mark.parametrize(
    "text", ["", EMPTY[:-1], EMPTY + "0", EMPTY + "\n", EMPTY.upper(), "sha512:" + "0" * 128, "../x"]
)
def test_nothing_else_is_a_digest(text: str) -> None:
    assert not is_digest(text)
    with pytest.raises(BadImage, match="layer 3"):
        check_digest(text, what="layer 3")


def test_a_digester_knows_what_has_gone_by() -> None:
    digester = Digester([b"ab", b"c"])
    assert list(digester) == [b"ab", b"c"]
    assert (digester.digest, digester.size) == (digest_of(b"abc"), 3)


def test_what_was_promised_passes() -> None:
    assert b"".join(verified([b"ab", b"c"], digest=digest_of(b"abc"), size=3, what="it")) == b"abc"
    assert list(verified([], digest=EMPTY, what="it")) == []


@pytest.mark.parametrize(
    ("size", "words"), [(2, "longer than the 2 bytes"), (4, "cut off: 3 of 4"), (3, "damaged"), (None, "damaged")]
)
def test_anything_else_ends_in_an_error(size: int | None, words: str) -> None:
    with pytest.raises(BadImage, match=words):
        list(verified([b"ab", b"c"], digest=EMPTY, size=size, what="it"))


def test_what_is_too_long_is_not_read_to_its_end() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    with pytest.raises(BadImage, match="longer"):
        list(verified(endless(), digest=EMPTY, size=5000, what="it"))


def test_a_file_is_read_in_chunks() -> None:
    data = bytes(CHUNK) + b"rest"
    assert [len(chunk) for chunk in chunks_of(io.BytesIO(data))] == [CHUNK, 4]
    assert b"".join(chunks_of(io.BytesIO(data), size=10)) == bytes(10)
    assert b"".join(chunks_of(io.BytesIO(b"short"), size=10)) == b"short"


def test_chunks_can_be_read_like_a_file() -> None:
    reader = ChunkReader([b"", b"abc", b"", b"de"])
    assert [reader.read(2), reader.read(2), reader.read(-1), reader.read(1)] == [b"ab", b"c", b"de", b""]


def test_a_tally_counts() -> None:
    tally = Tally([b"abc", b"d"])
    assert b"".join(tally) == b"abcd"
    assert tally.size == 4
