"""Images of the local Docker: with a small stand-in for what a daemon may answer, and with a real one where it is."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from docker.errors import ImageNotFound as NoSuchImage

from tests.support.images import SampleImage, classic_members, gzipped, layer_tar, oci_members, write_tar
from tfcore.errors import BadImage, Exhausted, ImageNotFound, Unavailable
from tfcore.images.compression import expanded
from tfcore.images.description import parse_config
from tfcore.images.digest import digest_of
from tfcore.images.reference import parse_reference
from tfnz.docker import Docker
from tfnz.images import docker_daemon, spool
from tfnz.images.docker_daemon import DockerImage, connect, newest_image, open_docker
from tfnz.images.source import ImageSource, silent
from tfnz.images.sources import open_source

IMAGE = SampleImage(
    [{"bin/a": b"A" * 5000}, {"etc/b": "b"}, {"bin/a": b"A" * 5000}], {"Cmd": ["/bin/a"], "Env": ["A=b"]}
)
ID = "sha256:337c501c" + "0" * 56


def content(source: ImageSource, diff_id: str) -> bytes:
    with source.open_layer(diff_id) as chunks:
        return b"".join(expanded(chunks, what="layer"))


class FakeDocker:
    """A daemon with one image, which answers as the real one does."""

    def __init__(self, saved: bytes = b"", *, inspected: dict[str, Any] | None = None) -> None:
        self.saved = saved
        self.inspected = inspected or {
            "Id": ID,
            "Architecture": "amd64",
            "Os": "linux",
            "Created": "2024-01-01T00:00:00.5Z",
            "Config": {**IMAGE.config, "Hostname": "", "Image": "sha256:x", "Volumes": None},
            "RootFS": {"Type": "layers", "Layers": IMAGE.diff_ids},
        }
        self.asked: list[str] = []
        self.given = 0
        self.closed = False

    def inspect_image(self, image: str) -> dict[str, Any]:
        self.asked.append(image)
        if image not in ("web", "web:latest", ID, "337c501c"):
            raise NoSuchImage(f"No such image: {image}")
        return self.inspected

    def images(self) -> list[dict[str, Any]]:
        return [{"Id": ID, "Created": 5}]

    def get_image(self, image: str) -> Iterator[bytes]:
        assert image == ID
        for start in range(0, len(self.saved), 1000):
            self.given = start
            yield self.saved[start : start + 1000]

    def close(self) -> None:
        self.closed = True


def saved(tmp_path: Path, members: dict[str, Any]) -> bytes:
    return write_tar(tmp_path / "saved.tar", members).read_bytes()


def opened(fake: FakeDocker, reference: str = "web") -> DockerImage:
    return DockerImage(fake, parse_reference(reference))


class TestWhatInspectTells:
    def test_config_and_layers_without_an_export(self) -> None:
        fake = FakeDocker()
        image = opened(fake)
        config = parse_config(image.config)
        assert config.diff_ids == tuple(IMAGE.diff_ids)
        assert (config.cmd, config.env) == (("/bin/a",), ("A=b",))
        assert fake.given == 0
        image.close()
        assert fake.closed

    def test_fields_that_differ_between_versions_of_docker_do_not_make_another_image(self) -> None:
        later = FakeDocker()
        later.inspected = {**later.inspected, "Config": dict(IMAGE.config), "GraphDriver": {}, "Size": 5}
        assert opened(later).config == opened(FakeDocker()).config

    @pytest.mark.parametrize(
        ("reference", "query", "name"),
        [
            ("web", "web:latest", "web:latest"),
            ("docker:web", "web:latest", "web:latest"),
            ("337c501c", "337c501c", ID),
            (ID, ID, ID),
            (".", ID, ID),
        ],
    )
    def test_it_is_asked_for_and_filed_under_the_right_name(self, reference: str, query: str, name: str) -> None:
        fake = FakeDocker()
        assert opened(fake, reference).name == name
        assert fake.asked[-1] == query

    def test_an_unknown_image_is_not_found(self) -> None:
        with pytest.raises(ImageNotFound, match="no image other:latest") as refused:
            opened(FakeDocker(), "other")
        assert refused.value.hint == "docker pull other:latest"

    def test_an_image_of_another_system_is_refused(self) -> None:
        windows = FakeDocker()
        windows.inspected = {**windows.inspected, "Os": "windows"}
        with pytest.raises(BadImage, match="windows"):
            opened(windows)

    def test_the_newest_of_one_second_is_told_by_its_nanoseconds(self) -> None:
        class Busy(FakeDocker):
            def images(self) -> list[dict[str, Any]]:
                return [{"Id": "a", "Created": 4}, {"Id": "b", "Created": 5}, {"Id": "c", "Created": 5}]

            def inspect_image(self, image: str) -> dict[str, Any]:
                return {"Created": {"b": "2024-01-01T00:00:05.2Z", "c": "2024-01-01T00:00:05.1Z"}[image]}

        assert newest_image(Busy()) == "b"

    def test_a_daemon_without_images_has_no_newest(self) -> None:
        class Empty(FakeDocker):
            def images(self) -> list[dict[str, Any]]:
                return []

        with pytest.raises(ImageNotFound, match="no images"):
            newest_image(Empty())


FORMS = pytest.mark.parametrize(
    "members",
    [
        pytest.param(classic_members(IMAGE, ["web:latest"]), id="classic"),
        pytest.param(oci_members(IMAGE, ["web:latest"]), id="oci"),
        pytest.param(oci_members(IMAGE, ["web:latest"], gzipped), id="oci gzip"),
    ],
)


class TestExport:
    @FORMS
    def test_the_wanted_layers_are_put_aside(self, tmp_path: Path, members: dict[str, Any]) -> None:
        image = opened(FakeDocker(saved(tmp_path, members)))
        seen: list[tuple[str, int, int]] = []
        sizes = image.read_out(set(IMAGE.diff_ids), lambda *progress: seen.append(progress))
        assert sizes.keys() == set(IMAGE.diff_ids)
        for diff_id, tar in zip(IMAGE.diff_ids, IMAGE.tars, strict=True):
            assert content(image, diff_id) == content(image, diff_id) == tar
        assert seen[0][0] == "reading web:latest from Docker"
        assert seen[-1][1] > 0
        image.close()

    @FORMS
    def test_only_wanted_layers_are_kept(self, tmp_path: Path, members: dict[str, Any]) -> None:
        image = opened(FakeDocker(saved(tmp_path, members)))
        image.read_out([IMAGE.diff_ids[1]], silent)
        with pytest.raises(KeyError):
            content(image, IMAGE.diff_ids[0])
        image.close()

    def test_the_stream_is_left_as_soon_as_everything_has_come_by(self, tmp_path: Path) -> None:
        members = {**classic_members(IMAGE, []), "later/layer.tar": bytes(1_000_000)}
        fake = FakeDocker(saved(tmp_path, members))
        image = opened(fake)
        image.read_out(IMAGE.diff_ids, silent)
        assert fake.given < 100_000
        image.close()

    def test_what_was_read_out_is_not_read_again(self, tmp_path: Path) -> None:
        fake = FakeDocker(saved(tmp_path, classic_members(IMAGE, [])))
        image = opened(fake)
        first = image.read_out(IMAGE.diff_ids, silent)
        fake.saved = b""
        assert image.read_out(IMAGE.diff_ids, silent) == first
        image.close()

    def test_a_layer_that_does_not_come_is_named(self, tmp_path: Path) -> None:
        other = SampleImage([{"x": "x"}])
        image = opened(FakeDocker(saved(tmp_path, classic_members(other, []))))
        with pytest.raises(BadImage, match=f"lacks layer {IMAGE.diff_ids[1]}"):
            image.read_out([IMAGE.diff_ids[1]], silent)
        image.close()

    @FORMS
    def test_an_export_that_is_cut_off(self, tmp_path: Path, members: dict[str, Any]) -> None:
        image = opened(FakeDocker(saved(tmp_path, members)[:700]))
        with pytest.raises(BadImage):
            image.read_out(IMAGE.diff_ids, silent)
        image.close()

    def test_a_daemon_that_dies_in_between(self, tmp_path: Path) -> None:
        class Dying(FakeDocker):
            def get_image(self, image: str) -> Iterator[bytes]:
                yield self.saved[:2000]
                raise requests.exceptions.ChunkedEncodingError("connection broken")

        image = opened(Dying(saved(tmp_path, classic_members(IMAGE, []))))
        with pytest.raises(Unavailable, match="connection broken"):
            image.read_out(IMAGE.diff_ids, silent)
        image.close()

    def test_a_full_disk_is_explained(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Full(io.BytesIO):
            def write(self, data: Any) -> int:
                raise OSError(28, os.strerror(28))

        monkeypatch.setattr(spool.tempfile, "TemporaryFile", lambda **_: Full())
        image = opened(FakeDocker(saved(tmp_path, classic_members(IMAGE, []))))
        with pytest.raises(Exhausted, match="no space left") as refused:
            image.read_out(IMAGE.diff_ids, silent)
        assert "TMPDIR" in refused.value.hint
        image.close()

    def test_nothing_is_left_on_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "spool").mkdir()
        monkeypatch.setattr(spool.tempfile, "tempdir", str(tmp_path / "spool"))
        monkeypatch.setenv("TMPDIR", str(tmp_path / "spool"))
        image = opened(FakeDocker(saved(tmp_path, classic_members(IMAGE, []))))
        image.read_out(IMAGE.diff_ids, silent)
        assert list((tmp_path / "spool").iterdir()) == []
        image.close()


def test_no_docker_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(Unavailable, match="local Docker daemon cannot be used") as refused:
        open_docker(parse_reference("nginx"))
    assert "docker-archive:FILE" in refused.value.hint


class TestRealDocker:
    """Against whatever daemon `docker` would use; makes and removes its own images."""

    @pytest.fixture
    def client(self) -> Iterator[Any]:
        try:
            connect().close()
        except Unavailable as missing:
            pytest.skip(missing.message)
        client = docker.from_env(timeout=60)
        yield client
        client.close()

    @pytest.fixture
    def base(self, client: Any) -> Iterator[str]:
        """An imported image of one layer."""
        tar = layer_tar({"bin/hello": b"#!" * 50_000, "etc/motd": "hi"})
        answer = client.api.import_image(
            tar, repository="tf-sample", tag="base", changes=['CMD ["/bin/hello"]', "EXPOSE 80", "ENV A=b"]
        )
        yield str(json.loads(answer)["status"])
        self.remove(client, "tf-sample:base")

    @pytest.fixture
    def built(self, client: Any, base: str) -> Iterator[str]:
        """An image built on `base`, without a name."""
        context = layer_tar({"Dockerfile": "FROM tf-sample:base\nCOPY x /x\nWORKDIR /srv\nUSER 5\n", "x": "x" * 1000})
        answers = list(client.api.build(fileobj=io.BytesIO(context), custom_context=True, decode=True, rm=True))
        image = next(answer["aux"]["ID"] for answer in answers if "aux" in answer)
        yield image
        self.remove(client, image)

    @staticmethod
    def remove(client: Any, image: str) -> None:
        with contextlib.suppress(NoSuchImage):
            client.api.remove_image(image, force=True)

    def test_an_image_is_found_by_name_id_and_prefix(self, client: Any, base: str) -> None:
        for text in ("tf-sample:base", "docker:tf-sample:base", base, base.removeprefix("sha256:")[:12]):
            with contextlib.closing(open_docker(parse_reference(text))) as image:
                config = parse_config(image.config)
                assert (config.cmd, config.env) == (("/bin/hello",), ("A=b",))
                assert config.exposed_ports[0].number == 80
                assert len(config.diff_ids) == 1

    def test_its_layers_are_read_out(self, client: Any, built: str) -> None:
        with contextlib.closing(open_docker(parse_reference(built))) as image:
            config = parse_config(image.config)
            assert (config.user, config.working_dir) == ("5", "/srv")
            image.read_out(config.diff_ids, silent)
            assert [digest_of(content(image, diff_id)) for diff_id in config.diff_ids] == list(config.diff_ids)

    def test_one_layer_is_read_out_and_the_daemon_still_answers(self, client: Any, built: str) -> None:
        with contextlib.closing(open_docker(parse_reference(built))) as image:
            diff_id = parse_config(image.config).diff_ids[0]
            image.read_out([diff_id], silent)
            assert digest_of(content(image, diff_id)) == diff_id
            assert image._api.inspect_image(built)["Id"] == built

    def test_the_newest_build_needs_no_name(self, client: Any, built: str) -> None:
        assert docker_daemon.last_image() == built
        with contextlib.closing(open_docker(parse_reference("."))) as image:
            assert image.name == built

    def test_a_file_of_docker_save_is_the_same_image(self, client: Any, built: str, tmp_path: Path) -> None:
        with (tmp_path / "saved.tar").open("wb") as file:
            file.writelines(client.api.get_image(built))
        with (
            contextlib.closing(open_docker(parse_reference(built))) as image,
            contextlib.closing(open_source(parse_reference(f"docker-archive:{tmp_path}/saved.tar"))) as saved,
        ):
            config = parse_config(saved.config)
            assert config == parse_config(image.config)
            assert digest_of(saved.config) == built
            saved.read_out(config.diff_ids, silent)
            assert [digest_of(content(saved, diff_id)) for diff_id in config.diff_ids] == list(config.diff_ids)

    def test_an_unknown_image_is_not_found(self, client: Any) -> None:
        with pytest.raises(ImageNotFound, match="tf-sample:nothing"):
            open_docker(parse_reference("tf-sample:nothing"))


class TestGen2sDocker:
    """What `tfnz.docker.Docker` shows of the local Docker (B6)."""

    @pytest.fixture
    def fake(self, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
        made = FakeDocker(b"a tar" * 1000)
        made.get_image = lambda image: iter([made.saved[:7], made.saved[7:]])  # type: ignore[method-assign]
        monkeypatch.setattr(docker_daemon, "connect", lambda: made)
        return made

    @pytest.mark.parametrize("name", ["web", ".", "337c501c"])
    def test_descriptions_and_tarballs(self, fake: FakeDocker, name: str) -> None:
        assert Docker.description(name, conn=None)["Id"] == ID
        assert Docker.tarball(name) == fake.saved
        assert Docker.last_image() == ID
        assert fake.closed

    @pytest.mark.usefixtures("fake")
    def test_an_unknown_image(self) -> None:
        with pytest.raises(ImageNotFound, match="other:latest"):
            Docker.description("other")
