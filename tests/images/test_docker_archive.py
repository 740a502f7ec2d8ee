"""Files of `docker save` in both forms, good, odd and hostile."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path
from typing import Literal

import pytest

from tests.support.images import (
    Blobs,
    SampleImage,
    classic_members,
    digest,
    gzipped,
    hardlink,
    index_json,
    layer_tar,
    oci_members,
    plain,
    symlink,
    write_tar,
)
from tfcore.errors import BadImage
from tfcore.images.compression import expanded
from tfcore.images.description import DOCUMENT_SIZE
from tfcore.images.platforms import Platform
from tfnz.images.docker_archive import open_docker_archive
from tfnz.images.files import MEMBERS
from tfnz.images.source import silent
from tfnz.images.stored import StoredImage

AMD64 = Platform("linux", "amd64")
IMAGE = SampleImage([{"bin/a": b"A" * 5000}, {"etc/b": "b"}, {"etc/c": "c"}], {"Cmd": ["/bin/a"]})
FORMS = pytest.mark.parametrize("form", ["classic", "oci"])
Form = Literal["classic", "oci"]


def opened(path: Path, tag: str | None = None) -> StoredImage:
    return open_docker_archive(path, tag=tag, platform=AMD64, name="docker-archive:x")


def contents(image: StoredImage, diff_ids: list[str]) -> list[bytes]:
    return [b"".join(expanded(_chunks(image, diff_id), what="layer")) for diff_id in diff_ids]


def _chunks(image: StoredImage, diff_id: str) -> list[bytes]:
    with image.open_layer(diff_id) as chunks:
        return list(chunks)


@FORMS
@pytest.mark.parametrize("pack", [plain, gzipped])
def test_both_forms_give_config_and_layers(tmp_path: Path, form: Form, pack: object) -> None:
    image = opened(IMAGE.docker_archive(tmp_path / "a.tar", form=form, pack=pack))  # type: ignore[arg-type]
    assert image.config == IMAGE.config_json
    assert image.name == "docker-archive:x"
    sizes = image.read_out(IMAGE.diff_ids, silent)
    assert list(sizes) == IMAGE.diff_ids
    assert sizes == {diff_id: len(b"".join(_chunks(image, diff_id))) for diff_id in IMAGE.diff_ids}
    assert contents(image, IMAGE.diff_ids[::-1]) == IMAGE.tars[::-1]
    image.close()
    image.close()


def test_layers_can_be_read_side_by_side(tmp_path: Path) -> None:
    image = opened(IMAGE.docker_archive(tmp_path / "a.tar"))
    with image.open_layer(IMAGE.diff_ids[0]) as first, image.open_layer(IMAGE.diff_ids[1]) as second:
        assert (b"".join(second), b"".join(first)) == (IMAGE.tars[1], IMAGE.tars[0])
    image.close()


@FORMS
def test_a_compressed_archive_is_read_too(tmp_path: Path, form: Form) -> None:
    path = IMAGE.docker_archive(tmp_path / "a.tar", form=form)
    path.write_bytes(gzip.compress(path.read_bytes()))
    image = opened(path)
    assert contents(image, IMAGE.diff_ids) == IMAGE.tars
    image.close()


def test_a_layout_without_a_docker_manifest_is_read(tmp_path: Path) -> None:
    members = oci_members(IMAGE, ["x:1"])
    del members["manifest.json"]
    image = opened(write_tar(tmp_path / "a.tar", {f"./{name}": data for name, data in members.items()}), tag="1")
    assert contents(image, IMAGE.diff_ids) == IMAGE.tars
    image.close()


def test_a_layer_that_occurs_twice_may_be_a_link(tmp_path: Path) -> None:
    twice = SampleImage([{"a": "a"}, {"b": "b"}, {"a": "a"}])
    members = classic_members(twice, ["x:1"])
    assert sum(getattr(item, "type", None) == tarfile.SYMTYPE for item in members.values()) == 1
    image = opened(write_tar(tmp_path / "a.tar", members))
    assert contents(image, twice.diff_ids) == twice.tars
    image.close()


class TestWhichImage:
    @pytest.fixture
    def several(self, tmp_path: Path) -> Path:
        members = dict(classic_members(IMAGE, ["web:1", "team/web:2"]))
        other = classic_members(SampleImage([{"x": "x"}]), ["db:latest"])
        manifests = [json.loads(each["manifest.json"])[0] for each in (members, other)]  # type: ignore[arg-type]
        members |= other
        members["manifest.json"] = json.dumps(manifests)
        return write_tar(tmp_path / "several.tar", members)

    @pytest.mark.parametrize("tag", ["1", "web:1", "team/web:2", "2", "web:2"])
    def test_it_is_told_by_tag_or_name(self, several: Path, tag: str) -> None:
        image = opened(several, tag)
        assert image.config == IMAGE.config_json
        image.close()

    def test_a_name_alone_means_its_latest(self, several: Path) -> None:
        image = opened(several, "db")
        assert image.config != IMAGE.config_json
        image.close()

    def test_several_without_a_tag_are_listed(self, several: Path) -> None:
        with pytest.raises(BadImage, match="has 2 images") as refused:
            opened(several)
        assert "db:latest, team/web:2, web:1" in refused.value.hint

    @pytest.mark.parametrize("tag", ["3", "web", "eb:1", "latest:web"])
    def test_an_unknown_tag_is_refused_with_the_list(self, several: Path, tag: str) -> None:
        with pytest.raises(BadImage, match=f"has no image {tag}") as refused:
            opened(several, tag)
        assert "db:latest" in refused.value.hint

    def test_an_image_without_a_name_is_found_if_it_is_alone(self, tmp_path: Path) -> None:
        image = opened(IMAGE.docker_archive(tmp_path / "a.tar", tags=[]))
        assert image.config == IMAGE.config_json
        image.close()

    def test_nothing_in_it(self, tmp_path: Path) -> None:
        with pytest.raises(BadImage, match="has no image"):
            opened(write_tar(tmp_path / "a.tar", {"manifest.json": "[]"}))


class TestNoArchive:
    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(BadImage, match="No such file"):
            opened(tmp_path / "nothing.tar")

    def test_a_directory(self, tmp_path: Path) -> None:
        with pytest.raises(BadImage, match="is a directory") as refused:
            opened(tmp_path)
        assert refused.value.hint == f"an OCI layout is given as oci:{tmp_path}"

    def test_a_device(self) -> None:
        with pytest.raises(BadImage, match="not a regular file"):
            opened(Path("/dev/zero"))

    @pytest.mark.parametrize("data", [b"", b"hello", b"\0" * 10240, b"x" * 4096])
    def test_some_other_file(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "a.tar").write_bytes(data)
        with pytest.raises(BadImage):
            opened(tmp_path / "a.tar")

    def test_the_tar_of_a_root_file_system(self, tmp_path: Path) -> None:
        (tmp_path / "root.tar").write_bytes(layer_tar({"bin/sh": b""}))
        with pytest.raises(BadImage, match="not an image archive") as refused:
            opened(tmp_path / "root.tar")
        assert f"rootfs:{tmp_path}/root.tar" in refused.value.hint


class TestDamaged:
    @FORMS
    @pytest.mark.parametrize("part", [0.1, 0.5, 0.7])
    def test_a_truncated_archive_is_refused_when_it_is_opened(self, tmp_path: Path, form: Form, part: float) -> None:
        path = IMAGE.docker_archive(tmp_path / "a.tar", form=form)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(BadImage):
            opened(path).close()

    def test_a_file_that_shrinks_while_it_is_read_is_noticed(self, tmp_path: Path) -> None:
        path = IMAGE.docker_archive(tmp_path / "a.tar")
        image = opened(path)
        with path.open("r+b") as file:
            file.truncate(1000)
        with image.open_layer(IMAGE.diff_ids[0]) as chunks, pytest.raises(BadImage, match="cut off"):
            list(chunks)
        image.close()

    def test_a_compressed_archive_that_is_cut_off(self, tmp_path: Path) -> None:
        path = IMAGE.docker_archive(tmp_path / "a.tar")
        path.write_bytes(gzip.compress(path.read_bytes())[:-20])
        with pytest.raises(BadImage, match="cut off"):
            opened(path)

    @pytest.mark.parametrize("lost", ["layer.tar", ".json"])
    def test_a_missing_member_is_named(self, tmp_path: Path, lost: str) -> None:
        members = dict(classic_members(IMAGE, []))
        name = next(name for name in members if name.endswith(lost) and name != "manifest.json")
        del members[name]
        with pytest.raises(BadImage, match=f"has no file '{name}'"):
            opened(write_tar(tmp_path / "a.tar", members))

    @pytest.mark.parametrize(
        "manifest", ["", "{}", "[{}]", '[{"Config": 1}]', '[{"Config": "c.json", "Layers": "x"}]', "[[["]
    )
    def test_a_manifest_that_makes_no_sense(self, tmp_path: Path, manifest: str) -> None:
        with pytest.raises(BadImage, match=r"manifest\.json cannot be read"):
            opened(write_tar(tmp_path / "a.tar", {"manifest.json": manifest}))

    def test_fewer_layers_than_the_config_names(self, tmp_path: Path) -> None:
        members = dict(classic_members(IMAGE, []))
        manifest = json.loads(members["manifest.json"])  # type: ignore[arg-type]
        manifest[0]["Layers"].pop()
        members["manifest.json"] = json.dumps(manifest)
        with pytest.raises(BadImage, match="config names 3 layers, its manifest 2"):
            opened(write_tar(tmp_path / "a.tar", members))

    def test_a_layout_whose_manifest_is_not_what_its_digest_says(self, tmp_path: Path) -> None:
        blobs = Blobs()
        descriptor = blobs.image(IMAGE)
        members = blobs.members([descriptor])
        name = f"blobs/sha256/{descriptor['digest'].removeprefix('sha256:')}"
        members[name] = members[name].replace(b"layers", b"layerz")
        with pytest.raises(BadImage, match=f"{descriptor['digest']} is damaged"):
            opened(write_tar(tmp_path / "a.tar", members))

    def test_a_layer_of_a_layout_that_is_not_what_its_digest_says(self, tmp_path: Path) -> None:
        blobs = Blobs()
        members = blobs.members([blobs.image(IMAGE)])
        name = f"blobs/sha256/{IMAGE.diff_ids[0].removeprefix('sha256:')}"
        members[name] = members[name][:-1] + b"!"
        image = opened(write_tar(tmp_path / "a.tar", members))
        with image.open_layer(IMAGE.diff_ids[0]) as chunks, pytest.raises(BadImage, match="is damaged"):
            list(chunks)
        image.close()


class TestHostile:
    """What the archive says is never a path on this machine."""

    SECRET = "secret.txt"

    @pytest.fixture(autouse=True)
    def secret(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / self.SECRET).write_bytes(layer_tar({"secret": "secret"}))
        (tmp_path / "inside").mkdir()
        monkeypatch.chdir(tmp_path / "inside")
        return tmp_path / self.SECRET

    def archive(self, tmp_path: Path, layer: str, **members: object) -> Path:
        image = SampleImage([{"secret": "secret"}])
        manifest = json.dumps([{"Config": "c.json", "RepoTags": [], "Layers": [layer]}])
        return write_tar(tmp_path / "a.tar", {"c.json": image.config_json, "manifest.json": manifest, **members})  # type: ignore[dict-item]

    @pytest.mark.parametrize("layer", ["../secret.txt", "/etc/hostname", "inside/../../secret.txt", "", ".", "\0"])
    def test_names_that_lead_out_of_the_archive_find_nothing(self, tmp_path: Path, layer: str) -> None:
        with pytest.raises(BadImage, match="has no file"):
            opened(self.archive(tmp_path, layer))

    def test_absolute_names_that_lead_out_find_nothing(self, tmp_path: Path, secret: Path) -> None:
        with pytest.raises(BadImage, match="has no file"):
            opened(self.archive(tmp_path, str(secret)))

    @pytest.mark.parametrize("link", [symlink, hardlink])
    @pytest.mark.parametrize("target", ["../secret.txt", "/etc/hostname", "layer.tar", "other.tar"])
    def test_links_that_lead_out_or_round_in_circles_find_nothing(
        self, tmp_path: Path, link: object, target: str
    ) -> None:
        members = {"layer.tar": link(target), "other.tar": symlink("layer.tar")}  # type: ignore[operator]
        with pytest.raises(BadImage, match="has no file"):
            opened(self.archive(tmp_path, "layer.tar", **members))

    def test_odd_names_are_only_names(self, tmp_path: Path) -> None:
        data = layer_tar({"secret": "secret"})
        image = opened(self.archive(tmp_path, "../odd/./layer.tar", **{"../odd/layer.tar": data}))
        assert contents(image, [digest(data)]) == [data]
        image.close()
        assert not (tmp_path / "odd").exists()

    def test_a_member_that_claims_more_than_there_is(self, tmp_path: Path) -> None:
        path = self.archive(tmp_path, "layer.tar")
        _append_header(path, "layer.tar", size=1 << 40)
        with pytest.raises(BadImage, match=f"claims {1 << 40} bytes"):
            opened(path)

    def test_a_member_that_claims_less_than_nothing(self, tmp_path: Path) -> None:
        path = self.archive(tmp_path, "layer.tar")
        _append_header(path, "layer.tar", size=-1024)
        with pytest.raises(BadImage, match="claims -1024 bytes"):
            opened(path)

    def test_documents_are_not_read_if_they_are_huge(self, tmp_path: Path) -> None:
        with pytest.raises(BadImage, match="are refused"):
            opened(write_tar(tmp_path / "a.tar", {"manifest.json": b" " * (DOCUMENT_SIZE + 1)}))

    def test_a_blob_that_claims_to_be_huge(self, tmp_path: Path) -> None:
        blobs = Blobs()
        descriptor = {**blobs.image(IMAGE), "size": 1 << 50}
        with pytest.raises(BadImage, match="are refused"):
            opened(write_tar(tmp_path / "a.tar", blobs.members([descriptor])))

    def test_more_members_than_any_image_has(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar"
        block = tarfile.TarInfo("x").tobuf()
        path.write_bytes(block * (MEMBERS + 1) + bytes(1024))
        with pytest.raises(BadImage, match="members"):
            opened(path)

    def test_a_digest_that_is_a_path(self, tmp_path: Path) -> None:
        descriptor = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:../../x", "size": 2}
        with pytest.raises(BadImage, match="not a sha256 digest"):
            opened(write_tar(tmp_path / "a.tar", {"index.json": index_json([descriptor])}))


def _append_header(path: Path, name: str, *, size: int) -> None:
    """A header whose size is what we say, at the end of an archive; the larger sizes in GNU's base 256."""
    info = tarfile.TarInfo(name)
    info.size = size
    data = path.read_bytes().rstrip(b"\0")
    data += bytes(-len(data) % 512)
    path.write_bytes(data + info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
