"""One connection of a tunnel as a stream of the session: half-close is preserved, an error resets the client.

Coroutines of the I/O loop. Knows no tunnels' objects.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import struct

from tfcore.errors import TfError
from tfcore.rpc.streams import INPUT, OUTPUT, Stream
from tfcore.wire.containers import OpenConnection
from tfnz.connection import Connection

log = logging.getLogger(__name__)

DAY = 86400.0
"""Seconds; how long one connection may last at most."""

PIECE = 256 * 1024
"""Bytes read from the client at a time."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER without time: closing resets the connection."""

PAUSE = 0.05
"""Seconds to wait when nothing can be accepted: the machine lacks descriptors or memory."""


class Carrier:
    """Accepts the clients of one listening socket and carries each to a port of a container."""

    def __init__(self, connection: Connection, listener: socket.socket, *, container: str, port: int) -> None:
        self._connection = connection
        self._listener = listener
        self._container = container
        self._port = port
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Until cancelled; then all connections are reset."""
        self._listener.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            while True:
                client = await self._accept()
                task = loop.create_task(self._carry(client))
                self._open.add(task)
                task.add_done_callback(self._open.discard)
        finally:
            await self._reset_all()

    async def _accept(self) -> socket.socket:
        while True:
            try:
                client, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            except OSError as error:
                log.warning("a tunnel cannot accept: %s", error)
                await asyncio.sleep(PAUSE)
            else:
                return client

    async def _reset_all(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, client: socket.socket) -> None:
        with client:
            in_order = False
            try:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await self._pump(client)
                in_order = True
            except* (TfError, OSError) as failures:
                log.debug("a connection to %s:%d ended: %s", self._container, self._port, failures.exceptions)
            finally:
                if not in_order:
                    with contextlib.suppress(OSError):
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    async def _pump(self, client: socket.socket) -> None:
        """Both ways and the far side's answer: whichever fails first ends the others."""
        ongoing = await self._connection.begin(OpenConnection(port=self._port), target=self._container, timeout=DAY)
        try:
            broken = asyncio.Event()
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._connection.reply(ongoing))
                ways.create_task(_upwards(client, ongoing.stream, broken))
                ways.create_task(_downwards(ongoing.stream, client, broken))
        finally:
            ongoing.abandon()


async def _upwards(client: socket.socket, stream: Stream, broken: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(client, PIECE):
        await stream.write(INPUT, data)
    if not broken.is_set():
        stream.finish(INPUT)


async def _downwards(stream: Stream, client: socket.socket, broken: asyncio.Event) -> None:
    """Sets `broken` if the connection is: the kernel tells that once, and reading shows an ordinary end from then on."""
    loop = asyncio.get_running_loop()
    async for chunk in stream.chunks(OUTPUT):
        try:
            await loop.sock_sendall(client, chunk)
        except OSError:
            broken.set()
            raise
    try:
        client.shutdown(socket.SHUT_WR)
    except OSError as error:
        if error.errno != errno.ENOTCONN:  # it has everything, and has gone
            raise
