"""TCP from inside a container, asked for by its owner: as ssh forwards it."""

from __future__ import annotations

import asyncio
import errno
import socket

from tfcore.errors import BadRequest, TfError, WrongState
from tfcore.rpc.dispatcher import Call
from tfcore.rpc.frames import framed
from tfcore.rpc.streams import INPUT, OUTPUT
from tfcore.wire import inside as wire
from tfcore.wire.message import Done
from tfnode.containers.life import Generation
from tfnode.handlers.containers import owned
from tfnode.handlers.files import obtained, root_of
from tfnode.kernel.paths import read_in_root
from tfnode.tunnels.carried import connect, pump, resetting
from tfnode.tunnels.naming import address_of, literal

BACKLOG = 64
STANDS = b"\n"
"""The byte by which a connection is told to stand."""

MOST_TEXT = 256 << 10
"""Bytes of a container's /etc/hosts or /etc/resolv.conf; a longer one is not read."""

PAUSE = 0.1
"""Seconds to wait when nothing can be accepted: the node lacks descriptors or memory."""


async def connect_inside(call: Call, msg: wire.ConnectInside) -> Done:
    """One connection made in the container's network."""
    container = owned(call)
    generation = await container.booted()
    what = f"connection to {msg.host}:{msg.port}"
    with container.traces.touched(f"a {what} from inside"):
        connecting = _connect(call, generation, msg.host, msg.port)
        await call.peer.carried.tie(container.id, connecting, what=what, stream=call.stream)
    return Done()


async def _connect(call: Call, generation: Generation, host: str, port: int) -> None:
    address = await _address(call, generation, host)
    made = await obtained(call.peer.work(generation.sandbox.tcp_socket), socket.socket.close)
    with resetting(made):
        await connect(made, address, port)
        await call.stream.write(OUTPUT, STANDS)
        await pump(call.stream, made)


async def _address(call: Call, generation: Generation, host: str) -> str:
    if (known := literal(host)) is not None:
        return known
    hosts, resolv_conf = [await _text(call, generation, f"/etc/{name}") for name in ("hosts", "resolv.conf")]

    async def open_udp() -> socket.socket:
        return await obtained(call.peer.work(generation.sandbox.udp_socket), socket.socket.close)

    return await address_of(host, hosts=hosts, resolv_conf=resolv_conf, open_udp=open_udp)


async def _text(call: Call, generation: Generation, path: str) -> str:
    """A file of the container; nothing if there is none, or it is none."""
    async with root_of(call, generation) as root:
        try:
            content: bytes = await call.peer.work(read_in_root, root, path, MOST_TEXT)
        except OSError:
            return ""
    return content.decode("utf-8", "replace")


async def listen_inside(call: Call, msg: wire.ListenInside) -> Done:
    """Listen in the container's network, as long as the client wants it."""
    container = owned(call)
    generation = await container.booted()
    what = f"listener at {msg.host}:{msg.port}"
    with container.traces.touched(f"a {what} inside"):
        await call.peer.carried.tie(container.id, _listen(call, generation, msg), what=what)
    return Done()


async def _listen(call: Call, generation: Generation, msg: wire.ListenInside) -> None:
    address = _own_address(msg.host)
    callers, name = call.peer.carried.callers, (call.target, call.id)
    with await obtained(call.peer.work(generation.sandbox.tcp_socket), socket.socket.close) as listener:
        _bind(listener, address, msg.port)
        callers.open(name)
        try:
            await call.stream.write(OUTPUT, framed(wire.Listening(port=listener.getsockname()[1])))
            accepting = asyncio.ensure_future(_accept(call, listener))
            wanted = asyncio.ensure_future(_until_unwanted(call))
            try:
                await asyncio.wait((accepting, wanted), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (accepting, wanted):
                    task.cancel()
                outcomes = await asyncio.gather(accepting, wanted, return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, TfError):
                    raise outcome
        finally:
            callers.close(name)
    call.stream.finish(OUTPUT)


def _own_address(host: str) -> str:
    if host in ("", "*", "0.0.0.0", "::"):
        return "0.0.0.0"
    if (known := literal(host)) is None:
        raise BadRequest(f"{host!r} is no address to listen on", hint="localhost, an IPv4 address, or * for all")
    return known


def _bind(listener: socket.socket, address: str, port: int) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        words = "is in use in the container" if taken else f"cannot be listened on: {error.strerror}"
        raise WrongState(f"{address}:{port} {words}", hint="0 means a free port" if taken else "") from error


async def _until_unwanted(call: Call) -> None:
    async for _ in call.stream.chunks(INPUT):
        pass


async def _accept(call: Call, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            caller, (host, port) = await loop.sock_accept(listener)
        except OSError:
            await asyncio.sleep(PAUSE)
            continue
        number = call.peer.carried.callers.add((call.target, call.id), caller)
        if number is not None:
            await call.stream.write(OUTPUT, framed(wire.Called(number=number, host=host, port=port)))


async def take_call(call: Call, msg: wire.TakeCall) -> Done:
    """Carry a connection that waits at a listener of the same container."""
    container = owned(call)
    caller = call.peer.carried.callers.take((container.id, msg.listener), msg.number)
    await call.peer.carried.tie(
        container.id, _answer(call, caller), what="a connection from inside", stream=call.stream
    )
    return Done()


async def _answer(call: Call, caller: socket.socket) -> None:
    with resetting(caller):
        await call.stream.write(OUTPUT, STANDS)
        await pump(call.stream, caller)
