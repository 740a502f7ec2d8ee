"""Messages within a stream, however it is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tfcore.errors import BadRequest
from tfcore.rpc.frames import LENGTH, LONGEST, bodies, framed
from tfcore.wire.files import FilePiece
from tfcore.wire.message import decode


def read(content: bytes, step: int) -> list[bytes]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), step):
            yield content[start : start + step]

    async def collect() -> list[bytes]:
        return [body async for body in bodies(chunks())]

    return asyncio.run(collect())


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_messages_come_as_they_went(step: int) -> None:
    sent = [FilePiece(data=data) for data in (b"", b"one", b"x" * 300)]
    got = read(b"".join(map(framed, sent)), step)
    assert [decode(body, FilePiece) for body in got] == sent


def test_the_largest_piece_fits() -> None:
    piece = FilePiece(data=bytes(1 << 20))
    assert decode(read(framed(piece), 1 << 16)[0], FilePiece) == piece


@pytest.mark.parametrize("content", [framed(FilePiece(data=b"x"))[:-1], b"\0", (LONGEST + 1).to_bytes(LENGTH, "big")])
def test_what_is_cut_short_or_too_long_is_refused(content: bytes) -> None:
    with pytest.raises(BadRequest):
        read(content, 100)
