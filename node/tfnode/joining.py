"""Saying hello to the location until it says welcome, however often it is restarted meanwhile.

Knows no containers: what the node says of itself is handed to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tfcore.errors import TfError
from tfcore.rpc.link import Link, Ongoing
from tfcore.wire.nodes import JoinLocation, NodeWelcomed

log = logging.getLogger(__name__)

JOIN_TIMEOUT = 10.0
JOIN_PAUSE = 0.5
"""Seconds for one attempt, and between two."""


class Joining:
    """A node's way into its location.

    Attributes:
        under_way: true from hello to welcome.
    """

    def __init__(self, link: Link, hello: Callable[[], JoinLocation]) -> None:
        self._link = link
        self._hello = hello
        self._asked: Ongoing[NodeWelcomed] | None = None
        self.under_way = False

    async def join(self) -> NodeWelcomed:
        """Say hello until the location says welcome."""
        self.under_way = True
        try:
            while True:
                try:
                    self._asked = self._link.begin(self._hello(), timeout=JOIN_TIMEOUT)
                    return await self._asked.reply()
                except TfError as error:
                    log.warning("cannot join the location: %s", error)
                self._asked = None
                await asyncio.sleep(JOIN_PAUSE)
        finally:
            self._asked = None
            self.under_way = False

    def unheard(self) -> None:
        """The location does not know us: a hello that is on its way went by a connection that is no more."""
        if self._asked is not None:
            self._link.ask_again(self._asked)
