"""Streams: credit, order, gaps, ends; bounded memory whatever the other side does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.rpc.pair import run, settled, until
from tfcore.errors import TfError, Unavailable
from tfcore.rpc import streams
from tfcore.rpc.channels import CHUNK, GATHERED, WINDOW
from tfcore.rpc.streams import INPUT, OUTPUT, Stream

Frame = tuple[int, int, bytes, bool]


class Two:
    """A writer's stream and a reader's, joined; `data` and `credits` are what passed."""

    def __init__(self) -> None:
        self.data: list[tuple[int, int, int, bool]] = []
        self.credits: list[tuple[int, int, bool]] = []
        self.torn: list[TfError] = []
        self.deliver_data: Callable[..., None] = lambda *frame: self.reader.on_data(*frame)
        self.deliver_credit: Callable[..., None] = lambda *credit: self.writer.on_credit(*credit)
        self.writer = Stream(self._data, lambda *_: None, self.torn.append)
        self.reader = Stream(lambda *_: None, self._credit)

    def _data(self, channel: int, at: int, data: bytes | memoryview, end: bool) -> None:
        self.data.append((channel, at, len(data), end))
        self.deliver_data(channel, at, bytes(data), end)

    def _credit(self, channel: int, at: int, again: bool) -> None:
        self.credits.append((channel, at, again))
        self.deliver_credit(channel, at, again)


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


def test_what_is_missing_is_asked_for_once_and_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        two = Two()
        deliver = two.deliver_data
        lost = iter([False, True, True])
        two.deliver_data = lambda *frame: None if next(lost, False) else deliver(*frame)
        credit, two.deliver_credit = two.deliver_credit, lambda *_: None
        for letter in (b"a", b"b", b"c", b"d", b"e"):
            await two.writer.write(INPUT, letter)
        assert bytes(await two.reader.read(INPUT)) == b"a", "what came before the gap is good"
        assert two.credits == [(INPUT, 0, True)], "asked for with the first frame after the gap, and once"
        credit(*two.credits[0])
        two.deliver_credit = credit
        two.writer.finish(INPUT)
        assert await read_all(two.reader) == b"bcde"

    run(scenario)


@pytest.mark.parametrize("size", [1, GATHERED // 2 + 1, GATHERED, CHUNK], ids=lambda size: f"{size} bytes")
def test_everything_that_was_not_consumed_can_be_sent_again(size: int) -> None:
    async def scenario() -> None:
        two = Two()
        deliver, two.deliver_data = two.deliver_data, lambda *_: None
        pieces = [bytes([number]) * size for number in range(9)]
        for piece in pieces:
            await two.writer.write(INPUT, piece)
        two.writer.finish(INPUT)
        two.deliver_data = deliver
        two.writer.go_on()
        assert await read_all(two.reader) == b"".join(pieces)

    run(scenario)


@pytest.mark.parametrize("at", [0, 1, 3, 7, 9])
def test_what_comes_twice_is_read_once(at: int) -> None:
    async def scenario() -> None:
        two = Two()
        two.reader.on_data(INPUT, 0, b"0123456", False)
        two.reader.on_data(INPUT, min(at, 7), b"0123456789"[min(at, 7) :], False)
        two.reader.on_data(INPUT, at, b"0123456789"[at:], True)
        two.reader.on_data(INPUT, 10, b"", True)
        assert await read_all(two.reader) == b"0123456789"

    run(scenario)


def test_what_was_consumed_is_not_kept() -> None:
    async def scenario() -> None:
        two = Two()
        reading = asyncio.ensure_future(read_all(two.reader))
        for _ in range(3):
            await two.writer.write(INPUT, bytes(WINDOW))
            assert two.writer.kept <= WINDOW
        two.writer.finish(INPUT)
        assert len(await reading) == 3 * WINDOW
        assert two.writer.kept == 0, "the end of a channel is told with all that was read before"

    run(scenario)


def test_what_was_read_of_a_slow_stream_is_told_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "TELL", 0.0)

    async def scenario() -> None:
        two = Two()
        await two.writer.write(INPUT, b"one small answer")
        assert two.writer.kept == 16
        await two.reader.read(INPUT)
        await until(lambda: two.writer.kept == 0)
        assert two.credits == [(INPUT, 16, False)]

    run(scenario)


def test_small_pieces_are_kept_together() -> None:
    async def scenario() -> None:
        two = Two()
        for _ in range(1000):
            await two.writer.write(INPUT, b"x")
        assert two.writer.kept == 1000
        assert len(two.writer._outlets[INPUT]._pieces) == 1

    run(scenario)


def test_a_reader_that_misses_what_is_not_kept_any_more_tears_the_stream() -> None:
    """As one that was restarted: it begins at nothing."""

    async def scenario() -> None:
        two = Two()
        await two.writer.write(INPUT, bytes(10))
        two.writer.on_credit(INPUT, 10)
        await two.writer.write(INPUT, bytes(10))
        two.writer.on_credit(INPUT, 0, True)
        with pytest.raises(Unavailable, match="restarted") as torn:
            await two.writer.write(INPUT, b"more")
        assert torn.value.retryable
        assert two.torn == [torn.value]

    run(scenario)


def test_a_writer_that_begins_anew_gets_credit_until_it_is_where_it_was() -> None:
    """As one that was restarted and sends the same again: its reader knows the beginning already."""

    async def scenario() -> None:
        two = Two()
        content = bytes(range(256)) * (3 * WINDOW // 256)
        writing = asyncio.ensure_future(two.writer.write(INPUT, content))
        read = bytearray()
        while len(read) < 2 * WINDOW:
            read += await two.reader.read(INPUT)
        writing.cancel()
        two.writer = Stream(two._data, lambda *_: None)
        two.deliver_credit = lambda *credit: asyncio.get_running_loop().call_soon(two.writer.on_credit, *credit)
        anew = asyncio.ensure_future(two.writer.write(INPUT, content))
        while len(read) < len(content):
            read += await two.reader.read(INPUT)
        await anew
        assert read == content

    run(scenario)


def test_what_a_connection_does_not_take_is_sent_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CROWDED", 0.0)

    async def scenario() -> None:
        two = Two()
        deliver = two.deliver_data

        def crowded(*_frame: object) -> None:
            raise Unavailable("the peer is gone, or does not read", retryable=True)

        two.deliver_data = crowded
        writing = asyncio.ensure_future(two.writer.write(INPUT, b"patience"))
        await settled()
        assert not writing.done()
        two.deliver_data = deliver
        await writing
        two.deliver_data = crowded
        two.writer.finish(INPUT)
        two.writer.go_on()
        await settled()
        two.deliver_data = deliver
        assert await read_all(two.reader) == b"patience"

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
