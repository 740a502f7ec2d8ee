"""Images: looked up, uploaded, fetched by nodes. The cache does it, in threads; here the wire and the streams are joined."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

from tfcore.errors import DeadlineExceeded, Unavailable
from tfcore.images.description import ImageDescription, Layer
from tfcore.rpc.dispatcher import Call
from tfcore.rpc.streams import INPUT, OUTPUT, Stream
from tfcore.wire.images import (
    FetchLayer,
    FindImage,
    FinishImage,
    ImageFound,
    ImagesListed,
    ImageSummary,
    LayerNeed,
    LayerSent,
    ListImages,
    OfferImage,
    ProveLayer,
    PutLayer,
    RemoveImage,
    UploadPlanned,
    WireLayer,
)
from tfcore.wire.message import Done
from tflocation.images.cache import ImageCache
from tflocation.location import Location


async def find(location: Location, call: Call, message: FindImage) -> ImageFound:
    """Is this image known to the account?"""
    image = await location.disk.run(location.images.describe, call.account, message.name)
    return found(message.name, image)


async def list_all(location: Location, call: Call, _message: ListImages) -> ImagesListed:
    """The account's images."""
    lines = await location.disk.run(location.images.images, call.account)
    return ImagesListed(
        images=tuple(
            ImageSummary(name=line.name, config_digest=line.config_digest, size=line.size, layers=line.layers)
            for line in lines
        )
    )


async def offer(location: Location, call: Call, message: OfferImage) -> UploadPlanned:
    """What of an image is missing?"""
    with location.guard.meter(call.account) as meter:
        await location.disk.run(meter.count, 1)  # how much will come is not known yet
    needs = await location.disk.run(
        location.uploads.offer, call.account, call.session, message.config, message.diff_ids
    )
    return UploadPlanned(
        needs=tuple(LayerNeed(diff_id=need.diff_id, need=need.need.value, nonce=need.nonce) for need in needs)
    )


async def prove(location: Location, call: Call, message: ProveLayer) -> Done:
    """Check the answer to a challenge."""
    await location.disk.read_through(  # it reads the whole layer, which its asker need not have
        call.account, location.uploads.prove, call.account, call.session, message.diff_id, message.nonce, message.proof
    )
    return Done()


async def put_layer(location: Location, call: Call, message: PutLayer) -> Done:
    """Store the layer that follows on the stream."""
    async with location.disk.turn(call.account):
        await _receive(location, call, message)
    return Done()


async def _receive(location: Location, call: Call, message: PutLayer) -> None:
    loop = asyncio.get_running_loop()
    metering = location.guard.meter(call.account)

    def receive() -> Layer:
        with metering as meter:
            chunks = _arriving(call.stream, loop, meter.count, patience=location.options.terms.session)
            return location.uploads.receive(call.account, call.session, message.diff_id, chunks)

    work = loop.run_in_executor(location.disk.uploads, receive)
    try:
        await asyncio.shield(work)
    finally:
        # Whoever gave up on the upload, its thread must not wait for bytes that nobody will send.
        call.stream.abort(Unavailable("the upload was given up"))
        await asyncio.wait([work])
        work.exception()  # collected, if we were cancelled


def _arriving(
    stream: Stream, loop: asyncio.AbstractEventLoop, count: Callable[[int], None], *, patience: float
) -> Iterator[bytes | memoryview]:
    """A stream's chunks for a thread that reads them one by one; `count` is told their sizes.

    Raises:
        DeadlineExceeded: nothing came for `patience` seconds: who is cut off for so long has no session any more.
    """
    while True:
        reading = asyncio.run_coroutine_threadsafe(stream.read(INPUT), loop)
        try:
            chunk = reading.result(patience)
        except TimeoutError as late:
            if reading.done():
                raise
            reading.cancel()
            raise DeadlineExceeded(f"nothing of the layer came for {patience:g} s", retryable=True) from late
        if not chunk:
            return
        count(len(chunk))
        yield chunk


async def finish(location: Location, call: Call, message: FinishImage) -> ImageFound:
    """All layers are there: describe the image for the account, and make room if need be."""
    image = await location.disk.run(
        location.uploads.finish, call.account, call.session, message.name, message.config, message.diff_ids
    )
    location.background.start(
        location.disk.run(location.images.evict, location.options.image_space), name="eviction of images"
    )
    return found(message.name, image)


async def remove(location: Location, call: Call, message: RemoveImage) -> Done:
    """Forget an image for the account."""
    await location.disk.run(location.images.remove, call.account, message.name)
    return Done()


async def fetch_layer(location: Location, call: Call, message: FetchLayer) -> LayerSent:
    """Send a layer's blob to a node, no faster than it reads."""
    reading = _Blob(location.images, message.digest)
    size = 0
    try:
        while chunk := await location.disk.run(reading.next):
            await call.stream.write(OUTPUT, chunk)
            size += len(chunk)
    finally:
        reading.close()
    call.stream.finish(OUTPUT)
    return LayerSent(size=size)


class _Blob:
    """A blob read piece by piece, each piece in whichever thread is free."""

    def __init__(self, cache: ImageCache, digest: str) -> None:
        self._opened = cache.open_blob(digest)
        self._chunks: Iterator[bytes] | None = None
        self._lock = threading.Lock()

    def next(self) -> bytes:
        """The next piece; b"" at the end."""
        with self._lock:
            if self._chunks is None:
                self._chunks = self._opened.__enter__()
            return next(self._chunks, b"")

    def close(self) -> None:
        """Let go of the file, once the piece that is being read has been read."""
        with self._lock:
            if self._chunks is not None:
                self._opened.__exit__(None, None, None)
            self._chunks = iter(())


def found(name: str, image: ImageDescription) -> ImageFound:
    """An image as the wire says it."""
    return ImageFound(name=name, config=image.config, layers=wire_layers(image))


def wire_layers(image: ImageDescription) -> tuple[WireLayer, ...]:
    """An image's layers as the wire says them."""
    return tuple(
        WireLayer(diff_id=layer.diff_id, digest=layer.digest, size=layer.size, media_type=layer.media_type)
        for layer in image.layers
    )
