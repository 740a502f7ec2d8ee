"""Images through real sockets: uploaded, found, fetched by nodes; broken off, cut, given up."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.location.world import SOON, an_image, location, run, until
from tfcore.errors import BadImage, ImageNotFound, NotFound, TfError, WrongState
from tfcore.images.possession import proof_of
from tfcore.rpc.streams import INPUT, OUTPUT
from tfcore.wire import images as i
from tfcore.wire import sessions as s


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


def test_an_uploaded_image_is_found_by_its_account_only(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            alice, bob = await world.client("alice"), await world.client("bob")
            config, diff_id, layer = an_image()
            made = await alice.upload("web", (config, diff_id, layer))
            assert [(wire.diff_id, wire.size) for wire in made.layers] == [(diff_id, len(layer))]
            found = await alice.call(i.FindImage(name="web"))
            assert (found.config, found.layers) == (config, made.layers)
            listed = (await alice.call(i.ListImages())).images
            assert [(line.name, line.layers) for line in listed] == [("web", 1)]
            assert isinstance(await bob.error_of(i.FindImage(name="web")), ImageNotFound)
            assert (await bob.call(i.ListImages())).images == ()
            await alice.call(i.RemoveImage(name="web"))
            assert isinstance(await alice.error_of(i.FindImage(name="web")), ImageNotFound)

    run(scenario)


def test_a_layer_somebody_else_brought_is_proved_not_sent(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            alice, bob = await world.client("alice"), await world.client("bob")
            config, diff_id, layer = an_image()
            await alice.upload("web", (config, diff_id, layer))
            offer = i.OfferImage(name="mine", config=config, diff_ids=(diff_id,))
            (need,) = (await bob.call(offer)).needs
            assert need.need == "prove"
            proof = proof_of(need.nonce, [layer])
            await bob.call(i.ProveLayer(diff_id=diff_id, nonce=need.nonce, proof=proof))
            await bob.call(i.FinishImage(name="mine", config=config, diff_ids=(diff_id,)))
            assert (await bob.call(i.FindImage(name="mine"))).layers[0].diff_id == diff_id

    run(scenario)


def test_a_layer_that_is_not_what_it_should_be_is_refused(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            config, diff_id, layer = an_image()
            with pytest.raises(BadImage):
                await client.upload("web", (config, diff_id, layer[:-1] + b"!"))
            with pytest.raises(WrongState):
                await client.call(i.FinishImage(name="web", config=config, diff_ids=(diff_id,)))
            await client.upload("web", (config, diff_id, layer))

    run(scenario)


def test_a_layer_nobody_offered_is_refused(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            _, diff_id, layer = an_image()
            sending = client.link.begin(i.PutLayer(diff_id=diff_id), timeout=SOON)
            await sending.stream.write(INPUT, layer)
            sending.stream.finish(INPUT)
            with pytest.raises(WrongState):
                await sending.reply()

    run(scenario)


def test_an_upload_given_up_leaves_no_thread_waiting(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            config, diff_id, layer = an_image()
            await client.call(i.OfferImage(name="web", config=config, diff_ids=(diff_id,)))
            sending = client.link.begin(i.PutLayer(diff_id=diff_id), timeout=600)
            await sending.stream.write(INPUT, layer[:100])
            session = world.location.sessions.get(client.welcome.session)
            await until(lambda: session.link._served)
            sending.abandon()
            await until(lambda: not session.link._served)
            await client.upload("web", (config, diff_id, layer))

    run(scenario)


def test_an_upload_cut_in_the_middle_goes_on(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            config, diff_id, layer = an_image()
            await client.call(i.OfferImage(name="web", config=config, diff_ids=(diff_id,)))
            sending = client.link.begin(i.PutLayer(diff_id=diff_id), timeout=600)
            await sending.stream.write(INPUT, layer[:100])
            session = world.location.sessions.get(client.welcome.session)
            await until(lambda: any(call.stream.received for _, call in session.link._served.values()))
            client.cut()
            client.reconnect()
            await client.take_up()
            await sending.stream.write(INPUT, layer[100:])
            sending.stream.finish(INPUT)
            await sending.reply()
            assert await client.call(i.FinishImage(name="web", config=config, diff_ids=(diff_id,)))

    run(scenario)


@pytest.mark.parametrize("read", [False, True], ids=["nothing read", "something read"])
def test_an_upload_to_a_location_that_is_restarted_fails_at_once_and_can_be_asked_again(root: Path, read: bool) -> None:
    """The location does not know any more what it was offered, nor has anybody what it had read already."""

    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            config, diff_id, layer = an_image()
            await client.call(i.OfferImage(name="web", config=config, diff_ids=(diff_id,)))
            sending = client.link.begin(i.PutLayer(diff_id=diff_id), timeout=600)
            await sending.stream.write(INPUT, layer[:100])
            if read:
                await until(lambda: sending.stream.kept == 0)
            await world.restart()
            await client.take_up()
            with pytest.raises(TfError, match=r"was restarted|was not offered"):
                await sending.reply()
            await client.upload("web", (config, diff_id, layer))

    run(scenario)


def test_a_node_goes_on_fetching_from_a_location_that_is_restarted(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            made = await client.upload("web", an_image(hashlib.sha256(b"seed").digest() * 500_000))
            fetching = node.link.begin(i.FetchLayer(digest=made.layers[0].digest), timeout=SOON)
            fetched = bytearray()
            while len(fetched) < 9_000_000:  # more than a window: a location that begins anew needs credit to get there
                fetched += await fetching.stream.read(OUTPUT)
            await world.restart()
            await node.rejoin()
            async for chunk in fetching.stream.chunks(OUTPUT):
                fetched += chunk
            await fetching.reply()
            assert "sha256:" + hashlib.sha256(fetched).hexdigest() == made.layers[0].digest

    run(scenario)


def test_a_node_fetches_a_layer_by_its_digest(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            content = hashlib.sha256(b"seed").digest() * 300_000  # ten megabytes: more than a window
            made = await client.upload("web", an_image(content))
            layer = made.layers[0]
            fetching = node.link.begin(i.FetchLayer(digest=layer.digest), timeout=SOON)
            hashed = hashlib.sha256()
            async for chunk in fetching.stream.chunks(OUTPUT):
                hashed.update(chunk)
            assert (await fetching.reply()).size == layer.size
            assert "sha256:" + hashed.hexdigest() == layer.digest
            assert isinstance(await node.error_of(i.FetchLayer(digest="sha256:" + "0" * 64)), NotFound)

    run(scenario)


def test_a_node_that_stops_fetching_lets_go_of_the_file(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            layer = (await client.upload("web", an_image(bytes(10_000_000)))).layers[0]
            fetching = node.link.begin(i.FetchLayer(digest=layer.digest), timeout=SOON)
            await fetching.stream.read(OUTPUT)
            serving = next(iter(world.location.nodes)).link
            fetching.abandon()
            await until(lambda: not serving._served)

    run(scenario)


def test_images_over_the_limit_are_evicted_but_not_what_runs(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            client = await world.client()
            await world.container(client)
            object.__setattr__(world.location.options, "image_space", 1)
            await client.upload("big", an_image(bytes(100_000)))
            await until(lambda: world.location.images.usage().layers == 1)
            await client.call(i.FindImage(name="web"))

    run(scenario)


def test_a_client_cannot_fetch_layers(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            layer = (await client.upload("web", an_image())).layers[0]
            error = await client.error_of(i.FetchLayer(digest=layer.digest))
            assert "unknown operation" in error.message

    run(scenario)


def test_what_a_session_offered_is_not_pinned_after_its_end(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            config, diff_id, _ = an_image()
            await client.call(i.OfferImage(name="web", config=config, diff_ids=(diff_id,)))
            assert world.location.images._pins
            await client.call(s.CloseSession())
            await until(lambda: not world.location.images._pins)

    run(scenario)
