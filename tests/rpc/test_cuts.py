"""Requests with a stream over connections that are cut: at every frame, in every direction, with every part lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.rpc.pair import Pair, Wire, run, settled, until
from tfcore.errors import Unavailable
from tfcore.rpc import answers, streams
from tfcore.rpc.channels import CHUNK, WINDOW
from tfcore.rpc.dispatcher import Call, Dispatcher
from tfcore.rpc.link import IN_VAIN, Link, Ongoing
from tfcore.rpc.streams import ERRORS, INPUT, OUTPUT
from tfcore.wire import containers as c
from tfcore.wire.header import Header

PIECES = (b"one ", b"two ", b"three")


class Process:
    """A handler that echoes what it reads, complains at the end, and is counted."""

    def __init__(self) -> None:
        self.runs = 0
        self.read = bytearray()
        self.cancelled = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.table = {c.RunProcess: self._run}

    async def _run(self, call: Call, _message: c.RunProcess) -> c.ProcessEnded:
        self.runs += 1
        try:
            async for chunk in call.stream.chunks(INPUT):
                self.read += chunk
                await call.stream.write(OUTPUT, chunk)
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        await call.stream.write(ERRORS, b"done")
        call.stream.finish(OUTPUT)
        call.stream.finish(ERRORS)
        return c.ProcessEnded(exit_code=3)


Said = tuple[bytes, bytes, int]


async def read_all(ongoing: Ongoing[c.ProcessEnded], channel: int) -> bytes:
    return b"".join([bytes(chunk) async for chunk in ongoing.stream.chunks(channel)])


async def converse(pair: Pair, pieces: tuple[bytes, ...] = PIECES) -> Said:
    """Run the process as the SDK does: (stdout, stderr, exit code)."""
    ongoing = pair.asker.begin(c.RunProcess(command="cat"), timeout=20)

    async def feed() -> None:
        for piece in pieces:
            await ongoing.stream.write(INPUT, piece)
        ongoing.stream.finish(INPUT)

    feeding = asyncio.ensure_future(feed())
    reading = asyncio.gather(read_all(ongoing, OUTPUT), read_all(ongoing, ERRORS))
    try:
        code = (await ongoing.reply()).exit_code
        async with asyncio.timeout(5):
            out, errors = await reading
    finally:
        feeding.cancel()
        reading.cancel()
        await asyncio.gather(feeding, reading, return_exceptions=True)
    return out, errors, code


def whole(pieces: tuple[bytes, ...] = PIECES) -> Said:
    return b"".join(pieces), b"done", 3


class Cuts:
    """Cuts both ways of a pair when so many frames have passed, each time for a while."""

    def __init__(self, pair: Pair, *after: int) -> None:
        self._pair = pair
        self._after = list(after)
        self._count = 0
        self.down = asyncio.Event()
        pair.there.loses = pair.back.loses = self._loses

    def _loses(self, _header: Header) -> bool:
        if not self.down.is_set():
            self._count += 1
            if self._after and self._count > self._after[0]:
                del self._after[0]
                self._count = 0
                self.down.set()
        return self.down.is_set()

    async def mend(self) -> None:
        """Ask again whenever everything stands still."""
        while True:
            await self.down.wait()
            await settled()
            self.down.clear()
            self._pair.asker.replay()


async def through(pair: Pair, cuts: Cuts, pieces: tuple[bytes, ...] = PIECES) -> Said:
    mending = asyncio.ensure_future(cuts.mend())
    try:
        return await converse(pair, pieces)
    finally:
        mending.cancel()


FRAMES = 12
"""What an undisturbed conversation takes: a request, three pieces and an end; the same back, errors with their end, the
answer. (A test says so.)"""


def test_an_undisturbed_conversation_takes_so_many_frames() -> None:
    async def scenario() -> None:
        process = Process()
        pair = Pair(process.table)
        assert await converse(pair) == whole()
        sent = [header for header in (*pair.there.passed, *pair.back.passed) if header.kind != "credit"]
        assert len(sent) == FRAMES
        await pair.close()

    run(scenario)


@pytest.mark.parametrize("after", range(FRAMES))
def test_a_cut_at_any_frame(after: int) -> None:
    async def scenario() -> None:
        process = Process()
        pair = Pair(process.table)
        cuts = Cuts(pair, after)
        assert await through(pair, cuts) == whole()
        assert cuts._after == [], "it was cut"
        assert (process.runs, process.read) == (1, b"".join(PIECES))
        await pair.close()

    run(scenario)


@pytest.mark.parametrize("second", range(1, 12))
@pytest.mark.parametrize("first", range(FRAMES))
def test_a_second_cut_while_everything_is_sent_again(first: int, second: int) -> None:
    async def scenario() -> None:
        process = Process()
        pair = Pair(process.table)
        assert await through(pair, Cuts(pair, first, second)) == whole()
        assert (process.runs, process.read) == (1, b"".join(PIECES))
        await pair.close()

    run(scenario)


LARGE = tuple(bytes([number]) * CHUNK for number in range(40))
"""More than twice a window."""


@pytest.mark.parametrize("after", range(0, 90, 6))
def test_a_cut_anywhere_in_more_than_a_window(after: int) -> None:
    async def scenario() -> None:
        process = Process()
        pair = Pair(process.table)
        cuts = Cuts(pair, after)
        assert await through(pair, cuts, LARGE) == whole(LARGE)
        assert (cuts._after, process.runs) == ([], 1)
        await pair.close()

    run(scenario)


@pytest.mark.parametrize("kind", ["data", "credit", "reply"])
@pytest.mark.parametrize("direction", ["there", "back"])
def test_one_kind_of_frames_is_lost(direction: str, kind: str) -> None:
    """Lost until everything stands still, as in a location's queues."""

    async def scenario() -> None:
        process = Process()
        pair = Pair(process.table)
        wire: Wire = getattr(pair, direction)
        wire.loses = lambda header: header.kind == kind
        talking = asyncio.ensure_future(converse(pair, LARGE))
        await settled()
        wire.loses = lambda _: False
        pair.asker.replay()
        assert await talking == whole(LARGE)
        assert (process.runs, process.read) == (1, b"".join(LARGE))
        await pair.close()

    run(scenario)


@pytest.mark.parametrize("nth", range(5))
def test_a_single_frame_lost_without_a_cut_is_asked_for(nth: int) -> None:
    """Of what comes back; the answer shows if it was the last one."""

    async def scenario() -> None:
        process = Process()
        pair = Pair(process.table)
        count = iter(range(1000))
        pair.back.loses = lambda header: header.kind == "data" and next(count) == nth
        assert await converse(pair) == whole()
        assert process.runs == 1
        await pair.close()

    run(scenario)


def test_an_answer_that_overtakes_its_stream_is_not_taken_for_whole() -> None:
    """The location sends it on to a client that is just back, after it has thrown away what came before."""

    async def scenario() -> None:
        process = Process()
        process.gate.clear()
        pair = Pair(process.table)
        pair.back.loses = lambda header: header.kind == "data"
        talking = asyncio.ensure_future(converse(pair))
        await until(lambda: process.read == b"".join(PIECES))
        process.gate.set()
        await until(lambda: "reply" in pair.back.kinds())
        assert not talking.done()
        pair.back.loses = lambda _: False
        assert await talking == whole()
        assert process.runs == 1
        await pair.close()

    run(scenario)


def test_what_never_comes_is_not_asked_for_without_end() -> None:
    async def scenario() -> None:
        pair = Pair(Process().table)
        pair.back.loses = lambda header: header.kind == "data"
        with pytest.raises(Unavailable, match=r"cut during container\.run-process, which cannot go on") as torn:
            await converse(pair)
        assert torn.value.retryable
        assert torn.value.hint
        assert pair.back.kinds().count("reply") == IN_VAIN + 1
        await pair.close()

    run(scenario)


# the other side was restarted


async def restarted(pair: Pair, process: Process) -> None:
    await pair.answerer.close()
    pair.answerer = Link(pair.back.send, dispatcher=Dispatcher(process.table), on_event=lambda *_: None)
    pair.there.to = pair.answerer


def test_input_that_a_restarted_side_had_consumed_is_lost_and_that_is_said_at_once() -> None:
    async def scenario() -> None:
        process = Process()
        pair = Pair(process.table)
        ongoing = pair.asker.begin(c.RunProcess(command="cat"), timeout=1000)
        await ongoing.stream.write(INPUT, bytes(WINDOW))
        await until(lambda: ongoing.stream.kept < WINDOW)
        pair.back.hold()
        await restarted(pair, process)
        pair.back.lose()
        pair.asker.replay()
        with pytest.raises(Unavailable, match=r"run-process.*was restarted") as torn:
            await ongoing.reply()
        assert torn.value.retryable
        await until(lambda: process.cancelled == 2)
        assert pair.asker._calls == {}
        await pair.close()

    run(scenario)


def test_input_that_a_restarted_side_has_had_but_not_consumed_is_sent_to_it_again() -> None:
    async def scenario() -> None:
        process = Process()
        pair = Pair(process.table)
        pair.there.hold()
        talking = asyncio.ensure_future(converse(pair))
        await settled()
        pair.there.lose()
        await restarted(pair, process)
        pair.asker.replay()
        assert await talking == whole()
        assert process.runs == 1
        await pair.close()

    run(scenario)


# what is kept


def test_an_answer_with_more_output_than_is_kept_fails_at_once_and_is_not_done_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "TAILS", 5)

    async def scenario() -> None:
        process = Process()
        pair = Pair(process.table)
        assert await through(pair, Cuts(pair, FRAMES + 5)) == whole(), "read at once, it is not kept"
        with pytest.raises(Unavailable, match=r"run-process was done while .* wrote more than is kept") as torn:
            await through(pair, Cuts(pair, 5))
        assert torn.value.hint
        assert process.runs == 2
        await pair.close()

    run(scenario)


def test_what_was_read_of_an_answered_request_is_not_kept() -> None:
    async def scenario() -> None:
        pair = Pair(Process().table)
        assert await converse(pair, LARGE[:10]) == whole(LARGE[:10])
        await settled()
        (answer,) = pair.answerer._answers._answers.values()
        assert answer.stream is not None
        assert answer.stream.kept == 0
        await pair.close()

    run(scenario)


# giving up


def test_a_cancellation_that_was_lost_is_said_again() -> None:
    async def scenario() -> None:
        process = Process()
        pair = Pair(process.table)
        ongoing = pair.asker.begin(c.RunProcess(command="cat"))
        await until(lambda: process.runs)
        pair.there.loses = lambda _: True
        ongoing.abandon()
        await settled()
        assert process.cancelled == 0
        pair.there.loses = lambda _: False
        pair.asker.replay()
        await until(lambda: process.cancelled == 1)
        await pair.close()

    run(scenario)


def test_asking_again_fails_at_once_if_nothing_can_be_sent() -> None:
    async def scenario() -> None:
        pair = Pair(Process().table)
        asked = [pair.asker.begin(c.RunProcess(command="cat")) for _ in range(2)]
        pair.there.broken = True
        pair.asker.replay()
        for ongoing in asked:
            with pytest.raises(Unavailable, match="the wire is cut"):
                await ongoing.reply()
        await pair.close()

    run(scenario)


def test_what_is_written_while_the_connection_takes_nothing_arrives_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CROWDED", 0.0)

    async def scenario() -> None:
        process = Process()
        pair = Pair(process.table)
        pair.back.broken = True
        talking = asyncio.ensure_future(converse(pair))
        await until(lambda: process.runs)
        await settled()
        pair.back.broken = False
        assert await talking == whole()
        await pair.close()

    run(scenario)
