"""Giving a listening socket to the node's agent on the same machine (SCM_RIGHTS), and taking it back.

The connection by which it was given is held for as long as the tunnel lives: its end is the tunnel's end, whichever side
it comes from (DESIGN D12). Coroutines of the I/O loop.
"""

from __future__ import annotations

import asyncio
import socket

from tfcore.wire.containers import HandOverTunnel
from tfnz.connection import Connection
from tfnz.forks import close_in_children

TIMEOUT = 5.0
"""Seconds the agent may take to accept a socket, or to let go of it."""

TAKEN = b"ok\n"


async def hand_over(connection: Connection, listener: socket.socket, *, container: str, port: int) -> socket.socket:
    """Have the agent serve `listener`; returns the connection that holds the tunnel open.

    Raises:
        TfError: the node does not serve sockets, or does not have the container.
        OSError, TimeoutError: its agent did not take this one.
    """
    offer = await connection.call(HandOverTunnel(port=port), target=container, timeout=10.0)
    agent = close_in_children(
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            loop = asyncio.get_running_loop()
            await loop.sock_connect(agent, offer.path)
            socket.send_fds(agent, [offer.ticket.encode() + b"\n"], [listener.fileno()])
            if await loop.sock_recv(agent, len(TAKEN)) != TAKEN:
                raise ConnectionRefusedError("the agent did not take the socket")
    except BaseException:
        agent.close()
        raise
    return agent


async def ended(agent: socket.socket) -> None:
    """Wait until the agent has let go of the socket, or has died."""
    try:
        await asyncio.get_running_loop().sock_recv(agent, 1)
    except ConnectionError:
        return


async def take_back(agent: socket.socket) -> None:
    """Have the agent stop serving the socket, and wait until it has."""
    try:
        agent.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(TIMEOUT):
            await ended(agent)
    except (OSError, TimeoutError):
        return  # it is gone, and what it served with it
    finally:
        agent.close()
