"""Files in containers, asked for by their owner: through the container's root, without a process in it (DESIGN D12).

No driver thread is held while a client is waited for: there are few, and all containers share them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from tfcore.errors import Unavailable
from tfcore.rpc.dispatcher import Call
from tfcore.rpc.streams import INPUT, OUTPUT
from tfcore.wire import files as wire
from tfcore.wire.containers import FetchFile, FileFetched, PutFile
from tfcore.wire.message import Done
from tfnode.containers.files import Arriving, fetch
from tfnode.containers.filestreams import Count, archive, unpack
from tfnode.containers.life import Generation
from tfnode.handlers.containers import owned
from tfnode.handlers.feeding import Feed, in_own_thread
from tfnode.kernel.paths import open_process_root

T = TypeVar("T")


@asynccontextmanager
async def root_of(call: Call, generation: Generation) -> AsyncIterator[int]:
    """The root of a container, as its processes see it, for the length of a block.

    Raises:
        ContainerDied: it has just ended. Unavailable: it is being booted anew.
    """
    try:
        root = await obtained(call.peer.work(open_process_root, generation.pid), os.close)
    except (FileNotFoundError, ProcessLookupError) as gone:
        owned(call).running()
        raise Unavailable(
            f"container {call.target} is being booted anew", hint="do it once more", retryable=True
        ) from gone
    try:
        yield root
    finally:
        os.close(root)


async def obtained(making: asyncio.Future[T], let_go: Callable[[T], object]) -> T:
    """What is being made in a thread; if its asker gives up meanwhile, it is let go of when it is there."""

    def forget(made: asyncio.Future[T]) -> None:
        if not made.cancelled() and made.exception() is None:
            let_go(made.result())

    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(forget)
        raise


async def put_file(call: Call, msg: PutFile) -> Done:
    """Write a file: all of it appears at once."""
    container = owned(call)
    generation = await container.booted()
    with container.traces.touched(f"a file: {msg.path}"):
        async with root_of(call, generation) as root:
            beginning = call.peer.work(lambda: Arriving(root, msg.path, ids=call.peer.ids, mode=msg.mode))
            arriving = await obtained(beginning, Arriving.discard)
        try:
            async for chunk in call.stream.chunks(INPUT):
                await call.peer.work(arriving.write, chunk)
            await asyncio.shield(call.peer.work(arriving.finish))
        finally:
            await call.peer.work(arriving.discard)
    return Done()


async def fetch_file(call: Call, msg: FetchFile) -> FileFetched:
    """Send a file."""
    generation = await owned(call).booted()
    async with root_of(call, generation) as root:
        size, pieces = await call.peer.work(fetch, root, msg.path)
        while piece := await call.peer.work(next, pieces, b""):
            await call.stream.write(OUTPUT, piece)
        call.stream.finish(OUTPUT)
    return FileFetched(size=size)


async def fetch_tree(call: Call, msg: wire.FetchTree) -> wire.TreeMoved:
    """Send a directory as a tar archive."""
    container = owned(call)
    generation = await container.booted()
    sending = _send_tree(call, generation, os.fsdecode(msg.path))
    moved: wire.TreeMoved = await call.peer.carried.tie(container.id, sending, what="fetching a directory")
    return moved


async def _send_tree(call: Call, generation: Generation, path: str) -> wire.TreeMoved:
    count = Count()
    async with root_of(call, generation) as root:
        pieces = await call.peer.work(lambda: archive(root, path, ids=call.peer.ids, count=count))
        try:
            while piece := await call.peer.work(next, pieces, b""):
                await call.stream.write(OUTPUT, piece)
        finally:
            await call.peer.work(pieces.close)
        call.stream.finish(OUTPUT)
    return wire.TreeMoved(entries=count.entries, size=count.size)


async def put_tree(call: Call, msg: wire.PutTree) -> wire.TreeMoved:
    """Unpack a tar archive into a directory."""
    container = owned(call)
    generation = await container.booted()
    with container.traces.touched(f"files below {os.fsdecode(msg.path)!r}"):
        taking = _take_tree(call, generation, msg)
        moved: wire.TreeMoved = await call.peer.carried.tie(container.id, taking, what="unpacking into a container")
        return moved


async def _take_tree(call: Call, generation: Generation, msg: wire.PutTree) -> wire.TreeMoved:
    count = Count()
    feed = Feed(asyncio.get_running_loop())
    path, ids = os.fsdecode(msg.path), call.peer.ids
    async with root_of(call, generation) as root:
        unpacking = in_own_thread(lambda: unpack(root, path, feed.pieces(), ids=ids, owners=msg.owners, count=count))
        unpacking.add_done_callback(lambda _: feed.unwanted())
        try:
            async for chunk in call.stream.chunks(INPUT):
                await feed.put(bytes(chunk))
                if unpacking.done():  # too early: it has failed
                    break
            feed.end()
            await asyncio.shield(unpacking)
        finally:
            feed.tear()
            await asyncio.wait([unpacking])
            unpacking.exception()
    return wire.TreeMoved(entries=count.entries, size=count.size)
