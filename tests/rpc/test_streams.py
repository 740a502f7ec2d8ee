"""Streams: credit, order, gaps, ends; bounded memory whatever the other side does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.rpc.pair import run, settled, until
from tfcore.errors import TfError, Unavailable
from tfcore.rpc.streams import CHUNK, INPUT, OUTPUT, WINDOW, Stream

Frame = tuple[int, int, bytes, bool]


class Two:
    """A writer's stream and a reader's, joined; `data` and `credits` are what passed."""

    def __init__(self) -> None:
        self.data: list[tuple[int, int, int, bool]] = []
        self.credits: list[tuple[int, int]] = []
        self.deliver_data: Callable[..., None] = lambda *frame: self.reader.on_data(*frame)
        self.deliver_credit: Callable[..., None] = lambda *credit: self.writer.on_credit(*credit)
        self.writer = Stream(self._data, lambda *_: None)
        self.reader = Stream(lambda *_: None, self._credit)

    def _data(self, channel: int, at: int, data: bytes | memoryview, end: bool) -> None:
        self.data.append((channel, at, len(data), end))
        self.deliver_data(channel, at, bytes(data), end)

    def _credit(self, channel: int, at: int) -> None:
        self.credits.append((channel, at))
        self.deliver_credit(channel, at)


async def read_all(stream: Stream, channel: int = INPUT) -> bytes:
    return b"".join([bytes(chunk) async for chunk in stream.chunks(channel)])


def test_bytes_arrive_in_order_and_end() -> None:
    async def scenario() -> None:
        two = Two()
        await two.writer.write(INPUT, b"one ")
        await two.writer.write(INPUT, bytearray(b"two "))
        await two.writer.write(INPUT, memoryview(b"three"))
        two.writer.finish(INPUT)
        two.writer.finish(INPUT)
        assert await read_all(two.reader) == b"one two three"
        assert await two.reader.read(INPUT) == b"", "the end stays the end"
        assert [frame[3] for frame in two.data] == [False, False, False, True]

    run(scenario)


def test_channels_are_apart() -> None:
    async def scenario() -> None:
        two = Two()
        await two.writer.write(1, b"out")
        await two.writer.write(2, b"err")
        two.writer.finish(1)
        two.writer.finish(2)
        assert await read_all(two.reader, 2) == b"err"
        assert await read_all(two.reader, 1) == b"out"

    run(scenario)


def test_large_writes_go_in_chunks() -> None:
    async def scenario() -> None:
        two = Two()
        await two.writer.write(INPUT, bytes(2 * CHUNK + 5))
        assert [frame[:3] for frame in two.data] == [(0, 0, CHUNK), (0, CHUNK, CHUNK), (0, 2 * CHUNK, 5)]

    run(scenario)


def test_a_writer_is_never_more_than_a_window_ahead() -> None:
    async def scenario() -> None:
        two = Two()
        writing = asyncio.ensure_future(two.writer.write(INPUT, bytes(3 * WINDOW)))
        await settled()
        assert sum(frame[2] for frame in two.data) == WINDOW
        read = 0
        while read < 3 * WINDOW:
            read += len(await two.reader.read(INPUT))
            sent = sum(frame[2] for frame in two.data)
            assert sent - read <= WINDOW + CHUNK
            await settled()
        await writing
        assert len(two.credits) <= 3 * 4, "credit is given in quarters of a window, not for each chunk"

    run(scenario)


def test_a_gap_ends_the_stream_for_its_reader() -> None:
    async def scenario() -> None:
        two = Two()
        two.reader.on_data(INPUT, 0, b"abc", False)
        two.reader.on_data(INPUT, 5, b"fg", False)
        assert bytes(await two.reader.read(INPUT)) == b"abc", "what came before the gap is good"
        with pytest.raises(Unavailable, match="interrupted") as failed:
            await two.reader.read(INPUT)
        assert failed.value.retryable

    run(scenario)


def test_data_repeated_is_a_gap_too() -> None:
    async def scenario() -> None:
        two = Two()
        two.reader.on_data(INPUT, 0, b"abc", False)
        two.reader.on_data(INPUT, 0, b"abc", False)
        await two.reader.read(INPUT)
        with pytest.raises(Unavailable):
            await two.reader.read(INPUT)

    run(scenario)


def test_a_writer_that_ignores_credit_is_cut_off() -> None:
    async def scenario() -> None:
        two = Two()
        at = 0
        while two.reader._error is None:
            two.reader.on_data(INPUT, at, bytes(CHUNK), False)
            at += CHUNK
            assert at < 2 * WINDOW
        assert sum(map(len, two.reader._inlets[INPUT].chunks)) <= WINDOW + CHUNK

    run(scenario)


@pytest.mark.parametrize("nonsense", [-1, 0, 11, 10**30])
def test_credit_for_what_was_never_sent_is_ignored(nonsense: int) -> None:
    async def scenario() -> None:
        two = Two()
        await two.writer.write(INPUT, b"0123456789")
        two.writer.on_credit(INPUT, nonsense)
        assert two.writer._outlets[INPUT].consumed == 0
        two.writer.on_credit(INPUT, 10)
        two.writer.on_credit(INPUT, 4)
        assert two.writer._outlets[INPUT].consumed == 10, "credit does not go back"

    run(scenario)


def test_an_abort_wakes_whoever_waits_and_the_first_reason_stays() -> None:
    async def scenario() -> None:
        two = Two()
        two.deliver_credit = lambda *_: None
        reading = asyncio.ensure_future(two.reader.read(OUTPUT))
        writing = asyncio.ensure_future(two.writer.write(INPUT, bytes(2 * WINDOW)))
        await settled()
        for stream in (two.reader, two.writer):
            stream.abort(Unavailable("first"))
            stream.abort(Unavailable("second"))
        for waiting in (reading, writing):
            with pytest.raises(TfError, match="first"):
                await waiting
        sent = len(two.data)
        two.writer.finish(INPUT)
        assert len(two.data) == sent, "nothing is sent on an aborted stream"

    run(scenario)


def test_what_had_ended_before_an_abort_is_still_read() -> None:
    async def scenario() -> None:
        two = Two()
        await two.writer.write(INPUT, b"all of it")
        two.writer.finish(INPUT)
        two.reader.abort(Unavailable("the request was answered"))
        assert await read_all(two.reader) == b"all of it"

    run(scenario)


def test_a_stream_is_used_once_a_byte_or_an_end_has_passed() -> None:
    async def scenario() -> None:
        two = Two()
        reading = asyncio.ensure_future(two.reader.read(INPUT))
        await settled()
        assert not two.writer.used
        assert not two.reader.used, "waiting is not using"
        two.writer.finish(INPUT)
        assert two.writer.used
        assert two.reader.used
        assert await reading == b""

    run(scenario)


def test_many_small_writes_are_all_read() -> None:
    async def scenario() -> None:
        two = Two()
        reading = asyncio.ensure_future(read_all(two.reader))
        for number in range(5000):
            await two.writer.write(INPUT, b"%d," % number)
        two.writer.finish(INPUT)
        await until(reading.done)
        assert reading.result() == b"".join(b"%d," % number for number in range(5000))

    run(scenario)
