"""Images and the few verbs that tests of the location's cache play with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.support.images import SampleImage, digest
from tfcore.images.description import Layer
from tflocation.images.cache import ImageCache

BASE, APP, OTHER = ({"base": "b" * 4000}, {"app": "a" * 4000}, {"other": "o" * 4000})
IMAGE = SampleImage([BASE, APP], {"Cmd": ["/app"]})
SIBLING = SampleImage([BASE, OTHER], {"Cmd": ["/other"]})


def chopped(data: bytes, size: int = 700) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def put(cache: ImageCache, account: str, tar: bytes, *, blob: bytes | None = None) -> Layer:
    return cache.put_layer(account, digest(tar), chopped(tar if blob is None else blob))


def store(cache: ImageCache, account: str, name: str, image: SampleImage) -> None:
    for tar in image.tars:
        put(cache, account, tar)
    cache.tag(account, name, image.config_json)


def files(root: Path) -> set[str]:
    """Every blob on disk, and whatever was left half written."""
    return {path.name for path in (root / "blobs" / "sha256").iterdir()} | {
        f"incoming/{path.name}" for path in (root / "incoming").iterdir()
    }


def blob_of(cache: ImageCache, layer: Layer) -> bytes:
    with cache.open_blob(layer.digest) as chunks:
        return b"".join(chunks)
