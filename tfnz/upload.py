"""Images from this machine to the location, over the session: the wire behind `tfnz.images.upload`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self

from tfcore.errors import TfError
from tfcore.images.description import ImageDescription, Layer
from tfcore.images.digest import digest_of
from tfcore.images.exchange import LayerNeed, Need
from tfcore.images.platforms import Platform
from tfcore.images.reference import canonical_name, parse_reference
from tfcore.rpc.link import Ongoing
from tfcore.rpc.streams import INPUT
from tfcore.wire import images as wire
from tfcore.wire.message import Done
from tfnz.connection import Connection
from tfnz.images.source import Progress
from tfnz.images.sources import open_source
from tfnz.images.upload import ensure_image

if TYPE_CHECKING:
    from tfnz.location import Location

log = logging.getLogger(__name__)

SEND_TIMEOUT = 1800.0
"""Seconds one layer may take."""

LINE_EVERY = 2.0
"""Seconds between two lines about the same upload."""


def ensure(
    location: Location, reference: str, *, name: str = "", architecture: str = "", progress: Progress | None = None
) -> wire.ImageFound:
    """Have the image in the location's cache; see `tfnz.images.upload.ensure_image`.

    Args:
        name: what to file it under, as users write names; empty: as its source calls it.
        architecture: what it has to run on, where a source has several; empty: as this machine.

    Returns:
        What the location knows of it; the name is the one it is filed under.
    """
    log.info("Ensuring layers are uploaded for: %s", reference)
    opener = functools.partial(open_source, platform=Platform("linux", architecture)) if architecture else open_source
    peer = _Peer(location)
    filed = canonical_name(name) if name else ""
    ensure_image(parse_reference(reference), peer, opener, name=filed, progress=progress or Lines())
    if not peer.sent:
        log.info("No layers need uploading for: %s", reference)
    assert peer.found is not None
    return peer.found


def described(found: wire.ImageFound) -> ImageDescription:
    """The wire's description of an image as the SDK's."""
    layers = tuple(
        Layer(diff_id=layer.diff_id, digest=layer.digest, size=layer.size, media_type=layer.media_type)
        for layer in found.layers
    )
    return ImageDescription(config_digest=digest_of(found.config), config=found.config, layers=layers)


class _Peer:
    """The location as an upload sees it; keeps the last answer about the image, and whether any layer had to travel."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self.found: wire.ImageFound | None = None
        self.sent = False

    def find(self, name: str) -> ImageDescription:
        self.found = self._location._call(wire.FindImage(name=name))
        return described(self.found)

    def offer(self, name: str, config: bytes, diff_ids: Sequence[str]) -> Sequence[LayerNeed]:
        plan = self._location._call(wire.OfferImage(name=name, config=config, diff_ids=tuple(diff_ids)))
        return [LayerNeed(diff_id=need.diff_id, need=Need(need.need), nonce=need.nonce) for need in plan.needs]

    def prove(self, diff_id: str, nonce: bytes, proof: bytes) -> None:
        self._location._call(wire.ProveLayer(diff_id=diff_id, nonce=nonce, proof=proof), timeout=SEND_TIMEOUT)

    def send(self, diff_id: str, chunks: Iterable[bytes]) -> None:
        self.sent = True
        portal = self._location._io
        sending = portal.call(Sending.begin(self._location._connection, diff_id))
        try:
            for chunk in chunks:
                if not portal.call(sending.write(chunk)):
                    break
            portal.call(sending.finish())
        except BaseException:
            with contextlib.suppress(TfError):  # what has come so far must not keep the location waiting for the rest
                portal.call(sending.abandon())
            raise

    def finish(self, name: str, config: bytes, diff_ids: Sequence[str]) -> ImageDescription:
        self.found = self._location._call(
            wire.FinishImage(name=name, config=config, diff_ids=tuple(diff_ids)), timeout=SEND_TIMEOUT
        )
        return described(self.found)


class Sending:
    """One layer on its way; lives in the I/O loop. The location may answer before it has all of it."""

    def __init__(self, connection: Connection, ongoing: Ongoing[Done]) -> None:
        self._ongoing = ongoing
        self._answer = asyncio.ensure_future(connection.reply(ongoing))

    @classmethod
    async def begin(cls, connection: Connection, diff_id: str) -> Self:
        """Tell the location what is coming."""
        return cls(connection, await connection.begin(wire.PutLayer(diff_id=diff_id), timeout=SEND_TIMEOUT))

    async def write(self, chunk: bytes) -> bool:
        """Send a piece; False if the location has answered already and wants no more."""
        writing = asyncio.ensure_future(self._ongoing.stream.write(INPUT, chunk))
        try:
            await asyncio.wait({writing, self._answer}, return_when=asyncio.FIRST_COMPLETED)
            if self._answer.done():
                return False
            await writing
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        return True

    async def finish(self) -> None:
        """That was all; wait for the answer.

        Raises:
            TfError: as the location says.
        """
        if not self._answer.done():
            self._ongoing.stream.finish(INPUT)
        await self._answer

    async def abandon(self) -> None:
        """Give up."""
        self._answer.cancel()
        await asyncio.gather(self._answer, return_exceptions=True)


class Lines:
    """Progress as log lines: one when something begins, one now and then, one when it is done."""

    def __init__(self) -> None:
        self._what = ""
        self._last = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Something has come further."""
        fresh, now = what != self._what, time.monotonic()
        if total and (fresh or done == total or now - self._last >= LINE_EVERY):
            self._what, self._last = what, now
            log.info("Background %s: %.1f of %.1f MB", what, done / 1e6, total / 1e6)
