"""Images from this machine to the location, over the session: the wire behind `tfnz.images.upload`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tfcore.images.description import ImageDescription, Layer
from tfcore.images.digest import digest_of
from tfcore.images.exchange import LayerNeed, Need
from tfcore.images.reference import parse_reference
from tfcore.rpc.link import Ongoing
from tfcore.rpc.streams import INPUT
from tfcore.wire import images as wire
from tfcore.wire.message import Done
from tfnz.images.source import Progress
from tfnz.images.sources import open_source
from tfnz.images.upload import ensure_image

if TYPE_CHECKING:
    from tfnz.location import Location

log = logging.getLogger(__name__)

SEND_TIMEOUT = 1800.0
"""Seconds one layer may take."""


def ensure(location: Location, reference: str, *, progress: Progress | None = None) -> wire.ImageFound:
    """Have the image in the location's cache; see `tfnz.images.upload.ensure_image`.

    Returns what the location knows of it; the name is the one it is filed under.
    """
    log.info("Ensuring layers are uploaded for: %s", reference)
    peer = _Peer(location)
    ensure_image(parse_reference(reference), peer, open_source, progress=progress or _Logged())
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
    """The location as an upload sees it; keeps the last answer about the image."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self.found: wire.ImageFound | None = None

    def find(self, name: str) -> ImageDescription:
        self.found = self._location._call(wire.FindImage(name=name))
        return described(self.found)

    def offer(self, name: str, config: bytes, diff_ids: Sequence[str]) -> Sequence[LayerNeed]:
        plan = self._location._call(wire.OfferImage(name=name, config=config, diff_ids=tuple(diff_ids)))
        return [LayerNeed(diff_id=need.diff_id, need=Need(need.need), nonce=need.nonce) for need in plan.needs]

    def prove(self, diff_id: str, nonce: bytes, proof: bytes) -> None:
        self._location._call(wire.ProveLayer(diff_id=diff_id, nonce=nonce, proof=proof), timeout=SEND_TIMEOUT)

    def send(self, diff_id: str, chunks: Iterable[bytes]) -> None:
        portal = self._location._io
        ongoing = portal.call(self._begin(diff_id))
        for chunk in chunks:
            portal.call(ongoing.stream.write(INPUT, chunk))
        portal.call(_finish(ongoing))

    async def _begin(self, diff_id: str) -> Ongoing[Done]:
        link = self._location._connection.link
        return link.begin(wire.PutLayer(diff_id=diff_id), timeout=SEND_TIMEOUT)

    def finish(self, name: str, config: bytes, diff_ids: Sequence[str]) -> ImageDescription:
        self.found = self._location._call(
            wire.FinishImage(name=name, config=config, diff_ids=tuple(diff_ids)), timeout=SEND_TIMEOUT
        )
        return described(self.found)


async def _finish(ongoing: Ongoing[Done]) -> None:
    ongoing.stream.finish(INPUT)
    await ongoing.reply()


class _Logged:
    """Progress as log lines: one when an upload begins and one when it is done."""

    def __init__(self) -> None:
        self._what = ""

    def __call__(self, what: str, _done: int, total: int) -> None:
        if what != self._what and total:
            self._what = what
            log.info("Background %s: %.1f MB", what, total / 1e6)
