"""Requests with a stream, from the asker's side: run a process, put and fetch a file. Coroutines of the I/O loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from tfcore.errors import TfError, Unavailable
from tfcore.rpc.link import Ongoing
from tfcore.rpc.streams import ERRORS, INPUT, OUTPUT, Stream
from tfcore.wire.message import Request
from tfnz.connection import Connection

T = TypeVar("T")
Sink = Callable[[bytes], Awaitable[None]] | None

ATTEMPTS = 3
"""How often a file is put or fetched whose stream was torn by a cut: doing it twice is the same as once."""


class Completed(NamedTuple):
    """How a process ended and what it wrote."""

    stdout: bytes
    stderr: bytes
    exit_code: int


class Errand:
    """One request for one object, to be begun in the loop: perhaps more than once."""

    def __init__(self, connection: Connection, request: Request[Any], *, target: str, timeout: float) -> None:
        self._connection = connection
        self._request = request
        self._target = target
        self._timeout = timeout

    async def begin(self) -> Ongoing[Any]:
        """Send it; its stream is ours from now on."""
        return await self._connection.begin(self._request, target=self._target, timeout=self._timeout)

    async def reply(self, ongoing: Ongoing[Any]) -> Any:
        """Its answer."""
        return await self._connection.reply(ongoing)


async def run(errand: Errand, stdin: bytes | AsyncIterator[bytes], out: Sink, err: Sink) -> Completed:
    """Run a process: feed `stdin`, hand its output to the sinks or collect it."""
    ongoing = await errand.begin()
    feeding = asyncio.ensure_future(_feed(ongoing.stream, stdin))
    collecting = asyncio.gather(_collect(ongoing.stream, OUTPUT, out), _collect(ongoing.stream, ERRORS, err))
    try:
        ended = await errand.reply(ongoing)
        stdout, stderr = await collecting
    finally:
        await _end(feeding, collecting)
    return Completed(stdout, stderr, ended.exit_code)


async def put(errand: Errand, data: bytes) -> None:
    """Send a file."""
    await _whole(lambda: _put(errand, data))


async def _put(errand: Errand, data: bytes) -> None:
    ongoing = await errand.begin()
    feeding = asyncio.ensure_future(_feed(ongoing.stream, data))
    try:
        await errand.reply(ongoing)
    finally:
        await _end(feeding)


async def fetch(errand: Errand) -> bytes:
    """Receive a file."""
    return await _whole(lambda: _fetch(errand))


async def _fetch(errand: Errand) -> bytes:
    ongoing = await errand.begin()
    collecting = asyncio.ensure_future(_collect(ongoing.stream, OUTPUT, None))
    try:
        await errand.reply(ongoing)
        return await collecting
    finally:
        await _end(collecting)


async def _whole(work: Callable[[], Awaitable[T]]) -> T:
    """Do it again if a cut has torn its stream (nothing was done then)."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await work()
        except Unavailable as torn:
            if not torn.retryable:
                raise
    return await work()


async def _feed(stream: Stream, data: bytes | AsyncIterator[bytes]) -> None:
    """Send all of it; a reader that has gone away tells why in its reply."""
    try:
        if isinstance(data, bytes):
            await stream.write(INPUT, data)
        else:
            async for chunk in data:
                await stream.write(INPUT, chunk)
        stream.finish(INPUT)
    except TfError:
        return


async def _collect(stream: Stream, channel: int, sink: Sink) -> bytes:
    collected = bytearray()
    async for chunk in stream.chunks(channel):
        if sink is None:
            collected += chunk
        else:
            await sink(bytes(chunk))
    return bytes(collected)


async def _end(*work: asyncio.Future[Any]) -> None:
    for each in work:
        each.cancel()
    await asyncio.gather(*work, return_exceptions=True)
