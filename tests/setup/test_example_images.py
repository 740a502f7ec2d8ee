"""The builder of the example images: layers as differences, layouts our own reader accepts, and entry points that obey."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from contextlib import closing
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tfcore.images.platforms import Platform
from tfnz.images.docker_archive import open_docker_archive
from tfnz.images.oci_layout import open_oci_directory

PROGRAM = Path(__file__).parents[2] / "examples" / "images"
PASSWD = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n"
XATTR = {"SCHILY.xattr.user.note": "kept"}


@pytest.fixture(scope="module")
def layers() -> ModuleType:
    return imported("layers")


@pytest.fixture(scope="module")
def recipes() -> ModuleType:
    return imported("recipes")


def imported(name: str) -> ModuleType:
    """A module of the builder, which is a program and not installed."""
    sys.path.append(str(PROGRAM))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(PROGRAM))


def member(name: str, content: bytes | None = None, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A file, or without content a directory; named as mmdebstrap names them."""
    entry = tarfile.TarInfo(f"./{name}")
    entry.type, entry.mode = (tarfile.DIRTYPE, 0o755) if content is None else (tarfile.REGTYPE, 0o644)
    entry.size = len(content or b"")
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry, content or b""


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, b"", type=tarfile.LNKTYPE, linkname=f"./{target}")


def root(layers: ModuleType, *members: tuple[tarfile.TarInfo, bytes], **options: Any) -> Any:
    everything = [member("etc"), member("etc/passwd", PASSWD.encode()), *members]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry, content in everything:
            tar.addfile(entry, io.BytesIO(content))
    archive.seek(0)
    return layers.RootFileSystem(tarfile.open(fileobj=archive), **options)


def difference(layers: ModuleType, path: Path, below: Any, above: Any, added: Any = ()) -> dict[str, tarfile.TarInfo]:
    layers.write_difference(path, below, above, added)
    with tarfile.open(path) as tar:
        return {entry.name: entry for entry in tar}


def test_only_what_changed_is_stored_with_its_directories(layers: ModuleType, tmp_path: Path) -> None:
    below = root(layers, member("srv", mode=0o750), member("srv/same", b"1"), member("srv/changed", b"1"))
    above = root(layers, member("srv", mode=0o750), member("srv/same", b"1", mtime=9), member("srv/changed", b"2"))
    entries = difference(layers, tmp_path / "layer", below, above)
    assert list(entries) == ["srv", "srv/changed"]
    assert entries["srv"].mode == 0o750


@pytest.mark.parametrize(
    "change",
    [{"mode": 0o4755}, {"uid": 33}, {"gid": 34}, {"pax_headers": XATTR}],
    ids=lambda change: next(iter(change)),
)
def test_a_change_of_anything_but_the_times_is_stored(
    layers: ModuleType, tmp_path: Path, change: dict[str, Any]
) -> None:
    below = root(layers, member("tool", b"1"))
    above = root(layers, member("tool", b"1", **change))
    stored = difference(layers, tmp_path / "layer", below, above)["tool"]
    assert {name: getattr(stored, name) for name in change} == change


def test_what_is_gone_is_whited_out_once(layers: ModuleType, tmp_path: Path) -> None:
    gone = (member("srv/old"), member("srv/old/a", b"1"), member("srv/old/b", b"1"))
    below = root(layers, member("srv"), *gone)
    above = root(layers, member("srv"))
    assert list(difference(layers, tmp_path / "layer", below, above)) == ["srv", "srv/.wh.old"]


def test_a_hard_link_out_of_the_layer_becomes_a_file(layers: ModuleType, tmp_path: Path) -> None:
    below = root(layers, member("a", b"same"))
    above = root(layers, member("a", b"same"), hard_link("b", "a"), member("c", b"new"), hard_link("d", "c"))
    entries = difference(layers, tmp_path / "layer", below, above)
    assert entries["b"].isreg()
    assert entries["b"].size == len(b"same")
    assert entries["d"].islnk()
    assert entries["d"].linkname == "c"


def test_added_paths_win_and_belong_to_the_image_s_own_users(
    layers: ModuleType, recipes: ModuleType, tmp_path: Path
) -> None:
    added = [
        recipes.Added("srv/run", 0o755, content=b"ours"),
        recipes.Added("srv/data", 0o1777, owner="web"),
        recipes.Added("srv/log", 0o777, link="/dev/stdout"),
    ]
    below = root(layers, member("srv"))
    above = root(layers, member("srv"), member("srv/run", b"theirs"))
    entries = difference(layers, tmp_path / "layer", below, above, added)
    assert list(entries) == ["srv", "srv/run", "srv/data", "srv/log"]
    assert (entries["srv/run"].size, entries["srv/run"].mode) == (4, 0o755)
    assert (entries["srv/data"].uid, entries["srv/data"].gid, entries["srv/data"].mode) == (33, 34, 0o1777)
    assert (entries["srv/log"].issym(), entries["srv/log"].linkname) == (True, "/dev/stdout")


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("usr/share/doc/nginx/copyright", True),
        ("usr/share/doc/nginx/changelog.Debian.gz", False),
        ("usr/share/man/man1/ls.1.gz", False),
        ("etc/resolv.conf", False),
        ("etc/resolv.conf.d", True),
        ("dev", True),
        ("dev/null", False),
        ("usr/lib/x86_64-linux-gnu/perl-base/strict.pm", True),
        ("usr/lib/x86_64-linux-gnu/perl/5.36/Encode.so", False),
        ("opt/mine/note", False),
    ],
)
def test_what_does_not_belong_in_an_image_is_left_out(layers: ModuleType, path: str, kept: bool) -> None:
    assert (path in root(layers, member(path, b""), drop=("opt/*",)).members) is kept


def test_layout_and_archive_hold_the_same_image_to_our_own_readers(tmp_path: Path) -> None:
    oci, build = imported("oci"), imported("build")
    file = tmp_path / "layer.tar"
    entry, content = member("hello", b"world")
    with tarfile.open(file, "w") as tar:
        tar.addfile(entry, io.BytesIO(content))
    layer = build.described(file, "by hand")
    config = oci.image_config({"Cmd": ["true"]}, [layer], architecture="amd64", created=build.CREATED)
    oci.write_layout(tmp_path / "hello", "hello:latest", config, [layer])
    oci.write_docker_archive(tmp_path / "hello", tmp_path / "hello.tar")

    platform = Platform("linux", "amd64")
    with (
        closing(open_oci_directory(tmp_path / "hello", tag="latest", platform=platform, name="hello")) as layout,
        closing(open_docker_archive(tmp_path / "hello.tar", tag=None, platform=platform, name="hello")) as archive,
    ):
        assert layout.config == archive.config == config
        assert json.loads(layout.config)["rootfs"]["diff_ids"] == [layer.digest]


REDIS_DEFAULTS = "--bind 0.0.0.0 --protected-mode no"


@pytest.mark.parametrize(
    ("command", "started"),
    [
        ([], f"redis-server {REDIS_DEFAULTS}"),
        (["redis-server"], f"redis-server {REDIS_DEFAULTS}"),
        (["--save", ""], f"redis-server {REDIS_DEFAULTS} --save "),
        (["redis-server", "/etc/mine.conf", "--port", "1"], f"redis-server /etc/mine.conf {REDIS_DEFAULTS} --port 1"),
        (["/etc/mine.conf"], f"redis-server /etc/mine.conf {REDIS_DEFAULTS}"),
        (["echo", "hello"], "hello"),
    ],
)
def test_redis_can_be_reached_however_it_is_started(tmp_path: Path, command: list[str], started: str) -> None:
    stub = tmp_path / "redis-server"
    stub.write_text('#!/bin/sh\necho "redis-server $*"\n')
    stub.chmod(0o755)
    result = entry_point("redis-entrypoint.sh", command, PATH=f"{tmp_path}:{os.defpath}")
    assert result.stdout == f"{started}\n"


def test_postgres_without_a_password_is_refused(tmp_path: Path) -> None:
    """As by the official image; `id` is a stand-in so that the script believes it has left root behind."""
    stub = tmp_path / "id"
    stub.write_text("#!/bin/sh\necho 1000\n")
    stub.chmod(0o755)
    result = entry_point("postgres-entrypoint.sh", ["postgres"], PATH=f"{tmp_path}:{os.defpath}", PGDATA=str(tmp_path))
    assert result.returncode == 1
    assert "POSTGRES_PASSWORD" in result.stderr
    assert "POSTGRES_HOST_AUTH_METHOD=trust" in result.stderr


def entry_point(script: str, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", PROGRAM / "files" / script, *command], env=environment, capture_output=True, text=True, check=False
    )


def build_program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROGRAM / "build.py", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_directory_is_the_user_s_cache_unless_named(tmp_path: Path) -> None:
    cached = build_program("--print-dir", XDG_CACHE_HOME=str(tmp_path)).stdout.strip()
    assert Path(cached).parent == tmp_path / "pytest-tf" / "example-images"
    named = build_program("--print-dir", TF_EXAMPLE_IMAGES=str(tmp_path / "mine")).stdout.strip()
    assert named == str(tmp_path / "mine")


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("dear")
    result = build_program(TF_EXAMPLE_IMAGES=str(tmp_path))
    assert result.returncode == 1
    assert "holds something else" in result.stderr
    assert (tmp_path / "diary").read_text() == "dear"
