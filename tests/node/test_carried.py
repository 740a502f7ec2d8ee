"""A carried connection that is reset in the middle of a word never looks like one that ended in order."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tfcore.errors import Unavailable
from tfcore.rpc.streams import OUTPUT
from tfnode.tunnels.carried import Carried

RESET = struct.pack("ii", 1, 0)


class Dictated:
    """A stream whose client says one word, when told to; keeps what was finished."""

    def __init__(self) -> None:
        self.now = asyncio.Event()
        self.finished: list[int] = []

    async def chunks(self, channel: int) -> AsyncIterator[bytes]:
        await self.now.wait()
        yield b"word"
        await asyncio.Event().wait()

    async def write(self, channel: int, data: bytes) -> None:
        raise AssertionError("the server says nothing")

    def finish(self, channel: int) -> None:
        self.finished.append(channel)


def test_a_reset_that_writing_hears_of_first_is_no_end_for_reading() -> None:
    """The kernel tells of a reset once; reading then finds an end that looks like any other."""

    async def story() -> list[int]:
        stream: Any = Dictated()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            carrying = asyncio.ensure_future(
                Carried().carry(stream, owner="me", address="127.0.0.1", port=listener.getsockname()[1])
            )
            server, _ = await asyncio.to_thread(listener.accept)
            for _ in range(20):  # turns of the loop: it is connected and reads then
                await asyncio.sleep(0)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            server.close()
            stream.now.set()
            with pytest.raises(Unavailable, match="reset by peer"):
                await asyncio.wait_for(carrying, 10)
        return stream.finished

    assert asyncio.run(story()) == []


def test_an_end_in_order_is_told() -> None:
    async def story() -> list[int]:
        stream: Any = Dictated()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            carrying = asyncio.ensure_future(
                Carried().carry(stream, owner="me", address="127.0.0.1", port=listener.getsockname()[1])
            )
            server, _ = await asyncio.to_thread(listener.accept)
            server.close()
            while not stream.finished:
                await asyncio.sleep(0.001)
            carrying.cancel()
            await asyncio.gather(carrying, return_exceptions=True)
        return stream.finished

    assert asyncio.run(story()) == [OUTPUT]
