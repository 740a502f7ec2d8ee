"""One peer's end of a conversation: our requests and their answers, their requests and ours, streams, events.

Client, node and location all speak through this class. After a cut the asker asks again (`replay`), by the same ids: what
is being done is not begun once more, what was done is answered once more, and streams go on where they were (DESIGN D3).
Knows no sockets (it is handed a `send` and fed what arrives) and no message's meaning. All of it runs in one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Generic

from msgspec.structs import replace

from tfcore.errors import BadRequest, DeadlineExceeded, Exhausted, TfError, Unavailable
from tfcore.ids import new_id
from tfcore.rpc.answers import Answer, Answers
from tfcore.rpc.dispatcher import SERVED, Call, Dispatcher
from tfcore.rpc.streams import INPUT, Stream
from tfcore.wire.header import Header, shown
from tfcore.wire.message import (
    Event,
    Failure,
    Message,
    Reply,
    ReplyT,
    Request,
    decode,
    encode,
    failure_of,
    op_of,
    reply_of,
)

log = logging.getLogger(__name__)

Send = Callable[[Header, bytes | memoryview], None]
OnEvent = Callable[[Header, bytes | memoryview], None]

GRACE = 3.0
"""Seconds beyond a call's timeout that we wait for the other side to say what it last saw."""

IN_FLIGHT = 1000
"""Requests of one session served at the same time; more are refused, retryable. A node hears all sessions by one link, and
none of them may use up what others need."""

SESSIONS = 20
"""How many sessions' worth of requests are served at the same time."""

IN_VAIN = 5
"""How often an answer is asked for once more, in a row, if parts of its stream are missing and do not come."""


class Ongoing(Generic[ReplyT]):
    """A request on its way: its stream now, its reply later."""

    def __init__(self, link: Link, request: Request[ReplyT], header: Header) -> None:
        self._link = link
        self.request = request
        self.header = header
        self.stream = link.stream_for(header, self._torn)
        self._missing = (-1, 0)
        self._reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    async def reply(self, *, grace: float = GRACE) -> ReplyT:
        """The answer.

        Args:
            grace: seconds to wait for it beyond the request's timeout, which the other side keeps.

        Raises:
            TfError: the failure the other side sent; `DeadlineExceeded` if nothing came in time; `Unavailable` if the
                connection was given up.
        """
        seconds = self.header.timeout + grace
        try:
            async with asyncio.timeout(seconds) as limit:
                return await self._reply  # type: ignore[return-value]
        except TimeoutError as late:
            if not limit.expired():
                raise
            raise DeadlineExceeded(f"no answer to {self.header.op} within {seconds:g} s", retryable=True) from late
        finally:
            self._link.forget(self)

    @property
    def answered(self) -> bool:
        """True once the reply or failure has come. (An asker that is cancelled cancels the future it waits for.)"""
        return self._reply.done() and not self._reply.cancelled()

    def abandon(self) -> None:
        """Give up on it without waiting: the other side is told to stop."""
        self._link.forget(self)

    def settle(self, reply: Reply, *, streamed: int) -> None:
        """The reply came, after `streamed` (as `Stream.sent`). What a cut has swallowed of that is asked for first."""
        if self.stream.received < streamed:
            self._miss(self.stream.received)
        elif not self._reply.done():
            self._reply.set_result(reply)

    def _miss(self, received: int) -> None:
        before, times = self._missing
        self._missing = received, times + 1 if received == before else 1
        if self._missing[1] <= IN_VAIN:
            self._link.ask_again(self)
        else:
            self._torn(Unavailable("parts of what it sent were lost"))

    def _torn(self, error: TfError) -> None:
        """Bytes of the stream are lost and cannot be had again: nobody need wait for the answer."""
        self.abandon()
        self.fail(
            Unavailable(
                f"the connection was cut during {self.header.op}, which cannot go on: {error.message}",
                hint="do it once more",
                retryable=True,
            )
        )

    def fail(self, error: TfError) -> None:
        """The failure came, or the connection is lost for good."""
        self.stream.abort(error)
        if not self._reply.done():
            self._reply.set_exception(error)
            self._reply.exception()  # an asker that has gone away need not collect it


class Link:
    """A conversation with one peer."""

    def __init__(
        self, send: Send, *, dispatcher: Dispatcher, on_event: OnEvent, peer: Any = None, session: str = ""
    ) -> None:
        self._send = send
        self._dispatcher = dispatcher
        self._on_event = on_event
        self._peer = peer
        self.session = session
        self._calls: dict[str, Ongoing[Any]] = {}
        self._served: dict[tuple[str, str], tuple[asyncio.Task[None], Call]] = {}
        self._busy: Counter[str] = Counter()
        self._answers = Answers()
        self._cancelled: deque[Header] = deque(maxlen=IN_FLIGHT)

    # our requests

    async def call(self, request: Request[ReplyT], *, target: str = "", timeout: float = 30.0) -> ReplyT:
        """Ask and wait for the answer; errors as `Ongoing.reply`."""
        return await self.begin(request, target=target, timeout=timeout).reply()

    def begin(self, request: Request[ReplyT], *, target: str = "", timeout: float = 30.0) -> Ongoing[ReplyT]:
        """Ask, and get hold of the stream. `reply()` must be awaited in the end.

        Raises:
            Unavailable: the connection takes no more messages.
        """
        header = Header(
            kind="request", id=new_id("r"), op=op_of(request), target=target, session=self.session, timeout=timeout,
            cause=SERVED.get(),
        )  # fmt: skip
        ongoing = Ongoing(self, request, header)
        self._calls[header.id] = ongoing
        try:
            self._send(header, encode(request))
        except TfError:
            del self._calls[header.id]
            raise
        return ongoing

    def stream_for(self, header: Header, on_torn: Callable[[TfError], None] = lambda _: None) -> Stream:
        """The stream that belongs to a request, on either side of it."""

        def data(channel: int, at: int, chunk: bytes | memoryview, end: bool) -> None:
            self._send(_part(header, "data", channel=channel, at=at, end=end), chunk)

        def credit(channel: int, at: int, again: bool) -> None:
            self._try_to_send(_part(header, "credit", channel=channel, at=at, again=again))

        return Stream(data, credit, on_torn)

    def forget(self, ongoing: Ongoing[Any]) -> None:
        """The asker has its answer or gave up; in the second case the other side is told to stop."""
        if self._calls.pop(ongoing.header.id, None) is not None and not ongoing.answered:
            cancel = _part(ongoing.header, "cancel")
            self._cancelled.append(cancel)
            self._try_to_send(cancel)

    def _try_to_send(self, header: Header) -> None:
        """What need not arrive: it is said again after a cut."""
        try:
            self._send(header, b"")
        except TfError as gone:
            log.debug("no %s of %s now: %s", header.kind, header.id, gone)

    def event(self, event: Event, *, session: str = "") -> None:
        """Tell the peer a fact."""
        self._send(Header(kind="event", id="", op=op_of(event), session=session), encode(event))

    def replay(self) -> None:
        """After a reconnection: ask again what was not answered, and cancel again what was given up lately.

        Requests are idempotent by id (DESIGN D3).
        """
        for header in self._cancelled:
            self._try_to_send(header)
        for ongoing in list(self._calls.values()):
            self.ask_again(ongoing)

    def ask_again(self, ongoing: Ongoing[Any]) -> None:
        """Ask once more by the same id; the other side says where it is, and both send again what the other lacks."""
        ongoing.stream.tell_all()
        try:
            self._send(replace(ongoing.header, again=True), encode(ongoing.request))
        except TfError as error:
            ongoing.fail(error)

    def lost(self, error: TfError) -> None:
        """The peer is gone for good: everything under way fails with `error`."""
        for ongoing in list(self._calls.values()):
            ongoing.fail(error)
        self._calls.clear()
        for task, call in list(self._served.values()):
            call.stream.abort(error)
            task.cancel()

    def end_session(self, session: str) -> None:
        """Stop serving everything of `session`."""
        for (owner, _), (task, call) in list(self._served.items()):
            if owner == session:
                call.stream.abort(Unavailable("the session has ended"))
                task.cancel()

    # what arrives

    def receive(self, header: Header, body: bytes | memoryview) -> None:
        """Feed one message.

        Raises:
            BadRequest: the message makes no sense here; the connection's owner decides what to do about it.
        """
        match header.kind:
            case "request":
                self._serve(header, body)
            case "reply" | "failure":
                self._settle(header, body)
            case "event":
                self._on_event(header, body)
            case "data":
                stream = self._stream_of(header, ours=header.channel != INPUT)
                if stream is not None:
                    stream.on_data(header.channel, header.at, body, header.end)
            case "credit":
                stream = self._stream_of(header, ours=header.channel == INPUT)
                if stream is not None:
                    stream.on_credit(header.channel, header.at, header.again)
            case "cancel":
                served = self._served.get((header.session, header.id))
                if served is not None:
                    served[0].cancel()

    def _stream_of(self, header: Header, *, ours: bool) -> Stream | None:
        if ours:
            ongoing = self._calls.get(header.id)
            return ongoing.stream if ongoing else None
        key = header.session, header.id
        if key in self._served:
            return self._served[key][1].stream
        answer = self._answers.get(key)
        return answer.stream if answer else None

    def _settle(self, header: Header, body: bytes | memoryview) -> None:
        ongoing = self._calls.get(header.id)
        if ongoing is None:
            return  # we gave up on it
        try:
            if header.kind == "failure":
                ongoing.fail(decode(body, Failure).error())
            else:
                ongoing.settle(decode(body, reply_of(type(ongoing.request))), streamed=header.at)
        except BadRequest as bad:
            ongoing.fail(bad)

    def _serve(self, header: Header, body: bytes | memoryview) -> None:
        key = (header.session, header.id)
        answer = self._answers.get(key)
        if answer is not None:
            self._answer_again(header, answer)
            return
        if key in self._served:
            self._served[key][1].stream.go_on()
            return
        if self._busy[header.session] >= IN_FLIGHT or len(self._served) >= IN_FLIGHT * SESSIONS:
            busy = Exhausted(f"{self._busy[header.session]} requests are being served already", retryable=True)
            self._send(_part(header, "failure", op=op_of(Failure)), encode(failure_of(busy)))
            return
        call = Call(
            id=header.id,
            peer=self._peer,
            session=header.session,
            account=header.account,
            target=header.target,
            timeout=header.timeout,
            stream=self.stream_for(header),
            cause=header.cause,
        )
        task = asyncio.get_running_loop().create_task(self._answer(header, call, body))
        self._served[key] = (task, call)
        self._busy[header.session] += 1
        task.add_done_callback(lambda _: self._done(key))
        if header.again:
            call.stream.go_on()  # its first asking was lost, and what came after it

    def _done(self, key: tuple[str, str]) -> None:
        self._served.pop(key, None)
        self._busy[key[0]] -= 1
        if not self._busy[key[0]]:
            del self._busy[key[0]]

    async def _answer(self, header: Header, call: Call, body: bytes | memoryview) -> None:
        outcome = await self._dispatcher.answer(call, header.op, body)
        kind = "failure" if isinstance(outcome, Failure) else "reply"
        answer = _part(header, kind, op=op_of(outcome), at=call.stream.sent)
        body = encode(outcome)
        # Most requests stream nothing: what has nothing to send again is not kept with its answer, of which there are many.
        stream = call.stream if kind == "reply" and call.stream.sent else None
        self._answers.remember((header.session, header.id), answer, body, stream)
        call.stream.close(Unavailable(f"{header.op} has been answered"))
        try:
            self._send(answer, body)
        except TfError as gone:
            log.info("nobody to answer %s request=%s to: %s", shown(header), header.id, gone)

    def _answer_again(self, header: Header, answer: Answer) -> None:
        if answer.torn:
            torn = Unavailable(
                f"{header.op} was done while the connection was cut, and wrote more than is kept for its asker",
                hint="do it once more if twice is harmless, or let it write into a file",
                retryable=True,
            )
            self._send(replace(answer.header, kind="failure", op=op_of(Failure)), encode(failure_of(torn)))
            return
        if answer.stream is not None:
            answer.stream.go_on()
        self._send(answer.header, answer.body)

    async def close(self) -> None:
        """Cancel and await everything being served."""
        self.lost(Unavailable("the connection was closed"))
        tasks = [task for task, _ in self._served.values()]
        await asyncio.gather(*tasks, return_exceptions=True)


def _part(of: Header, kind: Any, **fields: Any) -> Header:
    """A header of the same conversation as `of`. A target stays on it: the broker routes the asker's parts by it."""
    return Header(kind=kind, id=of.id, target=of.target, session=of.session, **fields)


__all__ = ["Link", "Message", "Ongoing"]
