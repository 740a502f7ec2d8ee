"""The Docker engine that benchmarks start for themselves: it works, lives apart, and leaves nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from benchmarks.ground.services import NGINX, POSTGRES, REDIS, Service
from benchmarks.measuring.progress import Progress
from benchmarks.peers import dockerd, lives
from benchmarks.peers.engine import LABEL, Engine, engine, retagged
from benchmarks.peers.lives import client_of, committed_image, docker_life, made
from tests.support import example_images
from tfcore.errors import HostLacks, Unavailable

needs_dockerd = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("dockerd") is None, reason="starting a Docker engine needs root and docker.io"
)


def archive(path: Path, tag: str) -> Path:
    """An archive as `docker save` writes it, as far as tags are concerned."""
    with tarfile.open(path, "w") as tar:
        for name, content in (
            ("config.json", b"{}"),
            ("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": [tag], "Layers": []}]).encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def test_an_archive_gets_another_tag_and_stays_the_same_otherwise(tmp_path: Path) -> None:
    with tarfile.open(retagged(archive(tmp_path / "nginx.tar", "nginx:latest"), "mine:1")) as tar:
        contents = {member.name: tar.extractfile(member).read() for member in tar}
    assert contents["config.json"] == b"{}"
    (entry,) = json.loads(contents["manifest.json"])
    assert entry == {"Config": "config.json", "RepoTags": ["mine:1"], "Layers": []}


def test_where_nobody_listens_no_engine_answers(tmp_path: Path) -> None:
    assert not dockerd.answers(f"unix://{tmp_path / 'socket'}")
    assert not dockerd.answers("tcp://127.0.0.1:1")


def test_without_dockerd_there_is_a_sentence_about_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostLacks, match=r"no dockerd.*docker\.io"), dockerd.private(tmp_path / "docker"):
        pass


def is_filled(found: Engine, client: lives.Client, service: Service, image: str) -> bool:
    """True if a new container of the image has the service's data in it."""

    def look() -> bool:
        container, address = made(client, service, image)
        container.start()
        service.wait(address)
        return service.clean(address)

    return found.inside(look)


@needs_dockerd
def test_an_engine_that_does_not_start_says_why_and_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "dockerd"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho no such graph driver >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    with pytest.raises(Unavailable, match="no such graph driver"), dockerd.private(tmp_path / "docker"):
        pass


@needs_dockerd
def test_an_engine_runs_images_apart_from_the_machine_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'nobody'}")
    bridges = Path("/proc/thread-self/net/dev").read_text().count("docker0")
    with engine(tmp_path, example_images.directory(), Progress(lambda _: None)) as found:
        assert isinstance(found, Engine), found
        assert found.inside(lambda: Path("/proc/thread-self/net/dev").read_text().count("docker0")) == 1
        assert Path("/proc/thread-self/net/dev").read_text().count("docker0") == bridges
        with client_of(found) as client:
            for name, image in found.images.items():
                assert client.containers.run(image, "echo it runs", labels={LABEL: ""}) == b"it runs\n", name
            life = docker_life(found, client, NGINX, found.images["nginx"])
            assert life() > 0
            for service in (REDIS, POSTGRES):
                tag = f"{LABEL}-committed:{service.image}"
                assert is_filled(found, client, service, committed_image(found, client, service, tag))
        with contextlib.closing(found.client()) as client:
            assert client.containers.list(all=True) == []
    assert not dockerd.answers(found.url)
