"""The plain sockets beside ZeroMQ's by which a local client's death is known at once (DESIGN D4).

A client connects, sends its session's id and a newline, and holds the connection for as long as it lives; the kernel
closes it however the client ends. Knows no leases: who has gone is told to `on_gone`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

FIRST_WORD = 10.0
"""Seconds within which a client must say which session it holds."""

LINE = 256
"""Bytes of that line at most."""

OnGone = Callable[[str], None]
MayHold = Callable[[str], bool]


class Liveness:
    """One listening socket in a directory only this user can enter."""

    def __init__(self, path: Path, *, may_hold: MayHold, on_gone: OnGone) -> None:
        """`may_hold(session)` says whether that is an open session of a local client."""
        self.path = path
        self._may_hold = may_hold
        self._on_gone = on_gone
        self._holders: dict[str, asyncio.StreamWriter] = {}
        self._connections: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen."""
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=LINE)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            session = await self._first_word(reader)
            if session and self._may_hold(session):
                await self._hold(session, reader, writer)
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _first_word(self, reader: asyncio.StreamReader) -> str:
        try:
            async with asyncio.timeout(FIRST_WORD):
                line = await reader.readline()
        except (TimeoutError, ValueError, OSError) as error:
            log.info("a liveness connection said nothing of use: %s", error)
            return ""
        return line.decode("ascii", "replace").strip() if line.endswith(b"\n") else ""

    async def _hold(self, session: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the client ends, or comes by another connection."""
        self._holders[session] = writer
        try:
            while await reader.read(LINE):
                pass
        except OSError as error:
            log.debug("liveness connection of %s: %s", session, error)
        if self._holders.get(session) is writer:
            del self._holders[session]
            self._on_gone(session)

    def release(self, session: str) -> None:
        """The session has ended: its connection means nothing any more."""
        writer = self._holders.pop(session, None)
        if writer is not None:
            writer.close()

    async def close(self) -> None:
        """Stop listening. Sessions live on: their clients connect to the location's next life."""
        self._holders.clear()
        if self._server is not None:
            self._server.close()
        for writer in list(self._connections):
            writer.close()
        for writer in list(self._connections):
            await _closed(writer)
        self.path.unlink(missing_ok=True)


async def _closed(writer: asyncio.StreamWriter) -> None:
    try:
        await writer.wait_closed()
    except OSError as error:
        log.debug("closing a liveness connection: %s", error)
