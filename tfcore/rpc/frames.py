"""Messages within a stream: each as four bytes of length, big-endian, and a body. Both ends of an open file speak so.

Knows no message's meaning.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from tfcore.errors import BadRequest
from tfcore.wire.message import Message, encode

LENGTH = 4
LONGEST = (1 << 20) + 4096
"""Bytes of a body: the largest piece of a file, and what says where it belongs."""


def framed(message: Message) -> bytes:
    """A message as it goes into a stream."""
    body = encode(message)
    return len(body).to_bytes(LENGTH, "big") + body


async def bodies(chunks: AsyncIterator[bytes | memoryview]) -> AsyncIterator[bytes]:
    """The bodies in a stream's chunks, however those were cut.

    Raises:
        BadRequest: one is longer than any may be, or the stream ends within one. Whatever `chunks` raises.
    """
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        while (body := _taken(held)) is not None:
            yield body
    if held:
        raise BadRequest(f"a stream of messages ends {len(held)} bytes into one")


def _taken(held: bytearray) -> bytes | None:
    """The first body, taken off; None if not all of it is there."""
    if len(held) < LENGTH:
        return None
    end = LENGTH + int.from_bytes(held[:LENGTH], "big")
    if end > LENGTH + LONGEST:
        raise BadRequest(f"a message of {end - LENGTH} bytes in a stream is too large; at most {LONGEST} are allowed")
    if len(held) < end:
        return None
    body = bytes(held[LENGTH:end])
    del held[:end]
    return body
