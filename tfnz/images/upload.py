"""The client's half of getting an image to a location: ask for it, else offer it, prove or send what is missing, finish.

Only layers the location lacks travel, and only those it wants proved or sent are read out of their source at all. Knows no
sockets: the location is a small protocol. The location's half is `tflocation.images.uploads`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Protocol

from tfcore.errors import ImageNotFound, Refused, TfError, Unavailable
from tfcore.images.compression import expanded
from tfcore.images.description import ImageDescription, parse_config
from tfcore.images.exchange import LayerNeed, Need
from tfcore.images.possession import proof_of
from tfcore.images.reference import Reference, Scheme
from tfnz.images.source import ImageSource, Progress, silent

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often an upload that was interrupted is offered again; each time only what is still missing travels."""


class UploadPeer(Protocol):
    """What is asked of the location. Every method may raise what the location answers, and `Unavailable`."""

    def find(self, name: str) -> ImageDescription:
        """The account's image of that name. Raises `ImageNotFound`."""

    def offer(self, name: str, config: bytes, diff_ids: Sequence[str]) -> Sequence[LayerNeed]:
        """What is needed of each different layer."""

    def prove(self, diff_id: str, nonce: bytes, proof: bytes) -> None:
        """Answer a challenge. Raises `Refused` if that did not help; then the layer is to be sent."""

    def send(self, diff_id: str, chunks: Iterable[bytes]) -> None:
        """Send a layer."""

    def finish(self, name: str, config: bytes, diff_ids: Sequence[str]) -> ImageDescription:
        """Everything is there: make the image known."""


def ensure_image(
    reference: Reference,
    peer: UploadPeer,
    open_source: Callable[[Reference], ImageSource],
    *,
    name: str = "",
    progress: Progress = silent,
) -> ImageDescription:
    """Have the image in the location's cache: as it is there, else from this machine.

    A bare name means the cache's image if it has one. Every other reference names something on this machine, which may
    have changed: it is opened and offered, and if nothing is missing, nothing travels.

    Args:
        name: the canonical name to file the image under, instead of the one its source gives it.

    Raises:
        ImageNotFound: neither the cache nor the local Docker has it; the message says what was asked.
        BadImage, Unavailable, Exhausted: see the sources and `upload`.
    """
    if reference.scheme is not Scheme.NAME:
        return _from_here(reference, peer, open_source, name, progress)
    try:
        return _filed(peer.find(reference.query), peer, name)
    except ImageNotFound:
        log.info("%s is not in the location's cache; asking the local Docker", reference)
    try:
        return _from_here(reference, peer, open_source, name, progress)
    except (ImageNotFound, Unavailable) as missing:
        if isinstance(missing, Unavailable) and missing.retryable:
            raise
        raise ImageNotFound(
            f"the location's cache has no image {reference}, and {missing.message}",
            hint=missing.hint,
            details={"image": str(reference)},
        ) from missing


def _filed(found: ImageDescription, peer: UploadPeer, name: str) -> ImageDescription:
    """An image the location has, under another name too."""
    if not name:
        return found
    diff_ids = [layer.diff_id for layer in found.layers]
    peer.offer(name, found.config, diff_ids)
    return peer.finish(name, found.config, diff_ids)


def _from_here(
    reference: Reference,
    peer: UploadPeer,
    open_source: Callable[[Reference], ImageSource],
    name: str,
    progress: Progress,
) -> ImageDescription:
    with closing(open_source(reference)) as source:
        return upload(source, peer, name=name, progress=progress)


def upload(source: ImageSource, peer: UploadPeer, *, name: str = "", progress: Progress = silent) -> ImageDescription:
    """Offer an image and bring what is missing; an interrupted upload is taken up again where it broke off.

    Args:
        name: the name to file it under; default the source's.

    Raises:
        BadImage: the source is damaged, or the location refuses the image.
        Exhausted: no space, here or there.
        Unavailable: the location could not be reached, several times.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _upload(source, peer, name or source.name, progress)
        except TfError as error:
            if not error.retryable or attempt == ATTEMPTS:
                raise
            log.warning("the upload of %s was interrupted and is taken up again: %s", source.name, error)
    raise AssertionError("unreachable")


def _upload(source: ImageSource, peer: UploadPeer, name: str, progress: Progress) -> ImageDescription:
    diff_ids = parse_config(source.config).diff_ids
    needs = peer.offer(name, source.config, diff_ids)
    wanted = [need for need in needs if need.need is not Need.HAVE]
    if wanted:
        sizes = source.read_out([need.diff_id for need in wanted], progress)
        _bring(source, peer, wanted, Meter(sizes, f"uploading {source.name}", progress))
    return peer.finish(name, source.config, diff_ids)


def _bring(source: ImageSource, peer: UploadPeer, wanted: Sequence[LayerNeed], meter: Meter) -> None:
    for need in wanted:
        if need.need is Need.SEND or not _proved(source, peer, need, meter):
            _send(source, peer, need.diff_id, meter)


def _proved(source: ImageSource, peer: UploadPeer, need: LayerNeed, meter: Meter) -> bool:
    """Proving is reading, so it shows as progress; a layer that must be sent after all is counted anew."""
    with source.open_layer(need.diff_id) as chunks:
        content = expanded(meter.counted(need.diff_id, chunks), what=f"layer {need.diff_id}")
        proof = proof_of(need.nonce, content)
    try:
        peer.prove(need.diff_id, need.nonce, proof)
    except Refused as refused:
        log.info("layer %s has to be sent: %s", need.diff_id, refused)
        return False
    return True


def _send(source: ImageSource, peer: UploadPeer, diff_id: str, meter: Meter) -> None:
    with source.open_layer(diff_id) as chunks:
        peer.send(diff_id, meter.counted(diff_id, chunks))


class Meter:
    """How far the upload is, over all layers."""

    def __init__(self, sizes: Mapping[str, int], what: str, progress: Progress) -> None:
        """`sizes` are the layers' bytes by diff_id."""
        self._done = dict.fromkeys(sizes, 0)
        self._total = sum(sizes.values())
        self._what = what
        self._progress = progress
        self._report()

    def _report(self) -> None:
        self._progress(self._what, sum(self._done.values()), self._total)

    def counted(self, diff_id: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass a layer's chunks on and report each."""
        self._done[diff_id] = 0
        for chunk in chunks:
            yield chunk
            self._done[diff_id] += len(chunk)
            self._report()
