"""OCI layouts in directories: one image, several platforms, indexes in indexes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import Blobs, SampleImage, gzipped, index_json, layer_tar, plain
from tfcore.errors import BadImage
from tfcore.images.compression import expanded
from tfcore.images.platforms import Platform, parse_platform
from tfnz.images.oci_layout import open_oci_directory
from tfnz.images.source import silent
from tfnz.images.stored import StoredImage

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


def built_for(architecture: str, variant: str = "") -> SampleImage:
    return SampleImage([{"arch": architecture + variant}], architecture=architecture, variant=variant)


IMAGE = SampleImage([{"bin/a": b"A" * 5000}, {"etc/b": "b"}])
ARM = built_for("arm64")


def opened(path: Path, tag: str | None = None, platform: Platform = AMD64) -> StoredImage:
    return open_oci_directory(path, tag=tag, platform=platform, name="oci:x")


def contents(image: StoredImage, diff_id: str) -> bytes:
    with image.open_layer(diff_id) as chunks:
        return b"".join(expanded(chunks, what="layer"))


@pytest.mark.parametrize("pack", [plain, gzipped])
def test_one_image_is_found_without_a_tag(tmp_path: Path, pack: Any) -> None:
    image = opened(IMAGE.oci_layout(tmp_path, pack=pack))
    assert image.config == IMAGE.config_json
    assert image.read_out(IMAGE.diff_ids, silent) == {
        diff_id: len(pack(tar)) for diff_id, tar in zip(IMAGE.diff_ids, IMAGE.tars, strict=True)
    }
    assert [contents(image, diff_id) for diff_id in IMAGE.diff_ids] == IMAGE.tars


class TestPlatforms:
    @pytest.fixture(params=["flat", "nested", "twice nested"])
    def layout(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        blobs = Blobs()
        images = [blobs.image(each, platform=True) for each in (IMAGE, ARM)]
        attestation = {**images[0], "platform": {"os": "unknown", "architecture": "unknown"}}
        manifests = [*images, attestation]
        for _ in range({"flat": 0, "nested": 1, "twice nested": 2}[request.param]):
            manifests = [blobs.index(manifests, name="web:1")]
        return blobs.write(tmp_path, manifests)

    @pytest.mark.parametrize(("platform", "image"), [(AMD64, IMAGE), (ARM64, ARM)])
    def test_the_nodes_platform_is_chosen(self, layout: Path, platform: Platform, image: SampleImage) -> None:
        assert opened(layout, platform=platform).config == image.config_json

    def test_a_platform_that_is_not_there_is_refused_with_those_that_are(self, layout: Path) -> None:
        with pytest.raises(BadImage, match="no image for linux/s390x, only for linux/amd64, linux/arm64"):
            opened(layout, platform=parse_platform("linux/s390x"))


def test_the_name_of_an_index_is_its_images_name(tmp_path: Path) -> None:
    blobs = Blobs()
    web = blobs.index([blobs.image(IMAGE, platform=True), blobs.image(ARM, platform=True)], name="web:1")
    other = blobs.index([blobs.image(built_for("amd64"), platform=True)], name="web:2")
    layout = blobs.write(tmp_path, [web, other])
    assert opened(layout, "1", ARM64).config == ARM.config_json
    assert opened(layout, "web:2").config == built_for("amd64").config_json


def test_without_a_platform_in_the_index_the_config_tells(tmp_path: Path) -> None:
    blobs = Blobs()
    layout = blobs.write(tmp_path, [blobs.image(IMAGE), blobs.image(ARM)])
    assert opened(layout, platform=ARM64).config == ARM.config_json


@pytest.mark.parametrize(
    ("wanted", "there", "chosen"),
    [
        ("linux/amd64", ["", "v3"], ""),
        ("linux/amd64", ["v1", "v3"], "v1"),
        ("linux/amd64", ["v3"], "v3"),
        ("linux/arm/v7", ["v6", "v7"], "v7"),
        ("linux/arm/v7", ["", "v6"], ""),
    ],
)
def test_the_fitting_variant_is_chosen(tmp_path: Path, wanted: str, there: list[str], chosen: str) -> None:
    platform = parse_platform(wanted)
    blobs = Blobs()
    layout = blobs.write(
        tmp_path, [blobs.image(built_for(platform.architecture, variant), platform=True) for variant in there]
    )
    assert opened(layout, platform=platform).config == built_for(platform.architecture, chosen).config_json


class TestNames:
    @pytest.fixture
    def layout(self, tmp_path: Path) -> Path:
        blobs = Blobs()
        return blobs.write(
            tmp_path, [blobs.image(IMAGE, name="1.0"), blobs.image(built_for("amd64"), name="team/web:2.0")]
        )

    @pytest.mark.parametrize("tag", ["team/web:2.0", "2.0", "web:2.0"])
    def test_a_tag_chooses(self, layout: Path, tag: str) -> None:
        assert opened(layout, tag).config == built_for("amd64").config_json

    def test_several_without_a_tag_are_listed(self, layout: Path) -> None:
        with pytest.raises(BadImage, match="several images for linux/amd64") as refused:
            opened(layout)
        assert "1.0, team/web:2.0" in refused.value.hint

    def test_an_unknown_tag_is_refused_with_the_list(self, layout: Path) -> None:
        with pytest.raises(BadImage, match=r"has no image 3\.0") as refused:
            opened(layout, "3.0")
        assert "1.0, team/web:2.0" in refused.value.hint

    def test_two_names_of_one_image_are_no_choice(self, tmp_path: Path) -> None:
        blobs = Blobs()
        layout = blobs.write(tmp_path, [blobs.image(IMAGE, name="1.0"), blobs.image(IMAGE, name="latest")])
        assert opened(layout).config == IMAGE.config_json


class TestRefused:
    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(BadImage, match="not a directory") as refused:
            opened(tmp_path / "nothing")
        assert "colon" in refused.value.hint

    def test_a_file(self, tmp_path: Path) -> None:
        path = IMAGE.docker_archive(tmp_path / "a.tar")
        with pytest.raises(BadImage, match="not a directory") as refused:
            opened(path)
        assert f"docker-archive:{path}" in refused.value.hint

    def test_some_other_directory(self, tmp_path: Path) -> None:
        with pytest.raises(BadImage, match="not an OCI image layout"):
            opened(tmp_path)

    def test_an_empty_layout(self, tmp_path: Path) -> None:
        with pytest.raises(BadImage, match="has no image"):
            opened(Blobs().write(tmp_path, []))

    def test_indexes_without_end(self, tmp_path: Path) -> None:
        blobs = Blobs()
        descriptor = blobs.image(IMAGE)
        for _ in range(6):
            descriptor = blobs.index([descriptor])
        with pytest.raises(BadImage, match="nested"):
            opened(blobs.write(tmp_path, [descriptor]))

    def test_more_manifests_than_anybody_has(self, tmp_path: Path) -> None:
        blobs = Blobs()
        with pytest.raises(BadImage, match="more than 1000 manifests"):
            opened(blobs.write(tmp_path, [blobs.image(IMAGE, platform=True)] * 1001))

    def test_a_missing_layer_is_found_before_anything_is_sent(self, tmp_path: Path) -> None:
        layout = IMAGE.oci_layout(tmp_path)
        (layout / "blobs" / "sha256" / IMAGE.diff_ids[1].removeprefix("sha256:")).unlink()
        with pytest.raises(BadImage, match="has no file"):
            opened(layout)

    def test_a_layer_of_another_size_than_announced(self, tmp_path: Path) -> None:
        layout = IMAGE.oci_layout(tmp_path)
        blob = layout / "blobs" / "sha256" / IMAGE.diff_ids[0].removeprefix("sha256:")
        blob.write_bytes(blob.read_bytes()[:-1])
        with pytest.raises(BadImage, match="and the manifest says"):
            opened(layout)

    def test_a_damaged_layer_is_noticed_when_it_has_gone_by(self, tmp_path: Path) -> None:
        layout = IMAGE.oci_layout(tmp_path)
        blob = layout / "blobs" / "sha256" / IMAGE.diff_ids[0].removeprefix("sha256:")
        blob.write_bytes(bytes(blob.stat().st_size))
        with pytest.raises(BadImage, match="is damaged"):
            contents(opened(layout), IMAGE.diff_ids[0])

    @pytest.mark.parametrize(
        ("media_type", "words"),
        [
            ("application/vnd.oci.image.layer.nondistributable.v1.tar", "cannot be used"),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "cannot be used"),
            ("", "cannot be used"),
        ],
    )
    def test_layers_that_are_elsewhere(self, tmp_path: Path, media_type: str, words: str) -> None:
        with pytest.raises(BadImage, match=words):
            opened(self.rewritten(tmp_path, lambda manifest: manifest["layers"][0].update(mediaType=media_type)))

    def test_something_that_is_no_container_image(self, tmp_path: Path) -> None:
        other = "application/vnd.cncf.helm.config.v1+json"
        layout = self.rewritten(tmp_path, lambda manifest: manifest["config"].update(mediaType=other), platform=True)
        with pytest.raises(BadImage, match="not a container image but"):
            opened(layout)

    def test_more_layers_than_the_config_names(self, tmp_path: Path) -> None:
        with pytest.raises(BadImage, match="config names 2 layers, its manifest 3"):
            opened(self.rewritten(tmp_path, lambda manifest: manifest["layers"].append(manifest["layers"][0])))

    @staticmethod
    def rewritten(path: Path, change: Any, *, platform: bool = False) -> Path:
        """A layout whose manifest was changed, digests and all."""
        blobs = Blobs()
        descriptor = blobs.image(IMAGE, platform=platform)
        manifest = json.loads(blobs.blobs.pop(descriptor["digest"]))
        change(manifest)
        fields = {"platform": descriptor["platform"]} if platform else {}
        return blobs.write(path, [blobs.add(json.dumps(manifest).encode(), descriptor["mediaType"], **fields)])

    @pytest.mark.parametrize("name", ["../../secret", "/etc/hostname"])
    def test_a_digest_that_is_a_path(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "secret").write_bytes(layer_tar({}))
        layout = tmp_path / "layout"
        layout.mkdir()
        descriptor = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": f"sha256:{name}", "size": 5}
        (layout / "index.json").write_bytes(index_json([descriptor]))
        with pytest.raises(BadImage, match="not a sha256 digest"):
            opened(layout)
