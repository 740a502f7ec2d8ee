"""The example images as they were built from this machine's packages."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import example_images

NAMES = ("nginx", "postgres", "redis")


def blob(layout: Path, descriptor: dict[str, Any]) -> Path:
    return layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")


def manifest(layout: Path) -> dict[str, Any]:
    (descriptor,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    document: dict[str, Any] = json.loads(blob(layout, descriptor).read_bytes())
    return document


def config(name: str) -> dict[str, Any]:
    layout = example_images.directory() / name
    document: dict[str, Any] = json.loads(blob(layout, manifest(layout)["config"]).read_bytes())
    return document


def members(name: str) -> Iterator[tarfile.TarInfo]:
    layout = example_images.directory() / name
    for layer in manifest(layout)["layers"]:
        with tarfile.open(blob(layout, layer)) as tar:
            yield from tar


def test_all_stand_on_one_base_layer_that_is_on_disk_once() -> None:
    layouts = [example_images.directory() / name for name in NAMES]
    assert len({blob(layout, manifest(layout)["layers"][0]).stat().st_ino for layout in layouts}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_this_machine_is_in_them(name: str) -> None:
    paths = {entry.name for entry in members(name)}
    assert paths.isdisjoint({"etc/hostname", "etc/hosts", "etc/machine-id", "etc/resolv.conf"})
    assert not [path for path in paths if path.startswith(("etc/apt/", "var/lib/apt/", "etc/ssl/private/"))]


@pytest.mark.parametrize(("name", "port"), [("nginx", "80/tcp"), ("postgres", "5432/tcp"), ("redis", "6379/tcp")])
def test_each_says_where_it_answers(name: str, port: str) -> None:
    assert list(config(name)["config"]["ExposedPorts"]) == [port]


@pytest.mark.parametrize("name", NAMES)
def test_the_command_is_in_the_image(name: str) -> None:
    settings = config(name)["config"]
    program = (settings.get("Entrypoint") or settings["Cmd"])[0]
    (path,) = (entry.removeprefix("PATH=") for entry in settings["Env"] if entry.startswith("PATH="))
    wanted = {f"{directory.removeprefix('/')}/{program}" for directory in path.split(":")}
    (found,) = [entry for entry in members(name) if entry.name in wanted]
    assert found.mode & 0o111 == 0o111


def test_volumes_exist_and_belong_to_the_service() -> None:
    (data,) = [entry for entry in members("redis") if entry.name == "data"]
    assert (data.isdir(), data.uid != 0) == (True, True)
    (cluster,) = [entry for entry in members("postgres") if entry.name == "var/lib/postgresql/data"]
    assert (cluster.isdir(), cluster.uid != 0) == (True, True)
