"""Root file systems as images of one layer."""

from __future__ import annotations

import bz2
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import gzipped, layer_tar, plain, program, rootfs_tar
from tfcore.errors import BadImage
from tfcore.images.compression import expanded
from tfcore.images.description import parse_config
from tfcore.images.digest import digest_of
from tfcore.images.platforms import Platform
from tfnz.images.rootfs import open_rootfs
from tfnz.images.source import silent
from tfnz.images.stored import StoredImage

FILES = {"bin/sh": program(b"#!"), "etc/os-release": "ID=test"}


def opened(path: Path) -> StoredImage:
    return open_rootfs(path, platform=Platform("linux", "arm64"), name=f"rootfs:{path}")


@pytest.mark.parametrize("pack", [plain, gzipped])
def test_a_tar_is_one_layer_with_a_shell(tmp_path: Path, pack: Any) -> None:
    path = rootfs_tar(tmp_path / "root.tar", FILES, pack=pack)
    image = opened(path)
    config = parse_config(image.config)
    assert config.diff_ids == (digest_of(layer_tar(FILES)),)
    assert config.cmd == ("/bin/sh",)
    assert config.env[0].startswith("PATH=")
    assert str(config.platform) == "linux/arm64"
    assert image.read_out(config.diff_ids, silent) == {config.diff_ids[0]: path.stat().st_size}
    with image.open_layer(config.diff_ids[0]) as chunks:
        assert b"".join(expanded(chunks, what="layer")) == layer_tar(FILES)
    image.close()


def test_the_same_tar_is_the_same_image(tmp_path: Path) -> None:
    first = opened(rootfs_tar(tmp_path / "a.tar", FILES))
    assert opened(rootfs_tar(tmp_path / "b.tar", FILES, pack=gzipped)).config == first.config


def test_the_file_beside_it_tells_how_to_run_it(tmp_path: Path) -> None:
    section = {"Cmd": ["/bin/web"], "ExposedPorts": {"80/tcp": {}}, "User": "web"}
    config = parse_config(opened(rootfs_tar(tmp_path / "root.tar", FILES, config=section)).config)
    assert (config.cmd, config.user, config.exposed_ports[0].number) == (("/bin/web",), "web", 80)
    assert config.env[0].startswith("PATH=")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"Env": "A=b"}', "cannot be read"),
        (json.dumps({"cmd": ["x"]}), "cmd means nothing"),
        (json.dumps({"config": {"Cmd": ["x"]}}), "config means nothing"),
    ],
)
def test_a_slip_in_the_file_beside_it_is_an_error(tmp_path: Path, text: str, words: str) -> None:
    path = rootfs_tar(tmp_path / "root.tar", FILES)
    (tmp_path / "root.tar.json").write_text(text)
    with pytest.raises(BadImage, match=words):
        opened(path)


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04" + b"x" * 1000, bytes(10240)])
def test_what_is_no_tar_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "root.tar").write_bytes(data)
    with pytest.raises(BadImage, match="is not a tar"):
        opened(tmp_path / "root.tar")


def test_what_is_compressed_otherwise_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="bzip2") as refused:
        opened(rootfs_tar(tmp_path / "root.tar.bz2", FILES, pack=bz2.compress))
    assert "decompress it first" in refused.value.hint


def test_a_cut_off_tar_gz_is_refused(tmp_path: Path) -> None:
    path = rootfs_tar(tmp_path / "root.tar.gz", FILES, pack=lambda data: gzipped(data)[:-10])
    with pytest.raises(BadImage, match="cut off"):
        opened(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match=r"nothing\.tar cannot be opened"):
        opened(tmp_path / "nothing.tar")
