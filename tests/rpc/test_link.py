"""Links: requests and answers, replays, cancellation, deadlines, limits, what survives a cut."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.rpc.pair import Pair, run, settled, until
from tfcore.errors import BadRequest, DeadlineExceeded, Exhausted, Internal, NotFound, Unavailable
from tfcore.ids import new_id
from tfcore.rpc import answers
from tfcore.rpc import link as link_module
from tfcore.rpc.dispatcher import Call
from tfcore.rpc.streams import INPUT, OUTPUT
from tfcore.wire import containers as c
from tfcore.wire import sessions as s
from tfcore.wire.header import Header
from tfcore.wire.message import Done, encode, op_of


class Handlers:
    """A few requests, what was asked, and a gate before the answer."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = 0
        self.error: BaseException | None = None
        self.reply: Any = Done()
        self.table = {
            c.StartContainer: self._answer, c.DestroyContainer: self._answer, c.RunProcess: self._echo,
            c.GetLogs: self._answer,
        }  # fmt: skip

    async def _answer(self, call: Call, _message: Any) -> Any:
        self.calls.append(call)
        call.seen = "the gate was shut"
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return self.reply

    async def _echo(self, call: Call, _message: Any) -> c.ProcessEnded:
        self.calls.append(call)
        async for chunk in call.stream.chunks(INPUT):
            await call.stream.write(OUTPUT, chunk)
        call.stream.finish(OUTPUT)
        await self.gate.wait()
        return c.ProcessEnded(exit_code=0)


def test_a_call_is_answered() -> None:
    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        assert await pair.asker.call(c.StartContainer(), target=new_id("c"), timeout=5) == Done()
        call = handlers.calls[0]
        assert (call.peer, call.timeout) == ("the asker", 5)
        assert call.target.startswith("c-")
        await pair.close()

    run(scenario)


def test_answers_find_their_askers_in_any_order() -> None:
    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        handlers.gate.clear()
        slow = asyncio.ensure_future(pair.asker.call(c.StartContainer()))
        await until(lambda: handlers.calls)
        with pytest.raises(BadRequest, match="unknown operation"):
            await pair.asker.call(c.WaitReady())
        assert not slow.done()
        handlers.gate.set()
        assert await slow == Done()
        await pair.close()

    run(scenario)


def test_a_typed_error_arrives_and_a_defect_tells_only_its_id() -> None:
    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        handlers.error = NotFound("no such thing", hint="look elsewhere")
        with pytest.raises(NotFound, match="no such thing"):
            await pair.asker.call(c.StartContainer())
        handlers.error = ZeroDivisionError("the password is secret")
        with pytest.raises(Internal) as failed:
            await pair.asker.call(c.StartContainer())
        assert handlers.calls[-1].id in failed.value.message
        assert "secret" not in failed.value.message
        await pair.close()

    run(scenario)


def test_a_timeout_says_what_was_last_seen() -> None:
    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        handlers.gate.clear()
        with pytest.raises(DeadlineExceeded, match="last seen: the gate was shut"):
            await pair.asker.call(c.StartContainer(), timeout=0.01)
        assert handlers.cancelled == 1
        await pair.close()

    run(scenario)


def test_silence_is_given_up_and_the_other_side_is_told_to_stop() -> None:
    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        pair.there.hold()
        asking = pair.asker.begin(c.StartContainer(), timeout=0.01)
        with pytest.raises(DeadlineExceeded, match="no answer"):
            await asking.reply(grace=0.01)
        assert pair.there.kinds() == ["request", "cancel"]
        await pair.close()

    run(scenario)


def test_an_abandoned_request_is_cancelled() -> None:
    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        handlers.gate.clear()
        asking = pair.asker.begin(c.StartContainer())
        await until(lambda: handlers.calls)
        asking.abandon()
        await until(lambda: handlers.cancelled)
        asking.abandon()
        assert pair.there.kinds() == ["request", "cancel"], "once"
        await pair.close()

    run(scenario)


def test_a_cancelled_asker_cancels_the_other_side() -> None:
    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        handlers.gate.clear()
        asking = asyncio.ensure_future(pair.asker.call(c.StartContainer()))
        await until(lambda: handlers.calls)
        asking.cancel()
        await until(lambda: handlers.cancelled)
        await pair.close()

    run(scenario)


def test_what_cannot_be_sent_fails_at_once_and_leaves_nothing() -> None:
    async def scenario() -> None:
        pair = Pair({})
        pair.there.broken = True
        with pytest.raises(Unavailable, match="cut"):
            pair.asker.begin(c.StartContainer())
        assert pair.asker._calls == {}
        await pair.close()

    run(scenario)


# replays


def test_a_replay_of_what_is_being_done_is_done_once() -> None:
    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        handlers.gate.clear()
        asking = asyncio.ensure_future(pair.asker.call(c.StartContainer()))
        await until(lambda: handlers.calls)
        pair.asker.replay()
        await settled()
        handlers.gate.set()
        assert await asking == Done()
        assert len(handlers.calls) == 1
        await pair.close()

    run(scenario)


def test_a_replay_of_what_was_done_is_answered_again() -> None:
    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        pair.back.hold()
        asking = asyncio.ensure_future(pair.asker.call(c.StartContainer()))
        await until(lambda: pair.back.held)
        pair.back.lose()
        pair.asker.replay()
        assert await asking == Done()
        assert len(handlers.calls) == 1
        assert pair.back.kinds() == ["reply", "reply"]
        await pair.close()

    run(scenario)


def test_an_answer_that_cannot_be_sent_is_kept_for_the_replay() -> None:
    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        pair.back.broken = True
        asking = asyncio.ensure_future(pair.asker.call(c.StartContainer()))
        await until(lambda: pair.answerer._answers)
        pair.back.broken = False
        pair.asker.replay()
        assert await asking == Done()
        assert len(handlers.calls) == 1
        await pair.close()

    run(scenario)


def test_two_sessions_may_use_the_same_id(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        request, one, other = new_id("r"), new_id("s"), new_id("s")
        for session in (one, other):
            header = Header(kind="request", id=request, op=op_of(c.StartContainer), session=session)
            pair.answerer.receive(header, encode(c.StartContainer()))
        await until(lambda: len(handlers.calls) == 2)
        assert {call.session for call in handlers.calls} == {one, other}
        await pair.close()

    run(scenario)


def test_of_a_request_without_a_stream_only_its_answer_is_kept() -> None:
    """There are two thousand of them for each peer, and a stream takes some kilobytes: a long soak showed it."""

    async def scenario() -> None:
        pair = Pair(Handlers().table)
        await pair.asker.call(c.StartContainer())
        ongoing = pair.asker.begin(c.RunProcess(argv=("cat",)))
        await ongoing.stream.write(INPUT, b"x")
        ongoing.stream.finish(INPUT)
        await ongoing.reply()
        assert [answer.stream is None for answer in pair.answerer._answers._answers.values()] == [True, False]
        await pair.close()

    run(scenario)


def test_only_so_many_answers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "REMEMBERED", 10)
    monkeypatch.setattr(answers, "REMEMBERED_BYTES", 5000)
    monkeypatch.setattr(answers, "LARGE", 3000)

    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        for _ in range(25):
            await pair.asker.call(c.StartContainer())
        assert len(pair.answerer._answers) == 10
        record = c.LogRecord(seq=1, time=0.0, stream="stdout", generation=1, data=bytes(2000))
        handlers.reply = c.LogsFound(records=(record,), next=2)
        for _ in range(5):
            await pair.asker.call(c.GetLogs())
        kept = pair.answerer._answers
        assert kept.size == sum(len(answer.body) for answer in kept._answers.values())
        assert 2000 < kept.size <= 5000
        before = len(kept)
        handlers.reply = c.LogsFound(records=(record,) * 2, next=2)
        await pair.asker.call(c.GetLogs())
        assert len(kept) == before, "too large to be kept, and no reason to forget others"
        await pair.close()

    run(scenario)


# limits and losses


def test_more_than_so_many_at_once_are_refused_retryably(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "IN_FLIGHT", 3)

    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        handlers.gate.clear()
        waiting = [asyncio.ensure_future(pair.asker.call(c.StartContainer())) for _ in range(3)]
        await until(lambda: len(handlers.calls) == 3)
        with pytest.raises(Exhausted) as refused:
            await pair.asker.call(c.StartContainer())
        assert refused.value.retryable
        handlers.gate.set()
        await asyncio.gather(*waiting)
        assert await pair.asker.call(c.StartContainer()) == Done()
        await pair.close()

    run(scenario)


def test_a_session_that_asks_without_end_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node hears all sessions by the one link to its location."""
    monkeypatch.setattr(link_module, "IN_FLIGHT", 3)
    monkeypatch.setattr(link_module, "SESSIONS", 2)

    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        handlers.gate.clear()
        waiting: list[asyncio.Future[Done]] = []
        for session in (new_id("s"), new_id("s")):
            pair.asker.session = session
            waiting.extend(asyncio.ensure_future(pair.asker.call(c.StartContainer())) for _ in range(3))
            await until(lambda: len(handlers.calls) == len(waiting))
            with pytest.raises(Exhausted):
                await pair.asker.call(c.StartContainer())
        pair.asker.session = new_id("s")
        with pytest.raises(Exhausted):
            await pair.asker.call(c.StartContainer())
        handlers.gate.set()
        await asyncio.gather(*waiting)
        assert await pair.asker.call(c.StartContainer()) == Done()
        await pair.close()

    run(scenario)


def test_a_lost_peer_fails_all_askers_and_stops_all_handlers() -> None:
    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        handlers.gate.clear()
        asking = asyncio.ensure_future(pair.asker.call(c.StartContainer()))
        await until(lambda: handlers.calls)
        pair.asker.lost(Unavailable("gone for good"))
        with pytest.raises(Unavailable, match="gone for good"):
            await asking
        pair.answerer.lost(Unavailable("gone for good"))
        await until(lambda: handlers.cancelled == 1)
        await until(lambda: not pair.answerer._served)
        await pair.close()

    run(scenario)


def test_the_end_of_a_session_stops_its_handlers_only() -> None:
    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        handlers.gate.clear()
        mine, other = new_id("s"), new_id("s")
        for session in (mine, other):
            header = Header(kind="request", id=new_id("r"), op=op_of(c.StartContainer), session=session)
            pair.answerer.receive(header, encode(c.StartContainer()))
        await until(lambda: len(handlers.calls) == 2)
        pair.answerer.end_session(mine)
        await until(lambda: len(pair.answerer._served) == 1)
        assert next(iter(pair.answerer._served))[0] == other
        await pair.close()

    run(scenario)


@pytest.mark.parametrize("kind", ["reply", "failure", "data", "credit", "cancel"])
def test_what_belongs_to_nothing_is_ignored(kind: Any) -> None:
    async def scenario() -> None:
        pair = Pair({})
        for channel in (0, 1, 2):
            pair.asker.receive(Header(kind=kind, id=new_id("r"), channel=channel), b"\xc1")
        assert pair.there.passed == []
        await pair.close()

    run(scenario)


@pytest.mark.parametrize("kind", ["reply", "failure"])
def test_a_malformed_answer_fails_its_asker(kind: Any) -> None:
    async def scenario() -> None:
        pair = Pair({})
        pair.there.hold()
        asking = pair.asker.begin(c.StartContainer())
        pair.asker.receive(Header(kind=kind, id=asking.header.id), b"\xc1 not a body")
        with pytest.raises(BadRequest, match="malformed"):
            await asking.reply()
        await pair.close()

    run(scenario)


def test_an_answer_of_another_type_fails_its_asker() -> None:
    async def scenario() -> None:
        pair = Pair({})
        pair.there.hold()
        asking = pair.asker.begin(c.WaitReady())
        pair.asker.receive(Header(kind="reply", id=asking.header.id), encode(Done()))
        with pytest.raises(BadRequest):
            await asking.reply()
        await pair.close()

    run(scenario)


def test_events_are_handed_on() -> None:
    async def scenario() -> None:
        heard: list[Header] = []
        pair = Pair({}, on_event=lambda header, body: heard.append(header))
        pair.answerer.event(s.SessionLost(reason="x"), session="")
        await until(lambda: heard)
        assert (heard[0].kind, heard[0].op) == ("event", "session.lost")
        await pair.close()

    run(scenario)


def test_the_stream_of_an_answered_request_is_over() -> None:
    async def scenario() -> None:
        handlers = Handlers()
        pair = Pair(handlers.table)
        await pair.asker.call(c.StartContainer())
        with pytest.raises(Unavailable, match="has been answered"):
            await handlers.calls[0].stream.read(INPUT)
        await pair.close()

    run(scenario)


def test_a_malformed_request_is_answered() -> None:
    async def scenario() -> None:
        pair = Pair(Handlers().table)
        header = Header(kind="request", id=new_id("r"), op=op_of(c.RunProcess))
        pair.answerer.receive(header, b"\xc1")
        await until(lambda: pair.back.passed)
        assert pair.back.passed[0].kind == "failure"
        assert pair.back.passed[0].id == header.id
        await pair.close()

    run(scenario)
