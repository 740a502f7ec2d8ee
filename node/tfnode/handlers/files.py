"""Files in containers, asked for by their owner: through the container's root, without a process in it (DESIGN D12)."""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Iterator

from tfcore.errors import WrongState
from tfcore.rpc.dispatcher import Call
from tfcore.rpc.streams import INPUT, OUTPUT
from tfcore.wire.containers import FetchFile, FileFetched, PutFile
from tfcore.wire.message import Done
from tfnode.containers.files import fetch, put
from tfnode.containers.life import Generation
from tfnode.handlers.containers import owned
from tfnode.kernel.paths import open_process_root

Pieces = queue.Queue[bytes | BaseException | None]
"""None ends the file; an error instead of it means that the rest will not come."""

AHEAD = 8
"""Pieces between the event loop and the thread at the disk."""


async def put_file(call: Call, msg: PutFile) -> Done:
    """Write a file: all of it appears at once."""
    container = owned(call)
    generation = await container.booted()
    with container.traces.touched(f"a file: {msg.path}"):
        await _put(call, generation, msg)
    return Done()


async def _put(call: Call, generation: Generation, msg: PutFile) -> None:
    pieces: Pieces = queue.Queue(AHEAD)
    writing = call.peer.work(_write, call, generation.pid, msg, _from(pieces))
    last: BaseException | None = WrongState("the file did not arrive as a whole")
    try:
        async for chunk in call.stream.chunks(INPUT):
            await call.peer.work(pieces.put, bytes(chunk))
        last = None
    finally:
        await call.peer.work(pieces.put, last)
    await writing


def _write(call: Call, pid: int, msg: PutFile, pieces: Iterator[bytes]) -> None:
    root = open_process_root(pid)
    try:
        put(root, msg.path, pieces, ids=call.peer.ids, mode=msg.mode)
    finally:
        os.close(root)
        with contextlib.suppress(WrongState):
            for _ in pieces:  # whoever hands them in must not wait for ever if writing failed
                pass


def _from(pieces: Pieces) -> Iterator[bytes]:
    while (piece := pieces.get()) is not None:
        if isinstance(piece, BaseException):
            raise piece
        yield piece


async def fetch_file(call: Call, msg: FetchFile) -> FileFetched:
    """Send a file."""
    generation = await owned(call).booted()
    root = await call.peer.work(open_process_root, generation.pid)
    try:
        size, pieces = await call.peer.work(fetch, root, msg.path)
        while piece := await call.peer.work(next, pieces, b""):
            await call.stream.write(OUTPUT, piece)
        call.stream.finish(OUTPUT)
    finally:
        os.close(root)
    return FileFetched(size=size)
