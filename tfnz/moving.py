"""A request with a stream, driven from the caller's thread: local files are read and written there, never in the I/O loop.

Knows nothing of what is moved.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tfcore.errors import TfError, Unavailable
from tfcore.rpc.streams import INPUT, OUTPUT, Stream
from tfcore.wire.message import Request
from tfnz.transfer import ATTEMPTS

if TYPE_CHECKING:
    from tfnz.container import Container

T = TypeVar("T")

GATHERED = 512 << 10
"""Bytes after which what has arrived is handed over."""

Progress = Callable[[str, int, int], None]
"""(what, bytes done, bytes in all); as of `Location.ensure_image_uploaded`."""


async def gathered(stream: Stream, channel: int) -> bytes:
    """The next piece and what else has arrived by then, up to a limit, so that threads need not meet for each; in the I/O
    loop. None at the end; errors are the stream's, after all that came before them."""
    found = bytearray(await stream.read(channel))
    while found and len(found) < GATHERED and stream.waits(channel):
        try:
            more = await stream.read(channel)
        except TfError:  # it is raised again by whoever reads next
            break
        if not more:
            break
        found += more
    return bytes(found)


class Moving:
    """One request; a context manager that gives up on it if it has not been answered. Calls wait as long as the other side
    needs: no more than a window of bytes is ever held here."""

    def __init__(self, container: Container, request: Request[Any], *, timeout: float) -> None:
        self._io = container.location._io
        self._errand = container._errand(request, timeout)
        self._ongoing = self._io.call(self._errand.begin())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and everything in it
            self._io.loop.call_soon_threadsafe(self._ongoing.abandon)

    def write(self, piece: bytes) -> int:
        """Send a piece; errors are the request's own. Its size, as of a file's `write`."""
        self._io.call(self._ongoing.stream.write(INPUT, piece))
        return len(piece)

    def finish(self) -> Any:
        """That was all to send: the reply."""

        async def end() -> Any:
            self._ongoing.stream.finish(INPUT)
            return await self._errand.reply(self._ongoing)

        return self._io.call(end())

    def read(self) -> bytes:
        """The next piece; none at the end."""

        return self._io.call(gathered(self._ongoing.stream, OUTPUT))

    def reply(self) -> Any:
        """The answer, after the last piece."""
        return self._io.call(self._errand.reply(self._ongoing))


class Reader:
    """What arrives, as a file to be read from its beginning to its end."""

    def __init__(self, moving: Moving, tell: Callable[[int], object]) -> None:
        """`tell` is called with the number of bytes of each piece."""
        self._moving = moving
        self._tell = tell
        self._held = b""
        self._over = False

    def read(self, size: int) -> bytes:
        """`size` bytes; fewer only at the end."""
        taken = bytearray()
        while len(taken) < size and (self._held or not self._over):
            if not self._held:
                self._held = self._moving.read()
                self._over = not self._held
                self._tell(len(self._held))
            wanted = size - len(taken)
            taken += self._held[:wanted]
            self._held = self._held[wanted:]
        return bytes(taken)


def whole(work: Callable[[], T]) -> T:
    """Do it again if a cut has torn its stream: for what can be done twice."""
    for _ in range(ATTEMPTS - 1):
        try:
            return work()
        except Unavailable as torn:
            if not torn.retryable:
                raise
    return work()
