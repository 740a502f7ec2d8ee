"""A container's main process, listened to and spoken to by its owner."""

from __future__ import annotations

import asyncio
import contextlib

from tfcore.errors import TfError
from tfcore.rpc.dispatcher import Call
from tfcore.rpc.streams import ERRORS, INPUT, OUTPUT
from tfcore.wire.containers import GetLogs, LogsFound, ProcessEnded
from tfcore.wire.message import Done
from tfcore.wire.processes import PIECE, AttachContainer, FeedContainer
from tfnode.containers.container import Container
from tfnode.containers.endings import watching, why_down
from tfnode.containers.follower import Follower
from tfnode.containers.standing import DOWN, State
from tfnode.handlers.containers import owned
from tfnode.runtime.log import Record, Stream


async def attach_container(call: Call, msg: AttachContainer) -> ProcessEnded:
    """Its output on the call's channels, and the call's input to it."""
    container = owned(call)
    feeding = asyncio.ensure_future(_feed(call, container)) if msg.speak else None
    try:
        with container.output.followed(msg.since, patient=True) as follower:
            await _listen(call, container, follower, stay=msg.stay)
    finally:
        if feeding is not None:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
    call.stream.finish(OUTPUT)
    call.stream.finish(ERRORS)
    code = container.standing.exit_code
    return ProcessEnded(exit_code=-1 if code is None else code, reason=_reason(container))


async def _listen(call: Call, container: Container, follower: Follower, *, stay: bool) -> None:
    over = {State.GONE} if stay else {State.GONE, *DOWN}
    with watching(container, follower.news):
        while True:
            while records := follower.take():
                await _send(call, records)
            if container.state in over:
                return
            await follower.news.wait()


async def _send(call: Call, records: tuple[Record, ...]) -> None:
    for record in records:
        await call.stream.write(OUTPUT if record.stream is Stream.STDOUT else ERRORS, record.data)


def _reason(container: Container) -> str:
    return "it was destroyed" if container.state is State.GONE else why_down(container)


async def _feed(call: Call, container: Container) -> None:
    """What is said while it boots waits until it has; what nobody reads any more is no error."""
    with contextlib.suppress(TfError):
        async for chunk in call.stream.chunks(INPUT):
            for at in range(0, len(chunk), PIECE):
                await _hand(container, chunk[at : at + PIECE], end=False)
        await _hand(container, b"", end=True)


async def feed_container(call: Call, msg: FeedContainer) -> Done:
    """Some bytes for its stdin."""
    await _hand(owned(call), msg.data, end=msg.end)
    return Done()


async def _hand(container: Container, data: bytes | memoryview, *, end: bool) -> None:
    generation = await container.booted()
    with container.traces.touched("its stdin"):
        await container.output.feed(generation.number, data, end=end)


async def get_logs(call: Call, msg: GetLogs) -> LogsFound:
    """Its output from a record on; if there is none yet, after a while perhaps."""
    container = owned(call)
    found = _page(container, msg.since)
    if not msg.wait or found.records or found.ended or found.next < msg.since:
        return found
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(msg.wait):
            await _more(container, msg.since)
    return _page(container, msg.since)


async def _more(container: Container, since: int) -> None:
    """Wait until there is a record, or nothing runs that could write one."""
    with container.output.followed(since, patient=False) as follower, watching(container, follower.news):
        while not (follower.take() or container.state in {*DOWN, State.GONE}):
            await follower.news.wait()


def _page(container: Container, since: int) -> LogsFound:
    return container.output.page(since, ended=container.state in {*DOWN, State.GONE})
