"""The location's cache on its disk: what survives, what goes, and that many may use it at once."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.images.cached import IMAGE, SIBLING, files, put, store
from tests.support.images import SampleImage, layer_tar
from tfcore.errors import WrongState
from tfcore.images.platforms import Platform
from tflocation.images.cache import ImageCache
from tfnz.images.oci_layout import open_oci_directory


class TestSpace:
    def test_the_image_used_longest_ago_goes_first(self, cache: ImageCache, root: Path) -> None:
        store(cache, "ann", "web:latest", IMAGE)
        store(cache, "ann", "other:latest", SIBLING)
        cache.describe("ann", "web")
        size = cache.usage().size
        assert cache.evict(size) == 0
        assert cache.evict(size - 1) == len(SIBLING.tars[1])
        assert [image.name for image in cache.images("ann")] == ["web:latest"]
        assert cache.usage().size == size - len(SIBLING.tars[1])
        assert not cache.has(SIBLING.diff_ids[1])
        assert SIBLING.diff_ids[1].removeprefix("sha256:") not in files(root)

    def test_everything_goes_with_its_blobs(self, cache: ImageCache, root: Path) -> None:
        store(cache, "ann", "web:latest", IMAGE)
        put(cache, "bob", SIBLING.tars[1])
        assert cache.evict(0) == sum(map(len, [*IMAGE.tars, SIBLING.tars[1]]))
        assert files(root) == set()
        usage = cache.usage()
        assert (usage.size, usage.layers, usage.images) == (0, 0, 0)

    def test_pinned_layers_and_their_image_stay(self, cache: ImageCache) -> None:
        store(cache, "ann", "web:latest", IMAGE)
        store(cache, "ann", "other:latest", SIBLING)
        cache.pin("c-1", IMAGE.diff_ids[:1])
        cache.pin("c-1", IMAGE.diff_ids[1:])
        cache.pin("c-2", IMAGE.diff_ids)
        assert cache.usage().pinned == sum(map(len, IMAGE.tars))
        cache.unpin("c-2")
        cache.evict(0)
        assert [image.name for image in cache.images("ann")] == ["web:latest"]
        cache.unpin("c-1")
        cache.unpin("c-1")
        cache.evict(0)
        assert cache.images("ann") == ()

    def test_a_layer_that_was_evicted_can_come_again(self, cache: ImageCache) -> None:
        store(cache, "ann", "web:latest", IMAGE)
        cache.evict(0)
        store(cache, "ann", "web:latest", IMAGE)
        assert cache.describe("ann", "web").config_digest == IMAGE.id

    def test_a_blob_being_read_is_read_to_its_end(self, cache: ImageCache) -> None:
        layer = put(cache, "ann", IMAGE.tars[0])
        with cache.open_blob(layer.digest) as chunks:
            cache.evict(0)
            assert b"".join(chunks) == IMAGE.tars[0]


class TestOnDisk:
    def test_everything_survives_a_restart(self, root: Path) -> None:
        cache = ImageCache(root)
        store(cache, "ann", "web:latest", IMAGE)
        before = cache.describe("ann", "web")
        cache.close()
        again = ImageCache(root)
        assert again.describe("ann", "web") == before
        assert again.possesses("ann", IMAGE.diff_ids[0])
        again.close()

    def test_it_is_an_image_layout_other_tools_can_read(self, cache: ImageCache, root: Path) -> None:
        store(cache, "ann", "web:latest", IMAGE)
        assert json.loads((root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
        image = open_oci_directory(root, tag="web:latest", platform=Platform("linux", "amd64"), name="x")
        assert image.config == IMAGE.config_json
        with image.open_layer(IMAGE.diff_ids[0]) as chunks:
            assert b"".join(chunks) == IMAGE.tars[0]
        cache.remove("ann", "web")
        assert json.loads((root / "index.json").read_text())["manifests"] == []

    def test_nobody_else_can_read_it(self, cache: ImageCache, root: Path) -> None:
        assert root.stat().st_mode & 0o077 == 0

    def test_what_a_crash_left_is_swept(self, root: Path) -> None:
        cache = ImageCache(root)
        store(cache, "ann", "web:latest", IMAGE)
        whole = files(root)
        cache.close()
        (root / "incoming" / "half").write_bytes(b"half a layer")
        (root / "blobs" / "sha256" / ("0" * 64)).write_bytes(b"renamed, but the row was never written")
        again = ImageCache(root)
        assert files(root) == whole
        again.close()

    @pytest.mark.parametrize("harm", ["gone", "shorter"])
    def test_a_lost_blob_takes_its_images_with_it_and_no_others(self, root: Path, harm: str) -> None:
        cache = ImageCache(root)
        store(cache, "ann", "web:latest", IMAGE)
        store(cache, "ann", "other:latest", SIBLING)
        cache.close()
        blob = root / "blobs" / "sha256" / IMAGE.diff_ids[1].removeprefix("sha256:")
        if harm == "gone":
            blob.unlink()
        else:
            blob.write_bytes(b"short")
        again = ImageCache(root)
        assert [image.name for image in again.images("ann")] == ["other:latest"]
        assert not again.has(IMAGE.diff_ids[1])
        store(again, "ann", "web:latest", IMAGE)
        again.close()

    def test_killed_in_the_middle_of_an_upload_it_opens_clean(self, root: Path) -> None:
        program = (
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "from tflocation.images.cache import ImageCache\n"
            "def chunks():\n"
            "    yield b'x' * 100_000\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            "ImageCache(Path(sys.argv[1])).put_layer('ann', 'sha256:' + '0' * 64, chunks())\n"
        )
        killed = subprocess.run([sys.executable, "-c", program, str(root)], check=False, timeout=60)
        assert killed.returncode == -9
        assert any(name.startswith("incoming/") for name in files(root))
        cache = ImageCache(root)
        assert files(root) == set()
        cache.close()

    def test_a_second_process_is_kept_out(self, cache: ImageCache, root: Path) -> None:
        with pytest.raises(WrongState, match="in use by another process"):
            ImageCache(root)

    def test_a_newer_cache_is_left_alone(self, root: Path) -> None:
        ImageCache(root).close()
        with sqlite3.connect(root / "images.sqlite") as newer:
            newer.execute("PRAGMA user_version=99")
        newer.close()
        with pytest.raises(WrongState, match="version 99"):
            ImageCache(root)
        with sqlite3.connect(root / "images.sqlite") as newer:
            newer.execute("PRAGMA user_version=1")
        newer.close()
        ImageCache(root).close()


def test_many_threads_at_once(cache: ImageCache) -> None:
    tars = [layer_tar({"n": str(number)}) for number in range(8)]
    errors: list[BaseException] = []

    def work(account: str) -> None:
        try:
            for tar in tars:
                put(cache, account, tar)
            image = SampleImage([{"n": str(number)} for number in range(8)])
            cache.tag(account, "many:latest", image.config_json)
            cache.describe(account, "many")
            cache.remove(account, "many")
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"account-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert cache.usage().layers == 8
