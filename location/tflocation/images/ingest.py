"""A layer's arrival: written, and both its digests computed, in one pass over the bytes. Knows no cache and no accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tfcore.errors import BadImage
from tfcore.images.compression import Compression, Expansion, expanded, media_type_of, sniff
from tfcore.images.description import Layer
from tfcore.images.digest import Digester


def ingest(
    chunks: Iterable[bytes | memoryview],
    write: Callable[[bytes], None],
    *,
    diff_id: str,
    limit: int,
    allowed: Expansion,
) -> Layer:
    """Write a layer's blob and find out what it is.

    Args:
        chunks: the blob, plain or compressed.
        write: takes the chunks, in order.
        diff_id: what the uncompressed bytes must hash to.
        limit: bytes of blob that are refused.
        allowed: what a compressed blob may grow to; it is expanded in passing and not kept.

    Raises:
        BadImage: other content than `diff_id` says, damaged, cut off, or too large. Then what was written is worthless.
    """
    what = f"layer {diff_id}"
    blob = Digester(_written(chunks, write, limit=limit, what=what))
    compression, again = sniff(blob)
    media_type = media_type_of(compression)
    content = _content_digest(again, compression, blob, what=what, allowed=allowed)
    if content != diff_id:
        raise BadImage(f"{what} is damaged or cut off: what arrived has the digest {content}")
    return Layer(diff_id=diff_id, digest=blob.digest, size=blob.size, media_type=media_type)


def _content_digest(
    chunks: Iterator[bytes], compression: Compression, blob: Digester, *, what: str, allowed: Expansion
) -> str:
    if compression is not Compression.NONE:
        return Digester(expanded(chunks, what=what, allowed=allowed)).exhaust()
    for _ in chunks:  # a plain blob is its content: one hash does for both
        pass
    return blob.digest


def _written(
    chunks: Iterable[bytes | memoryview], write: Callable[[bytes], None], *, limit: int, what: str
) -> Iterator[bytes]:
    size = 0
    for chunk in map(bytes, chunks):
        size += len(chunk)
        if size > limit:
            raise BadImage(f"{what} is larger than {limit} bytes", hint="the limit is the location's")
        write(chunk)
        yield chunk
