"""Connections to containers, asked for by their owner."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from tfcore.errors import Refused
from tfcore.rpc.dispatcher import Call
from tfcore.wire import containers as wire
from tfcore.wire.message import Done
from tfnode.containers.container import Container
from tfnode.containers.readiness import FIRST_PAUSE, TCP_PAUSE, http_answers, tcp_answers
from tfnode.handlers.containers import owned, telling
from tfnode.tunnels.handover import Ticket


async def wait_tcp(call: Call, msg: wire.WaitTcp) -> wire.PortAnswered:
    """Poll until the port accepts a connection."""
    return await _poll(call, lambda container: tcp_answers(container.patient, msg.port))


async def wait_http(call: Call, msg: wire.WaitHttp) -> wire.PortAnswered:
    """Poll until the page is answered by 200."""
    return await _poll(call, lambda container: http_answers(container.patient, msg.port, msg.path, msg.host))


async def _poll(call: Call, answers: Callable[[Container], Awaitable[bool]]) -> wire.PortAnswered:
    """Without a deadline of its own: the call has one. A container that ends meanwhile ends it."""
    container = owned(call)
    begun = time.monotonic()
    pause = FIRST_PAUSE
    with telling(call, container), container.traces.touched("a connection"):
        await container.booted()
        while not await answers(container):
            container.running()
            await asyncio.sleep(pause)
            pause = min(pause * 2, TCP_PAUSE)
    return wire.PortAnswered(seconds=time.monotonic() - begun)


async def open_connection(call: Call, msg: wire.OpenConnection) -> Done:
    """One connection of a tunnel, carried by the call's stream."""
    container = owned(call)
    await call.peer.carried.carry(call.stream, owner=container.id, address=container.address, port=msg.port)
    return Done()


async def hand_over(call: Call, msg: wire.HandOverTunnel) -> wire.HandedOver:
    """Issue a ticket for a listening socket."""
    container = owned(call)
    if call.peer.hand_over is None:
        raise Refused("this node serves clients of other machines: tunnels go through the location")
    ticket = call.peer.hand_over.issue(Ticket(owner=container.id, address=container.address, port=msg.port))
    return wire.HandedOver(path=str(call.peer.hand_over.path), ticket=ticket)
