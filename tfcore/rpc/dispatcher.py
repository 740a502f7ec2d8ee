"""From a request's bytes to a reply or a failure: the only place that looks up, decodes, times out and catches.

Knows no message's meaning and no sockets.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from tfcore.errors import BadRequest, DeadlineExceeded, Internal, TfError
from tfcore.failpoints import failpoint
from tfcore.rpc.streams import Stream
from tfcore.wire.message import Failure, Message, Reply, Request, decode, failure_of, op_of

log = logging.getLogger(__name__)


@dataclass
class Call:
    """One request being served.

    Attributes:
        id: the request's id.
        peer: whose connection it came by; what that is, is between the link's owner and its handlers.
        session, account, target: as stamped by the location.
        timeout: seconds the asker waits.
        stream: its channels: read 0, write 1 and 2.
        cause: the id of the request in whose service this one was asked, if any.
        seen: what a waiting handler last saw; goes into the message if the time runs out.
    """

    id: str
    peer: Any
    session: str
    account: str
    target: str
    timeout: float
    stream: Stream
    seen: str = ""
    cause: str = ""


Handler = Callable[[Call, Any], Awaitable[Reply]]
Handlers = Mapping[type[Request[Any]], Handler]

Observe = Callable[[str, str, float], None]
"""Called after each answer: operation, outcome (`ok` or a failure's code), seconds."""

SERVED: ContextVar[str] = ContextVar("SERVED", default="")
"""The id of the request that this task serves: what it asks of others says so (`Header.cause`)."""

UNKNOWN = "unknown"
"""Stands for every operation that is none: whoever counts must not count a stranger's words."""

DEFAULT_TIMEOUT = 60.0
"""Seconds a request may take if its asker does not say."""


class Dispatcher:
    """Answers requests from a table of handlers."""

    def __init__(self, handlers: Handlers, *, observe: Observe | None = None) -> None:
        self._observe = observe
        self._by_op = {op_of(cls): (cls, handler) for cls, handler in handlers.items()}

    async def answer(self, call: Call, op: str, body: bytes | memoryview) -> Message:
        """The reply, or the failure, to one request. Never raises but for cancellation."""
        start = time.monotonic()
        SERVED.set(call.id)  # a request has a task of its own
        outcome = await self._outcome(call, op, body)
        # Written after the asker has its answer: the loop comes to it when nobody waits for us.
        asyncio.get_running_loop().call_soon(self._tell, call, op, time.monotonic() - start, outcome)
        return outcome

    def _tell(self, call: Call, op: str, seconds: float, outcome: Message) -> None:
        """One line per request."""
        said = outcome.code if isinstance(outcome, Failure) else "ok"
        op = op if op in self._by_op else UNKNOWN
        if self._observe is not None:
            self._observe(op, said, seconds)
        log.info(
            "%s request=%s%s session=%s account=%s target=%s seconds=%.4f outcome=%s",
            op, call.id, f" cause={call.cause}" if call.cause else "", call.session, call.account, call.target,
            seconds, said,
        )  # fmt: skip

    async def _outcome(self, call: Call, op: str, body: bytes | memoryview) -> Message:
        try:
            return await self._run(call, op, body)
        except TfError as error:
            return failure_of(error)
        except Exception:
            log.exception("%s request=%s failed", op, call.id)
            return failure_of(Internal(f"{op} failed by a defect; the log has it under {call.id}"))

    async def _run(self, call: Call, op: str, body: bytes | memoryview) -> Reply:
        known = self._by_op.get(op)
        if known is None:
            raise BadRequest(f"unknown operation {op[:80]!r}", hint="the other side speaks a newer protocol")
        cls, handler = known
        message: Request[Any] = decode(body, cls)
        seconds = call.timeout or DEFAULT_TIMEOUT
        try:
            async with asyncio.timeout(seconds) as limit:
                failpoint(f"answer.{op}")
                return await handler(call, message)
        except TimeoutError as late:
            if not limit.expired():
                raise
            seen = f"; last seen: {call.seen}" if call.seen else ""
            raise DeadlineExceeded(f"{op} was not done within {seconds:g} s{seen}", retryable=True) from late
