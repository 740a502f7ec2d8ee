"""Layers from the location: a blob is pulled through the link while the unpacker, in its own thread, reads it.

Knows the wire's one message for it; nothing of what is in a layer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from tfcore.rpc.link import Link, Ongoing
from tfcore.rpc.streams import OUTPUT
from tfcore.wire.images import FetchLayer, LayerSent, WireLayer

T = TypeVar("T")

FETCH_TIMEOUT = 900.0
"""Seconds one layer may take to arrive."""


class Fetching:
    """Opens blobs for threads; the link stays in its event loop."""

    def __init__(self, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        self._link = link
        self._loop = loop

    def opener(self, layer: WireLayer) -> Callable[[], AbstractContextManager[Iterator[bytes]]]:
        """What a `LayerStore` wants: a function that opens the layer's blob for one reading."""

        @contextmanager
        def open_blob() -> Iterator[Iterator[bytes]]:
            ongoing = self._wait(self._begin(layer))
            try:
                yield self._pieces(ongoing)
            finally:
                self._wait(_give_up(ongoing))

        return open_blob

    async def _begin(self, layer: WireLayer) -> Ongoing[LayerSent]:
        return self._link.begin(FetchLayer(digest=layer.digest), timeout=FETCH_TIMEOUT)

    def _pieces(self, ongoing: Ongoing[LayerSent]) -> Iterator[bytes]:
        """The blob's pieces; a failure of the location's is raised instead of the end."""
        while piece := self._wait(ongoing.stream.read(OUTPUT)):
            yield bytes(piece)
        self._wait(ongoing.reply())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _give_up(ongoing: Ongoing[LayerSent]) -> None:
    """Tell the location to stop, if it has not finished."""
    if not ongoing.answered:
        ongoing.abandon()
