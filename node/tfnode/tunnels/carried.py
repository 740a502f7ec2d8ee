"""A connection of a remote client, carried as a stream: channel 0 to the container, channel 1 from it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from tfcore.errors import TfError, Unavailable
from tfcore.rpc.streams import INPUT, OUTPUT, Stream
from tfnode.tunnels.callers import Callers

T = TypeVar("T")

PIECE = 256 * 1024
"""Bytes read from the container at a time."""

CONNECT_TIMEOUT = 10.0
"""Seconds; a refusal comes at once, only a frozen container makes us wait."""

RESET = struct.pack("ii", 1, 0)


class Carried:
    """What is open into containers, by owner, so that it can be reset together: connections, and all else that must not
    outlive a container's generation.

    Attributes:
        callers: connections from inside that nobody has taken yet.
    """

    def __init__(self) -> None:
        self.callers = Callers()
        self._open: dict[asyncio.Task[Any], tuple[str, Stream | None]] = {}

    async def carry(self, stream: Stream, *, owner: str, address: str, port: int) -> None:
        """Connect and pump until both directions have ended.

        Raises:
            Unavailable: nobody listens, or the connection was reset; the client's end is to be reset as well.
        """
        what = f"connection to {address}:{port}"
        await self.tie(owner, _carry(stream, address, port), what=what, stream=stream)

    async def tie(self, owner: str, work: Coroutine[Any, Any, T], *, what: str, stream: Stream | None = None) -> T:
        """Do something that ends, at the latest, when `owner` is reset.

        Args:
            what: a word for it in messages.
            stream: what its client says; see `carries`.

        Raises:
            Unavailable: it was reset, or the kernel refused. Whatever `work` raises.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._open[task] = owner, stream
        try:
            return await task
        except OSError as error:
            if isinstance(error, TfError):
                raise
            words = os.strerror(error.errno) if error.errno else str(error)  # asyncio's own are about itself
            raise Unavailable(f"{what}: {words}") from error
        except asyncio.CancelledError:
            if task.cancelled() and not _cancelled_from_outside():
                raise Unavailable(f"{what} was reset") from None
            raise
        finally:
            task.cancel()
            self._open.pop(task, None)

    def reset(self, owner: str) -> int:
        """Reset what is open into `owner`; returns how much that was."""
        mine = [task for task, (served, _) in self._open.items() if served == owner]
        for task in mine:
            task.cancel()
        return len(mine)

    def carries(self, owner: str) -> bool:
        """True if a client of `owner` has said something that the container has not been told yet."""
        return any(
            stream.waits(INPUT) for served, stream in self._open.values() if served == owner and stream is not None
        )


def _cancelled_from_outside() -> bool:
    """True if whoever called `carry` is being cancelled, rather than the connection it waits for."""
    me = asyncio.current_task()
    return me is not None and me.cancelling() > 0


async def _carry(stream: Stream, address: str, port: int) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    with resetting(server):
        await connect(server, address, port)
        await pump(stream, server)


@contextlib.contextmanager
def resetting(sock: socket.socket) -> Iterator[None]:
    """Closes the socket after the block; if that ends with an error, the other side gets a reset."""
    with sock:
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            raise


async def pump(stream: Stream, server: socket.socket) -> None:
    """Pass bytes on between a stream and a connected socket, both ways, until both have ended.

    Raises:
        OSError: the connection broke. TfError: the stream did.
    """
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    broken = asyncio.Event()
    await _both(_upwards(stream, server, broken), _downwards(server, stream, broken))


async def connect(server: socket.socket, address: str, port: int) -> None:
    """Connect a socket that does not block.

    Raises:
        OSError: refused. Unavailable: not accepted in time.
    """
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await asyncio.get_running_loop().sock_connect(server, (address, port))
    except TimeoutError as late:
        raise Unavailable(f"connection to {address}:{port} was not accepted within {CONNECT_TIMEOUT:g} s") from late


async def _both(*ways: Coroutine[None, None, None]) -> None:
    """Both directions; the first error ends the other one and is raised as it is."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _upwards(stream: Stream, server: socket.socket, broken: asyncio.Event) -> None:
    """Sets `broken` if the connection is: the kernel tells that once, and reading shows an ordinary end from then on."""
    loop = asyncio.get_running_loop()
    async for chunk in stream.chunks(INPUT):
        try:
            await loop.sock_sendall(server, chunk)
        except OSError:
            broken.set()
            raise
    try:
        server.shutdown(socket.SHUT_WR)
    except OSError as error:
        if error.errno != errno.ENOTCONN:  # it has everything, and has gone
            raise


async def _downwards(server: socket.socket, stream: Stream, broken: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(server, PIECE):
        await stream.write(OUTPUT, data)
    if not broken.is_set():
        stream.finish(OUTPUT)
