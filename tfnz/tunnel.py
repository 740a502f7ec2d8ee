"""A TCP tunnel: a listening socket here, the container's port there.

On the node's own machine the listening socket is handed to the node's agent (SCM_RIGHTS), so that no byte passes through
this process; otherwise each connection is a stream of the session (DESIGN D12).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from typing import TYPE_CHECKING

from tfcore.errors import BadRequest, TfError, WrongState
from tfcore.rpc.streams import INPUT, OUTPUT, Stream
from tfcore.wire.containers import HandOverTunnel, OpenConnection
from tfnz.arguments import Port

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.portal import Portal

log = logging.getLogger(__name__)

DAY = 86400.0
"""Seconds; how long one connection may last at most."""

PIECE = 256 * 1024
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing resets the connection."""


class Tunnel:
    """Made by `Container.attach_tunnel`.

    Attributes:
        localport: the local port; usable as `tunnel.localport` and `tunnel.localport()`.
        dest_port: the container's.
    """

    def __init__(self, container: Container, dest_port: int, *, localport: int, bind: str) -> None:
        if isinstance(dest_port, bool) or not isinstance(dest_port, int) or not 0 < dest_port < 65536:
            raise BadRequest(f"{dest_port!r} is not a port")
        self.container = container
        self.dest_port = dest_port
        self.bind = bind
        self._listener = _listen(bind, localport)
        self.localport = Port(self._listener.getsockname()[1])
        self._relay: asyncio.Task[None] | None = None
        self._handed: socket.socket | None = None
        self._connections: set[asyncio.Task[None]] = set()
        try:
            self.renew()
        except BaseException:
            self._listener.close()
            raise

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<localport>`."""
        return f"http://{self.bind}:{self.localport:d}"

    @property
    def handed_over(self) -> bool:
        """True if the node's agent serves the listening socket itself."""
        return self._handed is not None

    def renew(self) -> None:
        """Serve the listening socket; after its container was built again, anew."""
        self.container.location._io.call(self._serve())

    async def _serve(self) -> None:
        await self._stop()
        if self.container.location._connection.local and await self._hand_over():
            return
        self._relay = asyncio.get_running_loop().create_task(self._accept())

    async def _hand_over(self) -> bool:
        link = self.container.location._connection.link
        try:
            offer = await link.call(HandOverTunnel(port=self.dest_port), target=self.container.uuid, timeout=10.0)
            self._handed = await asyncio.to_thread(_pass, self._listener, offer.path, offer.ticket)
        except (TfError, OSError) as error:
            log.info("this tunnel goes through the location: %s", error)
            return False
        return True

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        while True:
            client, _ = await loop.sock_accept(self._listener)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(self._connect(client))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _connect(self, client: socket.socket) -> None:
        """One client: a stream of the session. An error on the far side resets it, so that nobody waits."""
        link = self.container.location._connection.link
        with client:
            try:
                ongoing = link.begin(OpenConnection(port=self.dest_port), target=self.container.uuid, timeout=DAY)
                pumps = asyncio.gather(_upwards(client, ongoing.stream), _downwards(ongoing.stream, client))
                try:
                    await ongoing.reply()
                    await pumps
                finally:
                    pumps.cancel()
                    await asyncio.gather(pumps, return_exceptions=True)
            except (TfError, OSError) as error:
                log.debug("a connection of %r ended: %s", self, error)
                with contextlib.suppress(OSError):
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    async def _stop(self) -> None:
        tasks = [task for task in (self._relay, *self._connections) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._relay = None
        if self._handed is not None:
            self._handed.close()
            self._handed = None

    def close_from(self, portal: Portal) -> None:
        """Stop listening and cut the connections; `portal` is the location's, even while it is closing."""
        portal.call(self._stop())
        self._listener.close()

    def __repr__(self) -> str:
        return f"<Tunnel {self.bind}:{self.localport:d} -> {self.container.uuid}:{self.dest_port}>"


def _listen(bind: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        if port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((bind, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise WrongState(
            f"cannot listen on {bind}:{port}: {error.strerror}", hint="leave localport out to have a free one chosen"
        ) from error
    return listener


def _pass(listener: socket.socket, path: str, ticket: str) -> socket.socket:
    """Give the agent the listening socket; the connection returned holds the tunnel open."""
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        agent.settimeout(5)
        agent.connect(path)
        socket.send_fds(agent, [ticket.encode() + b"\n"], [listener.fileno()])
        if agent.recv(3) != b"ok\n":
            raise ConnectionRefusedError("the agent did not take the socket")
    except OSError:
        agent.close()
        raise
    return agent


async def _upwards(client: socket.socket, stream: Stream) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(client, PIECE):
        await stream.write(INPUT, data)
    stream.finish(INPUT)


async def _downwards(stream: Stream, client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    async for chunk in stream.chunks(OUTPUT):
        await loop.sock_sendall(client, chunk)
    client.shutdown(socket.SHUT_WR)
