"""Requests with a stream, from the asker's side: run a process, put and fetch a file. Coroutines of the I/O loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tfcore.errors import TfError
from tfcore.rpc.link import Ongoing
from tfcore.rpc.streams import ERRORS, INPUT, OUTPUT, Stream

Start = Callable[[], Ongoing[Any]]
Sink = Callable[[bytes], None] | None


async def run(start: Start, stdin: bytes, out: Sink, err: Sink) -> tuple[bytes, bytes, int]:
    """Run a process: feed `stdin`, hand its output to the sinks or collect it; (stdout, stderr, exit code)."""
    ongoing = start()
    feeding = asyncio.ensure_future(_feed(ongoing.stream, stdin))
    collecting = asyncio.gather(_collect(ongoing.stream, OUTPUT, out), _collect(ongoing.stream, ERRORS, err))
    try:
        ended = await ongoing.reply()
        stdout, stderr = await collecting
    finally:
        feeding.cancel()
        collecting.cancel()
        await asyncio.gather(feeding, collecting, return_exceptions=True)
    return stdout, stderr, ended.exit_code


async def _feed(stream: Stream, data: bytes | bytearray | memoryview) -> None:
    """Send all of it; a reader that has gone away tells why in its reply."""
    try:
        await stream.write(INPUT, data)
        stream.finish(INPUT)
    except TfError:
        return


async def _collect(stream: Stream, channel: int, sink: Sink) -> bytes:
    collected = bytearray()
    async for chunk in stream.chunks(channel):
        if sink is None:
            collected += chunk
        else:
            sink(bytes(chunk))
    return bytes(collected)


async def put(start: Start, data: bytes | bytearray | memoryview) -> None:
    """Send a file."""
    ongoing = start()
    feeding = asyncio.ensure_future(_feed(ongoing.stream, data))
    try:
        await ongoing.reply()
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def fetch(start: Start) -> bytes:
    """Receive a file."""
    ongoing = start()
    collecting = asyncio.ensure_future(_collect(ongoing.stream, OUTPUT, None))
    try:
        await ongoing.reply()
        return await collecting
    finally:
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)
