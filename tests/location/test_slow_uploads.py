"""Uploads that do not come to an end: they keep nobody else's waiting, and not for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.location.world import Client, an_image, location, run, until
from tfcore.errors import DeadlineExceeded
from tfcore.rpc.streams import INPUT
from tfcore.wire import images as i
from tflocation.disk import UPLOADS_EACH
from tflocation.leases.machine import Terms


async def begin(client: Client, number: int) -> object:
    """Offer an image of its own, and send nothing of its layer."""
    config, diff_id, _ = an_image(b"%d" % number)
    await client.call(i.OfferImage(name=f"slow-{number}", config=config, diff_ids=(diff_id,)))
    return client.link.begin(i.PutLayer(diff_id=diff_id), timeout=60)


def test_who_uploads_without_end_keeps_no_other_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if all threads there are were as many as one account may have and one."""
    monkeypatch.setattr("tflocation.disk.UPLOAD_THREADS", UPLOADS_EACH + 1)

    async def scenario() -> None:
        async with location(tmp_path) as world:
            mallory, alice = await world.client("mallory"), await world.client("alice")
            for number in range(3 * UPLOADS_EACH):
                await begin(mallory, number)
            assert (await alice.upload("web", an_image())).name == "web"

    run(scenario)


def test_an_upload_that_stands_still_is_given_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path, terms=Terms(session=0.3)) as world:
            mallory = await world.client("mallory")
            config, diff_id, layer = an_image()
            await mallory.call(i.OfferImage(name="slow", config=config, diff_ids=(diff_id,)))
            sending = mallory.link.begin(i.PutLayer(diff_id=diff_id), timeout=60)
            await sending.stream.write(INPUT, layer[:100])
            alive = asyncio.ensure_future(_stay(mallory))
            with pytest.raises(DeadlineExceeded, match="nothing of the layer came"):
                await sending.reply()
            alive.cancel()
            await until(lambda: world.location.images.usage().size == 0)

    run(scenario)


async def _stay(client: Client) -> None:
    from tfcore.wire.sessions import RenewLease

    while True:
        await client.call(RenewLease())
        await asyncio.sleep(0.02)
