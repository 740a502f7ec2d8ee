"""Images on their way from a client to the location's cache, and from there to a node."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from tfcore.wire.message import Done, Reply, Request, carries_contents
from tfcore.wire.values import Bytes, Digest, ImageName


class WireLayer(Struct, frozen=True, kw_only=True):
    """A layer: `diff_id` is the digest of the uncompressed tar, `digest` and `size` are the blob's as stored."""

    diff_id: Digest
    digest: Digest
    size: Bytes
    media_type: str = ""


class ImageFound(Reply, frozen=True, kw_only=True, tag="image.found"):
    """The image as the account knows it: the raw image config (JSON) and its layers, bottom first."""

    name: ImageName
    config: bytes
    layers: tuple[WireLayer, ...]


class FindImage(Request[ImageFound], frozen=True, kw_only=True, tag="image.find"):
    """Is this image in the location's cache, for this account?

    Fails with `image-not-found`.
    """

    name: ImageName


class ImageSummary(Struct, frozen=True, kw_only=True):
    """One line of the cache's list."""

    name: str
    config_digest: Digest
    size: Bytes
    layers: int


class ImagesListed(Reply, frozen=True, kw_only=True, tag="image.listed"):
    """The account's images."""

    images: tuple[ImageSummary, ...]


class ListImages(Request[ImagesListed], frozen=True, kw_only=True, tag="image.list"):
    """Which images does the cache hold for this account?"""


class LayerNeed(Struct, frozen=True, kw_only=True):
    """What the location wants of one layer: nothing (`have`), the answer to a challenge (`prove`), or all (`send`)."""

    diff_id: Digest
    need: Literal["have", "prove", "send"]
    nonce: bytes = b""


class UploadPlanned(Reply, frozen=True, kw_only=True, tag="image.planned"):
    """What is still needed before the image can be used."""

    needs: tuple[LayerNeed, ...]


class OfferImage(Request[UploadPlanned], frozen=True, kw_only=True, tag="image.offer"):
    """The client has this image: what of it is missing?"""

    name: ImageName
    config: bytes
    diff_ids: tuple[Digest, ...]


class ProveLayer(Request[Done], frozen=True, kw_only=True, tag="image.prove"):
    """The answer to a challenge: shows that the client holds the layer's bytes.

    Possession of a layer is never inferred from its digest (DESIGN D5).
    """

    diff_id: Digest
    nonce: bytes
    proof: bytes


class PutLayer(Request[Done], frozen=True, kw_only=True, tag="image.put-layer"):
    """A layer's bytes follow on channel 0 of this request's stream, as the client has them (plain tar or gzip)."""

    diff_id: Digest


class FinishImage(Request[ImageFound], frozen=True, kw_only=True, tag="image.finish"):
    """All layers are there: make the image known to the account under `name`."""

    name: ImageName
    config: bytes
    diff_ids: tuple[Digest, ...]


class _ImageContents(Struct):
    config: bytes


for _cls in (OfferImage, FinishImage):
    carries_contents(_cls, _ImageContents, lambda offered: len(offered.config))


class RemoveImage(Request[Done], frozen=True, kw_only=True, tag="image.remove"):
    """Forget the image for this account."""

    name: ImageName


class LayerSent(Reply, frozen=True, kw_only=True, tag="image.layer-sent"):
    """All bytes of the layer went out on channel 1."""

    size: Bytes


class FetchLayer(Request[LayerSent], frozen=True, kw_only=True, tag="image.fetch-layer"):
    """A node wants a layer's blob; it comes on channel 1."""

    digest: Digest
