"""One peer's end of a conversation: our requests and their answers, their requests and ours, streams, events.

Client, node and location all speak through this class. Knows no sockets (it is handed a `send` and fed what arrives) and
no message's meaning. All of it runs in one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic

from tfcore.errors import BadRequest, DeadlineExceeded, Exhausted, TfError, Unavailable
from tfcore.ids import new_id
from tfcore.rpc.dispatcher import Call, Dispatcher
from tfcore.rpc.streams import INPUT, Stream
from tfcore.wire.header import Header
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
"""Requests of one peer served at the same time; more are refused, retryable."""

REMEMBERED = 512
"""Answers kept so that a replayed request is answered again instead of done again."""

REMEMBERED_BYTES = 4 * 1024 * 1024
"""What those answers may take in memory. Large answers are looks (logs, configs), which may as well be done again."""


class Ongoing(Generic[ReplyT]):
    """A request on its way: its stream now, its reply later."""

    def __init__(self, link: Link, request: Request[ReplyT], header: Header) -> None:
        self._link = link
        self.request = request
        self.header = header
        self.stream = link.stream_for(header)
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

    def settle(self, reply: Reply) -> None:
        """The reply came."""
        if not self._reply.done():
            self._reply.set_result(reply)

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
        self._answers: OrderedDict[tuple[str, str], tuple[Header, bytes]] = OrderedDict()
        self._answers_size = 0

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
            kind="request", id=new_id("r"), op=op_of(request), target=target, session=self.session, timeout=timeout
        )
        ongoing = Ongoing(self, request, header)
        self._calls[header.id] = ongoing
        try:
            self._send(header, encode(request))
        except TfError:
            del self._calls[header.id]
            raise
        return ongoing

    def stream_for(self, header: Header) -> Stream:
        """The stream that belongs to a request, on either side of it."""

        def data(channel: int, at: int, chunk: bytes | memoryview, end: bool) -> None:
            self._send(_part(header, "data", channel=channel, at=at, end=end), chunk)

        def credit(channel: int, at: int) -> None:
            self._send(_part(header, "credit", channel=channel, at=at), b"")

        return Stream(data, credit)

    def forget(self, ongoing: Ongoing[Any]) -> None:
        """The asker has its answer or gave up; in the second case the other side is told to stop."""
        if self._calls.pop(ongoing.header.id, None) is not None and not ongoing.answered:
            try:
                self._send(_part(ongoing.header, "cancel"), b"")
            except TfError as gone:
                log.debug("cannot cancel %s: %s", ongoing.header.op, gone)

    def event(self, event: Event, *, session: str = "") -> None:
        """Tell the peer a fact."""
        self._send(Header(kind="event", id="", op=op_of(event), session=session), encode(event))

    def replay(self) -> None:
        """After a reconnection: ask again what was not answered. Requests are idempotent by id (DESIGN D3).

        A request whose stream is under way cannot be replayed and fails, retryable.
        """
        for ongoing in list(self._calls.values()):
            if ongoing.stream.used:
                ongoing.fail(Unavailable(f"the connection was cut during {ongoing.header.op}", retryable=True))
            else:
                self._send(ongoing.header, encode(ongoing.request))

    def interrupted(self) -> None:
        """The peer came back after a cut: streams of what we serve have a gap and end, retryable.

        The other half of `replay`, which the peer does.
        """
        for _, call in list(self._served.values()):
            if call.stream.used:
                call.stream.abort(Unavailable("the connection was cut in the middle of a stream", retryable=True))

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
                    stream.on_credit(header.channel, header.at)
            case "cancel":
                served = self._served.get((header.session, header.id))
                if served is not None:
                    served[0].cancel()

    def _stream_of(self, header: Header, *, ours: bool) -> Stream | None:
        if ours:
            ongoing = self._calls.get(header.id)
            return ongoing.stream if ongoing else None
        served = self._served.get((header.session, header.id))
        return served[1].stream if served else None

    def _settle(self, header: Header, body: bytes | memoryview) -> None:
        ongoing = self._calls.get(header.id)
        if ongoing is None:
            return  # we gave up on it
        try:
            if header.kind == "failure":
                ongoing.fail(decode(body, Failure).error())
            else:
                ongoing.settle(decode(body, reply_of(type(ongoing.request))))
        except BadRequest as bad:
            ongoing.fail(bad)

    def _serve(self, header: Header, body: bytes | memoryview) -> None:
        key = (header.session, header.id)
        if key in self._served:
            return  # a replay of what is being done
        if key in self._answers:
            self._send(*self._answers[key])
            return
        if len(self._served) >= IN_FLIGHT:
            busy = Exhausted(f"{IN_FLIGHT} requests of this connection are being served already", retryable=True)
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
        )
        task = asyncio.get_running_loop().create_task(self._answer(header, call, body))
        self._served[key] = (task, call)
        task.add_done_callback(lambda _: self._served.pop(key, None))

    async def _answer(self, header: Header, call: Call, body: bytes | memoryview) -> None:
        outcome = await self._dispatcher.answer(call, header.op, body)
        kind = "failure" if isinstance(outcome, Failure) else "reply"
        answer = _part(header, kind, op=op_of(outcome)), encode(outcome)
        self._remember(header, answer)
        call.stream.abort(Unavailable(f"{header.op} has been answered"))
        try:
            self._send(*answer)
        except TfError as gone:
            log.info("nobody to answer %s request=%s to: %s", header.op, header.id, gone)

    def _remember(self, header: Header, answer: tuple[Header, bytes]) -> None:
        self._answers[header.session, header.id] = answer
        self._answers_size += len(answer[1])
        while len(self._answers) > REMEMBERED or self._answers_size > REMEMBERED_BYTES:
            _, (_, body) = self._answers.popitem(last=False)
            self._answers_size -= len(body)

    async def close(self) -> None:
        """Cancel and await everything being served."""
        self.lost(Unavailable("the connection was closed"))
        tasks = [task for task, _ in self._served.values()]
        await asyncio.gather(*tasks, return_exceptions=True)


def _part(of: Header, kind: Any, *, op: str = "", channel: int = 0, at: int = 0, end: bool = False) -> Header:
    """A header of the same conversation as `of`. A target stays on it: the broker routes the asker's parts by it."""
    return Header(kind=kind, id=of.id, op=op, target=of.target, session=of.session, channel=channel, at=at, end=end)


__all__ = ["Link", "Message", "Ongoing"]
