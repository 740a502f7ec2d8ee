"""A TCP tunnel: a listening socket here, the container's port there.

On the node's own machine the listening socket is handed to the node's agent, so that no byte passes through this process;
otherwise each connection is a stream of the session (DESIGN D12).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import TYPE_CHECKING

from tfcore.errors import BadRequest, TfError, WrongState
from tfnz import arguments, handover
from tfnz.carrying import Carrier
from tfnz.forks import close_in_children

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.portal import Portal

log = logging.getLogger(__name__)

BACKLOG = 1024
"""Clients the kernel keeps for us until they are accepted."""

_ANY = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
"""Addresses to listen on that are none to connect to."""


class Tunnel:
    """Made by `Container.attach_tunnel`.

    Attributes:
        localport: the local port, as in gen 1. It is a plain int and not callable as in gen 2: drivers and
            `socket.create_connection` accept nothing else, not even an int that can do more.
        dest_port: the container's.
    """

    def __init__(self, container: Container, dest_port: int, *, localport: int, bind: str) -> None:
        self.container = container
        self.dest_port = arguments.port(dest_port)
        self.bind = bind
        self._listener = _listen(bind, localport)
        self.localport: int = self._listener.getsockname()[1]
        self._serving: asyncio.Task[None] | None = None
        self._handed: socket.socket | None = None
        try:
            self.renew()
        except BaseException:
            self._listener.close()
            raise

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<localport>`."""
        host = _ANY.get(self.bind, self.bind)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.localport}"

    @property
    def handed_over(self) -> bool:
        """True if the node's agent serves the listening socket itself."""
        return self._handed is not None

    def renew(self) -> None:
        """Serve the listening socket; after its container was built again, anew."""
        self.container.location._io.call(self._serve())

    async def _serve(self) -> None:
        await self._stop()
        if self.container.location._connection.local:
            await self._hand_over()
        self._serving = asyncio.get_running_loop().create_task(self._keep_serving())

    async def _hand_over(self) -> None:
        connection = self.container.location._connection
        try:
            self._handed = await handover.hand_over(
                connection, self._listener, container=self.container.uuid, port=self.dest_port
            )
        except (TfError, OSError) as error:
            log.info("%r goes through the location: %s", self, error)

    async def _keep_serving(self) -> None:
        """If an agent that serves the socket lets go of it, because it died or the container has gone, nobody accepts its
        clients any more: they come here then, and are carried or reset, but never hang."""
        if self._handed is not None:
            await handover.ended(self._handed)
            self._handed.close()
            self._handed = None
        connection = self.container.location._connection
        await Carrier(connection, self._listener, container=self.container.uuid, port=self.dest_port).serve()

    async def _stop(self) -> None:
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
            self._serving = None
        if self._handed is not None:
            handed, self._handed = self._handed, None
            await handover.take_back(handed)

    def close_from(self, portal: Portal | None) -> None:
        """Stop listening and cut the connections; `portal` is the location's, even while that is closing."""
        try:
            if portal is not None:
                portal.call(self._stop())
        finally:
            self._listener.close()

    def __repr__(self) -> str:
        return f"<Tunnel {self.bind}:{self.localport} -> {self.container.uuid}:{self.dest_port}>"


class Tunnels:
    """The tunnels of one container."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._open: list[Tunnel] = []
        self._lock = threading.Lock()
        self._finding = threading.Lock()

    def attach(self, dest_port: int, localport: int | None, bind: str) -> Tunnel:
        """A new one; see `Container.attach_tunnel`."""
        wanted = 0 if localport is None else arguments.port(localport)
        tunnel = Tunnel(self._container, dest_port, localport=wanted, bind=bind)
        with self._lock:
            self._open.append(tunnel)
        log.info("Created tunnel object onto: %s (%d -> %d)", self._container.uuid, tunnel.localport, dest_port)
        return tunnel

    def onto(self, dest_port: int) -> Tunnel:
        """The first one onto a port, attached if there is none."""
        with self._finding:  # two threads at once shall get the same one
            found = next((tunnel for tunnel in self.all() if tunnel.dest_port == dest_port), None)
            return found or self.attach(dest_port, None, "127.0.0.1")

    def all(self) -> list[Tunnel]:
        """Those that are open."""
        with self._lock:
            return list(self._open)

    def destroy(self, tunnel: Tunnel) -> None:
        """Close one.

        Raises:
            WrongState: it is none of these, or closed already.
        """
        with self._lock:
            if tunnel not in self._open:
                raise WrongState(f"{tunnel!r} is not (any more) a tunnel of {self._container.uuid}")
            self._open.remove(tunnel)
        tunnel.close_from(self._container.location._portal)

    def renew(self) -> None:
        """Serve them all anew; see `Tunnel.renew`."""
        for tunnel in self.all():
            tunnel.renew()


def _listen(bind: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    listener = close_in_children(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
    try:
        if port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((bind, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        kind = BadRequest if isinstance(error, socket.gaierror) else WrongState
        raise kind(
            f"cannot listen on {bind}:{port}: {error.strerror}", hint="leave localport out to have a free one chosen"
        ) from error
    return listener
