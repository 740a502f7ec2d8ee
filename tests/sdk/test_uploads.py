"""Images on their way over a real wire, and everything that can end a layer in the middle."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sdk.conftest import Connect
from tests.sdk.fake_location import FakeLocation
from tests.support.images import Blobs, SampleImage
from tests.support.waiting import eventually
from tfcore.errors import BadImage, Exhausted, ImageNotFound
from tfcore.ids import new_id
from tfcore.rpc.dispatcher import Call
from tfcore.rpc.streams import INPUT, WINDOW
from tfcore.wire import images as wire
from tfcore.wire.message import Done
from tfcore.wire.sessions import NodeOffer
from tfnz import upload
from tfnz.location import Location

LARGE = os.urandom(3 * WINDOW)
IMAGE = SampleImage([{"base": "b" * 4000}, {"large": LARGE}], {"Cmd": ["/app"]})


class Shelf:
    """A cache that keeps layers in memory.

    Attributes:
        layers: their bytes, by diff_id.
        begun: layers that were begun, in order.
        given_up: how many were given up by who sent them.
        instead: what to do with a layer instead of keeping it.
    """

    def __init__(self, fake: FakeLocation) -> None:
        self.layers: dict[str, bytes] = {}
        self.images: dict[str, wire.FinishImage] = {}
        self.begun: list[str] = []
        self.given_up = 0
        self.instead: Callable[[Call], object] | None = None
        fake.handlers |= {
            wire.FindImage: self._find,
            wire.OfferImage: self._offer,
            wire.PutLayer: self._put,
            wire.FinishImage: self._finish,
        }
        fake.forget()

    async def _find(self, _call: Call, message: wire.FindImage) -> wire.ImageFound:
        if message.name not in self.images:
            raise ImageNotFound(f"there is no {message.name}")
        return self._found(self.images[message.name])

    async def _offer(self, _call: Call, message: wire.OfferImage) -> wire.UploadPlanned:
        return wire.UploadPlanned(
            needs=tuple(
                wire.LayerNeed(diff_id=diff_id, need="have" if diff_id in self.layers else "send")
                for diff_id in message.diff_ids
            )
        )

    async def _put(self, call: Call, message: wire.PutLayer) -> Done:
        self.begun.append(message.diff_id)
        try:
            instead, self.instead = self.instead, None
            if instead is not None:
                await instead(call)  # type: ignore[misc]
                return Done()
            data = b"".join([bytes(chunk) async for chunk in call.stream.chunks(INPUT)])
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        self.layers[message.diff_id] = data
        return Done()

    async def _finish(self, _call: Call, message: wire.FinishImage) -> wire.ImageFound:
        assert set(message.diff_ids) <= set(self.layers)
        self.images[message.name] = message
        return self._found(message)

    def _found(self, image: wire.FinishImage) -> wire.ImageFound:
        layers = tuple(wire.WireLayer(diff_id=d, digest=d, size=len(self.layers[d])) for d in image.diff_ids)
        return wire.ImageFound(name=image.name, config=image.config, layers=layers)


@pytest.fixture
def shelf(fake: FakeLocation) -> Shelf:
    return Shelf(fake)


@pytest.fixture
def location(fake: FakeLocation, shelf: Shelf, connect: Connect) -> Location:
    return connect(fake)


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return IMAGE.oci_layout(tmp_path / "image")


def nothing_under_way(location: Location) -> bool:
    return not location._connection.link._calls


def test_what_is_missing_travels_once(location: Location, shelf: Shelf, layout: Path) -> None:
    assert location.ensure_image_uploaded(f"oci:{layout}") == IMAGE.diff_ids
    assert list(shelf.layers.values()) == IMAGE.tars
    assert location.ensure_image_uploaded(f"oci:{layout}") == IMAGE.diff_ids
    assert shelf.begun == IMAGE.diff_ids


def test_only_what_is_missing_travels(location: Location, shelf: Shelf, layout: Path) -> None:
    shelf.layers[IMAGE.diff_ids[1]] = IMAGE.tars[1]
    location.ensure_image_uploaded(f"oci:{layout}")
    assert shelf.begun == IMAGE.diff_ids[:1]


def test_a_layer_that_is_damaged_here_is_given_up_there(location: Location, shelf: Shelf, layout: Path) -> None:
    damaged = layout / "blobs" / "sha256" / IMAGE.diff_ids[1].removeprefix("sha256:")
    content = bytearray(damaged.read_bytes())
    content[-1000] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(BadImage):
        location.ensure_image_uploaded(f"oci:{layout}")
    eventually(lambda: shelf.given_up)
    assert list(shelf.layers) == IMAGE.diff_ids[:1]
    assert nothing_under_way(location)


@pytest.mark.parametrize("how", [KeyboardInterrupt, ZeroDivisionError])
def test_an_upload_that_is_broken_off_is_given_up_there(
    location: Location, shelf: Shelf, layout: Path, how: type[BaseException]
) -> None:
    def break_off(_what: str, done: int, _total: int) -> None:
        if done > WINDOW:
            raise how

    with pytest.raises(how):
        location.ensure_image_uploaded(f"oci:{layout}", progress=break_off)
    eventually(lambda: shelf.given_up)
    assert nothing_under_way(location)


def test_a_refusal_in_the_middle_is_told(location: Location, shelf: Shelf, layout: Path) -> None:
    async def refuse(call: Call) -> None:
        await call.stream.read(INPUT)
        raise Exhausted("the cache is full")

    shelf.instead = refuse
    with pytest.raises(Exhausted, match="the cache is full"):
        location.ensure_image_uploaded(f"oci:{layout}")
    assert nothing_under_way(location)


def test_a_location_that_wants_no_more_is_believed(location: Location, shelf: Shelf, layout: Path) -> None:
    """Another upload has brought the layer meanwhile."""

    async def enough(call: Call) -> None:
        await call.stream.read(INPUT)
        shelf.layers.update(zip(IMAGE.diff_ids, IMAGE.tars, strict=True))

    shelf.layers[IMAGE.diff_ids[0]] = IMAGE.tars[0]
    shelf.instead = enough
    assert location.ensure_image_uploaded(f"oci:{layout}") == IMAGE.diff_ids
    assert nothing_under_way(location)


def test_a_cut_in_the_middle_costs_nothing_but_time(
    location: Location, shelf: Shelf, fake: FakeLocation, layout: Path
) -> None:
    """Also if the location was restarted meanwhile and knows nothing of it: the layer is sent once more."""
    half_way = threading.Event()

    async def stall(call: Call) -> None:
        await call.stream.read(INPUT)
        half_way.set()
        while call.stream.received < WINDOW:
            await call.stream.read(INPUT)
        await asyncio.sleep(3600)

    def cut() -> None:
        half_way.wait(10)
        fake.stop()
        fake.forget()
        fake.start()

    shelf.layers[IMAGE.diff_ids[0]] = IMAGE.tars[0]
    shelf.instead = stall
    cutting = threading.Thread(target=cut)
    cutting.start()
    assert location.ensure_image_uploaded(f"oci:{layout}") == IMAGE.diff_ids
    cutting.join()
    assert shelf.layers[IMAGE.diff_ids[1]] == IMAGE.tars[1]
    assert set(shelf.begun) == {IMAGE.diff_ids[1]}
    assert len(shelf.begun) >= 2


def test_progress_is_told_to_who_asks(location: Location, shelf: Shelf, layout: Path) -> None:
    told: list[tuple[str, int, int]] = []
    location.ensure_image_uploaded(f"oci:{layout}", progress=lambda *what: told.append(what))
    total = sum(map(len, IMAGE.tars))
    assert told[0][1:] == (0, total)
    assert told[-1][1:] == (total, total)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_without_being_asked_it_says_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tfnz.upload")
    lines = upload.Lines()
    for done in range(0, 1001):
        lines("uploading nginx", done * 10_000, 10_000_000)
    assert caplog.messages[0] == "Background uploading nginx: 0.0 of 10.0 MB"
    assert caplog.messages[-1] == "Background uploading nginx: 10.0 of 10.0 MB"
    assert len(caplog.messages) < 20


@pytest.mark.parametrize("architecture", ["arm64", "amd64"])
def test_the_nodes_platform_is_chosen(
    fake: FakeLocation, shelf: Shelf, connect: Connect, tmp_path: Path, architecture: str
) -> None:
    fake.nodes = (NodeOffer(id=new_id("n"), name="one", arch=architecture),)
    blobs = Blobs()
    built = {arch: SampleImage([{"arch": arch}], architecture=arch) for arch in ("amd64", "arm64")}
    blobs.write(tmp_path / "both", [blobs.index([blobs.image(image, platform=True) for image in built.values()])])
    assert connect(fake).ensure_image_uploaded(f"oci:{tmp_path / 'both'}") == built[architecture].diff_ids


def test_an_image_nobody_has(location: Location, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-docker")
    with pytest.raises(ImageNotFound, match="the location's cache has no image nothing") as missing:
        location.ensure_image_uploaded("nothing")
    assert isinstance(missing.value, ValueError)
