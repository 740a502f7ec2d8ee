"""The operator's question to a running daemon: one request under the operator's key, over its ipc socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import zmq

from tfcore import keys
from tfcore.errors import DeadlineExceeded, NotFound, Unavailable
from tfcore.rpc.dispatcher import Dispatcher
from tfcore.rpc.link import Link
from tfcore.rpc.port import Frames, Port, dealer
from tfcore.wire.header import Header, decode_header, encode_header
from tfcore.wire.sessions import AskStatus
from tflocation.directory import Directory

SOCKET = "location.sock"
"""Below the run directory."""


def ask_status(directory: Directory, run: Path, *, timeout: float = 5.0) -> str:
    """The daemon's status as JSON text.

    Raises:
        NotFound: there is no location in the directory.
        Unavailable: its daemon does not answer.
    """
    path = run / SOCKET
    if not directory.key.exists():
        raise NotFound(f"there is no location in {directory.root}", hint="name its directory: --dir")
    if not path.exists():
        raise Unavailable(f"no daemon listens on {path}", hint="start it: tf-location serve")
    return asyncio.run(_ask(directory, f"ipc://{path}", timeout))


async def _ask(directory: Directory, endpoint: str, timeout: float) -> str:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    server_key = keys.load(directory.key).public
    socket = dealer(context, keys.load(directory.operator), server_key=server_key, endpoint=endpoint)

    def send(header: Header, body: bytes | memoryview) -> None:
        port.send([encode_header(header), body])

    def receive(frames: Frames) -> None:
        link.receive(decode_header(frames[0].bytes), frames[1].buffer)

    port = Port(socket, receive)
    link = Link(send, dispatcher=Dispatcher({}), on_event=lambda _header, _body: None)
    try:
        return (await link.call(AskStatus(), timeout=timeout)).report
    except DeadlineExceeded as late:
        raise Unavailable(
            f"the daemon at {endpoint} does not answer", hint="is it the one of this directory?"
        ) from late
    finally:
        await link.close()
        port.close()
        context.destroy(linger=0)
