"""Where clients on this machine hand in their listening sockets (SCM_RIGHTS), with a ticket issued over the wire.

The unix socket that brought a listening socket stays open as long as the tunnel lives: its end is the tunnel's end,
whichever side it comes from. Knows the relay, and containers only by what a ticket says.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import logging
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from tfnode.tunnels.pairs import Listener
from tfnode.tunnels.relay import Relay

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds a ticket is good for, and a client may take to present it."""

PAUSE = 0.05
"""Seconds to wait when nothing can be accepted: descriptors or memory are short."""

TICKET_SIZE = 256
FDS = 4
"""Descriptors taken at once, so that those of a client that sends too many can be closed."""


@dataclass(frozen=True)
class Ticket:
    """What its bearer may have served."""

    owner: str
    address: str
    port: int


class HandOver:
    """The unix socket and the tickets that are out."""

    def __init__(self, path: Path, relay: Relay) -> None:
        self.path = path
        self._relay = relay
        self._tickets: dict[str, Ticket] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._accepting: asyncio.Task[None] | None = None
        self._serving: dict[asyncio.Task[None], str] = {}

    def open(self) -> None:
        """Start to listen; must be called in the event loop."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self._socket.bind(os.fspath(self.path))
        self.path.chmod(0o600)
        self._socket.listen(128)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def issue(self, ticket: Ticket) -> str:
        """A secret word, good once and for some seconds, for a client to show with its socket."""
        word = secrets.token_urlsafe(24)
        self._tickets[word] = ticket
        asyncio.get_running_loop().call_later(PATIENCE, self._tickets.pop, word, None)
        return word

    def drop(self, owner: str) -> None:
        """End the tunnels of `owner`."""
        for task, served in list(self._serving.items()):
            if served == owner:
                task.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(self._socket)
            except OSError as error:
                log.warning("cannot accept a client that hands in a socket: %s", error)
                await asyncio.sleep(PAUSE)
                continue
            task = loop.create_task(self._serve(client))
            self._serving[task] = ""
            task.add_done_callback(self._serving.pop)

    async def _serve(self, client: socket.socket) -> None:
        with client:
            client.setblocking(False)
            listener = await self._take(client)
            if listener is None:
                return
            me = asyncio.current_task()
            assert me is not None
            self._serving[me] = listener.owner
            try:
                await _hold(client)
            except OSError as error:
                log.debug("the client of a tunnel is gone: %s", error)
            finally:
                self._relay.stop_listening(listener)

    async def _take(self, client: socket.socket) -> Listener | None:
        word, fds = await _receive(client)
        ticket = self._tickets.pop(word, None)
        if ticket is None or len(fds) != 1:
            log.warning("a tunnel was handed in %s", "without its socket" if ticket else "without a valid ticket")
            for fd in fds:
                os.close(fd)
            return None
        listener = _listening(fds[0])
        if listener is None:
            log.warning("what was handed in for %s is not a listening TCP socket", ticket.owner)
            return None
        return self._relay.listen(listener, owner=ticket.owner, address=ticket.address, port=ticket.port)

    async def close(self) -> None:
        """End all tunnels and stop listening."""
        tasks = [task for task in (self._accepting, *self._serving) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


async def _receive(client: socket.socket) -> tuple[str, list[int]]:
    """The word and the descriptors a client sends; nothing if it says nothing in time."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_reader(client.fileno(), arrived.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await arrived.wait()
        return _read(client)
    except (TimeoutError, OSError):
        return "", []
    finally:
        loop.remove_reader(client.fileno())


def _read(client: socket.socket) -> tuple[str, list[int]]:
    """`socket.recv_fds` ignores its flags (CPython 3.11): the descriptors would be inherited by programs we start."""
    fds = array.array("i")
    room = socket.CMSG_SPACE(FDS * fds.itemsize)
    data, ancillary, _, _ = client.recvmsg(TICKET_SIZE, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return data.decode("ascii", "replace").strip(), list(fds)


def _listening(fd: int) -> socket.socket | None:
    """The listening TCP socket behind a descriptor; anything else is closed."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:  # not even a socket
        os.close(fd)
        return None
    tcp = sock.type == socket.SOCK_STREAM and sock.family in (socket.AF_INET, socket.AF_INET6)
    if tcp and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return sock
    sock.close()
    return None


async def _hold(client: socket.socket) -> None:
    """Say that the socket is served, and wait until the client lets go."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, b"ok\n")
    await loop.sock_recv(client, 1)
