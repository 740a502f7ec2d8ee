"""The location's cache: what arrives is checked, and who may use it."""

from __future__ import annotations

import errno
import gzip
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.cached import APP, BASE, IMAGE, SIBLING, blob_of, chopped, files, put, store
from tests.support.images import SampleImage, digest, gzipped
from tfcore.errors import BadImage, Exhausted, ImageNotFound, NotFound, StorageFailed, Unavailable, WrongState
from tfcore.images.compression import Expansion
from tfcore.images.description import Layer
from tflocation.images import blobs
from tflocation.images.cache import CachedImage, CacheLimits, ImageCache


class TestLayersArrive:
    def test_a_plain_layer_is_its_own_blob(self, cache: ImageCache) -> None:
        tar = IMAGE.tars[0]
        layer = put(cache, "ann", tar)
        assert layer.digest == layer.diff_id == digest(tar)
        assert (layer.size, layer.media_type) == (len(tar), "application/vnd.oci.image.layer.v1.tar")
        assert blob_of(cache, layer) == tar

    def test_a_compressed_layer_is_kept_as_it_came_and_known_by_its_content(self, cache: ImageCache) -> None:
        tar = IMAGE.tars[0]
        layer = put(cache, "ann", tar, blob=gzipped(tar))
        assert layer.diff_id == digest(tar)
        assert layer.digest == digest(gzipped(tar))
        assert layer.media_type.endswith("tar+gzip")
        assert blob_of(cache, layer) == gzipped(tar)
        with cache.open_content(layer.diff_id) as content:
            assert b"".join(content) == tar

    def test_the_same_layer_otherwise_compressed_is_the_same_layer(self, cache: ImageCache, root: Path) -> None:
        tar = IMAGE.tars[0]
        first = put(cache, "ann", tar, blob=gzipped(tar))
        assert put(cache, "bob", tar) == first
        assert put(cache, "bob", tar, blob=gzip.compress(tar, 9)) == first
        assert files(root) == {first.digest.removeprefix("sha256:")}
        assert cache.possesses("bob", first.diff_id)

    def test_chunks_may_be_views(self, cache: ImageCache) -> None:
        tar = IMAGE.tars[0]
        assert cache.put_layer("ann", digest(tar), [memoryview(gzipped(tar))]).size == len(gzipped(tar))

    @pytest.mark.parametrize(
        "blob",
        [
            pytest.param(IMAGE.tars[0][:-1], id="cut off"),
            pytest.param(IMAGE.tars[0] + b"\0", id="longer"),
            pytest.param(IMAGE.tars[1], id="another layer"),
            pytest.param(b"", id="nothing"),
            pytest.param(gzipped(IMAGE.tars[0])[:-3], id="gzip cut off"),
            pytest.param(gzipped(IMAGE.tars[0]) + b"more", id="gzip and more"),
            pytest.param(gzipped(IMAGE.tars[1]), id="gzip of another layer"),
        ],
    )
    def test_anything_else_than_the_layer_leaves_nothing(self, cache: ImageCache, root: Path, blob: bytes) -> None:
        with pytest.raises(BadImage, match=digest(IMAGE.tars[0])):
            put(cache, "ann", IMAGE.tars[0], blob=blob)
        assert files(root) == set()
        assert not cache.has(digest(IMAGE.tars[0]))
        assert not cache.possesses("ann", digest(IMAGE.tars[0]))

    def test_a_sender_that_breaks_off_leaves_nothing(self, cache: ImageCache, root: Path) -> None:
        def broken() -> Iterator[bytes]:
            yield IMAGE.tars[0][:3000]
            raise Unavailable("the client is gone")

        with pytest.raises(Unavailable):
            cache.put_layer("ann", digest(IMAGE.tars[0]), broken())
        assert files(root) == set()

    def test_what_is_no_digest_is_refused_unread(self, cache: ImageCache) -> None:
        def untouched() -> Iterator[bytes]:
            raise AssertionError("read")
            yield b""

        with pytest.raises(BadImage, match="not a sha256 digest"):
            cache.put_layer("ann", "sha256:../../etc/passwd", untouched())

    def test_a_bomb_is_refused_and_leaves_nothing(self, root: Path) -> None:
        bomb = bytes(8 << 20)
        cache = ImageCache(root, limits=CacheLimits(expansion=Expansion(ratio=100, free=1 << 20)))
        with pytest.raises(BadImage, match="more than 100 times"):
            cache.put_layer("ann", digest(bomb), chopped(gzip.compress(bomb, 9)))
        assert files(root) == set()
        cache.close()

    def test_an_endless_layer_is_refused(self, root: Path) -> None:
        def endless() -> Iterator[bytes]:
            while True:
                yield bytes(1000)

        cache = ImageCache(root, limits=CacheLimits(blob=100_000))
        with pytest.raises(BadImage, match="larger than 100000 bytes"):
            cache.put_layer("ann", digest(b""), endless())
        assert files(root) == set()
        cache.close()

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    @pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, Exhausted), (errno.EIO, StorageFailed)])
    def test_what_the_disk_refuses_is_explained_and_leaves_nothing(
        self,
        cache: ImageCache,
        root: Path,
        monkeypatch: pytest.MonkeyPatch,
        step: str,
        number: int,
        error: type[Exception],
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(blobs.os, step, refuse)
        with pytest.raises(error, match=f"{root}.*{os.strerror(number)}"):
            put(cache, "ann", IMAGE.tars[0])
        assert files(root) == set()

    def test_two_may_send_the_same_layer_at_the_same_time(self, cache: ImageCache, root: Path) -> None:
        tar = IMAGE.tars[0]
        both_started = threading.Barrier(2)

        def halves(blob: bytes) -> Iterator[bytes]:
            yield blob[:500]
            both_started.wait(30)
            yield blob[500:]

        stored: list[Layer] = []

        def send(account: str, blob: bytes) -> None:
            stored.append(cache.put_layer(account, digest(tar), halves(blob)))

        threads = [threading.Thread(target=send, args=args) for args in (("ann", tar), ("bob", gzipped(tar)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert stored[0] == stored[1]
        assert files(root) == {stored[0].digest.removeprefix("sha256:")}
        assert cache.possesses("ann", digest(tar))
        assert cache.possesses("bob", digest(tar))

    def test_an_unknown_blob_is_not_found(self, cache: ImageCache) -> None:
        with pytest.raises(NotFound), cache.open_blob(digest(b"nothing")):
            pass
        with pytest.raises(NotFound), cache.open_content(digest(b"nothing")):
            pass
        with pytest.raises(BadImage), cache.open_blob("../images.sqlite"):
            pass


class TestImages:
    def test_an_image_is_described_once_its_layers_are_there(self, cache: ImageCache) -> None:
        store(cache, "ann", "web:latest", IMAGE)
        image = cache.describe("ann", "web:latest")
        assert image.config == IMAGE.config_json
        assert image.config_digest == IMAGE.id
        assert [layer.diff_id for layer in image.layers] == IMAGE.diff_ids
        assert cache.images("ann") == (
            CachedImage(name="web:latest", config_digest=IMAGE.id, size=sum(map(len, IMAGE.tars)), layers=2),
        )

    def test_an_image_with_the_same_layer_twice(self, cache: ImageCache) -> None:
        twice = SampleImage([BASE, APP, BASE])
        store(cache, "ann", "web:latest", twice)
        image = cache.describe("ann", "web:latest")
        assert [layer.diff_id for layer in image.layers] == twice.diff_ids
        assert image.size == cache.usage().size == sum(map(len, twice.tars[:2]))

    def test_a_missing_layer_is_named_and_nothing_is_described(self, cache: ImageCache, root: Path) -> None:
        put(cache, "ann", IMAGE.tars[0])
        before = files(root)
        with pytest.raises(WrongState, match=IMAGE.diff_ids[1]) as refused:
            cache.tag("ann", "web:latest", IMAGE.config_json)
        assert refused.value.details == {"diff_id": IMAGE.diff_ids[1]}
        assert cache.images("ann") == ()
        assert files(root) == before

    @pytest.mark.parametrize("name", ["", "a\nb", "x" * 1025])
    def test_a_name_nobody_could_print_is_refused(self, cache: ImageCache, name: str) -> None:
        for tar in IMAGE.tars:
            put(cache, "ann", tar)
        with pytest.raises(BadImage, match="cannot name an image"):
            cache.tag("ann", name, IMAGE.config_json)

    @pytest.mark.parametrize("text", ["web:latest", "web", IMAGE.id, IMAGE.id[:20], IMAGE.id[7:19]])
    def test_it_is_found_as_users_write_it(self, cache: ImageCache, text: str) -> None:
        store(cache, "ann", "web:latest", IMAGE)
        assert cache.describe("ann", text).config_digest == IMAGE.id

    def test_it_is_found_by_the_id_docker_gave_it(self, cache: ImageCache) -> None:
        store(cache, "ann", "sha256:337c501c" + "0" * 56, IMAGE)
        assert cache.describe("ann", "337c501c").config_digest == IMAGE.id

    def test_a_name_made_of_digits_comes_before_an_id(self, cache: ImageCache) -> None:
        store(cache, "ann", "sha256:cafe" + "0" * 60, IMAGE)
        store(cache, "ann", "cafe:latest", SIBLING)
        assert cache.describe("ann", "cafe").config_digest == SIBLING.id

    def test_an_id_several_images_share_is_refused(self, cache: ImageCache) -> None:
        store(cache, "ann", "sha256:cafe1" + "0" * 59, IMAGE)
        store(cache, "ann", "sha256:cafe2" + "0" * 59, SIBLING)
        with pytest.raises(BadImage, match="several images"):
            cache.describe("ann", "cafe")

    def test_a_file_reference_is_found_as_it_was_filed(self, cache: ImageCache) -> None:
        store(cache, "ann", "oci:/srv/web:v1", IMAGE)
        assert cache.describe("ann", "oci:/srv/web:v1").config_digest == IMAGE.id
        with pytest.raises(ImageNotFound):
            cache.describe("ann", "oci:/srv/web")

    def test_a_name_can_move_to_another_image(self, cache: ImageCache) -> None:
        store(cache, "ann", "web:latest", IMAGE)
        store(cache, "ann", "web:latest", SIBLING)
        assert cache.describe("ann", "web").config_digest == SIBLING.id
        assert cache.describe("ann", IMAGE.id).config_digest == IMAGE.id
        assert {image.name for image in cache.images("ann")} == {"web:latest", IMAGE.id}

    def test_descriptions_are_per_account(self, cache: ImageCache) -> None:
        store(cache, "ann", "web:latest", IMAGE)
        for name in ("web", IMAGE.id, IMAGE.id[7:19]):
            with pytest.raises(ImageNotFound, match="bob has no image"):
                cache.describe("bob", name)
        assert cache.images("bob") == ()

    def test_knowing_the_digests_is_not_enough(self, cache: ImageCache) -> None:
        store(cache, "ann", "web:latest", IMAGE)
        with pytest.raises(WrongState, match="has not been uploaded by bob"):
            cache.tag("bob", "web:latest", IMAGE.config_json)

    def test_whoever_was_granted_the_layers_can_describe_the_image(self, cache: ImageCache) -> None:
        store(cache, "ann", "web:latest", IMAGE)
        for diff_id in IMAGE.diff_ids:
            cache.grant("bob", diff_id)
        assert cache.tag("bob", "mine:1", IMAGE.config_json).config_digest == IMAGE.id
        with pytest.raises(NotFound):
            cache.grant("bob", digest(b"nothing"))

    def test_removing_the_last_name_removes_the_image(self, cache: ImageCache) -> None:
        store(cache, "ann", "web:latest", IMAGE)
        cache.tag("ann", "web:1", IMAGE.config_json)
        cache.remove("ann", "web")
        assert [image.name for image in cache.images("ann")] == ["web:1"]
        cache.remove("ann", "web:1")
        assert cache.images("ann") == ()
        with pytest.raises(ImageNotFound):
            cache.remove("ann", "web:1")

    def test_removing_by_id_removes_all_names(self, cache: ImageCache) -> None:
        store(cache, "ann", "web:latest", IMAGE)
        store(cache, "bob", "web:latest", IMAGE)
        cache.remove("ann", IMAGE.id[7:19])
        assert cache.images("ann") == ()
        assert len(cache.images("bob")) == 1

    def test_a_forgotten_account_has_to_show_everything_again(self, cache: ImageCache) -> None:
        store(cache, "ann", "web:latest", IMAGE)
        cache.forget_account("ann")
        assert cache.images("ann") == ()
        assert cache.has(IMAGE.diff_ids[0])
        assert not cache.possesses("ann", IMAGE.diff_ids[0])
