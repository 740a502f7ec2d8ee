"""Pipes in the event loop: read and write descriptors without blocking it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from tfnode.runtime import console

PIECE = 64 * 1024


async def readable(fd: int) -> None:
    """Wait until `fd` can be read."""
    loop = asyncio.get_running_loop()
    await _wait(fd, loop.add_reader, loop.remove_reader)


async def writable(fd: int) -> None:
    """Wait until `fd` can be written."""
    loop = asyncio.get_running_loop()
    await _wait(fd, loop.add_writer, loop.remove_writer)


async def _wait(fd: int, add: Callable[..., object], remove: Callable[[int], object]) -> None:
    ready = asyncio.Event()
    add(fd, ready.set)
    try:
        await ready.wait()
    finally:
        remove(fd)


async def read(fd: int) -> bytes:
    """The next piece of a non-blocking descriptor; b"" at its end."""
    while True:
        try:
            return console.read(fd, PIECE)
        except BlockingIOError:
            await readable(fd)


async def write(fd: int, data: bytes | memoryview) -> None:
    """All of `data`.

    Raises:
        BrokenPipeError: nobody reads any more.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            await writable(fd)
