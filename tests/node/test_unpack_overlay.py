"""Unpacked layers under a real overlay mount: what containers see is what the layers say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.archives import (
    SHIFT,
    Member,
    described,
    device,
    directory,
    file,
    hardlink,
    symlink,
    tar,
    unpacked,
)
from tests.support.privacy import private_mounts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="overlay mounts need root")

BASE = [
    directory("./", mode=0o755),
    directory("etc", mtime=1_000),
    file("etc/keep", b"base"),
    file("etc/gone", b"base"),
    file("etc/changed", b"base", mtime=2_000),
    directory("var/lib/db", uid=101, gid=102, mode=0o700),
    file("var/lib/db/old", b"base"),
    directory("dir-to-file"),
    file("dir-to-file/inner", b"base"),
    file("file-to-dir", b"base"),
    symlink("link-to-dir", "etc"),
    directory("emptied/sub"),
    file("emptied/sub/deep", b"base"),
    file("emptied/top", b"base"),
    directory("reborn"),
    file("reborn/old", b"base"),
    directory("merged"),
    file("merged/base", b"base"),
]


def overlay(tmp_path: Path, *layers: list[Member]) -> Path:
    """Unpack layers, the lowest first, and mount them; to be called within private mounts."""
    lower = []
    for number, members in enumerate(layers):
        unpacked(tar(*members), tmp_path / f"layer{number}")
        lower.insert(0, str(tmp_path / f"layer{number}"))
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={':'.join(lower)},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, tmp_path / "merged"], check=True)
    return tmp_path / "merged"


def files(root: Path) -> dict[str, str]:
    """Every path with the content of a file, `/` for a directory, or `-> target`."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = "/" if path.is_dir() else path.read_text()
    return found


def seen(tmp_path: Path, *layers: list[Member]) -> dict[str, str]:
    with private_mounts():
        return files(overlay(tmp_path, *layers))


def only(tree: dict[str, str], prefix: str) -> dict[str, str]:
    return {name: value for name, value in tree.items() if name.startswith(prefix)}


def test_one_layer_is_seen_as_it_is(tmp_path: Path) -> None:
    tree = seen(tmp_path, BASE)
    assert tree["etc/changed"] == "base"
    assert tree["link-to-dir"] == "-> etc"
    assert len(tree) == len(BASE) - 1 + 3  # the root is not listed; var, var/lib and emptied are implied
    assert tree["var"] == tree["var/lib"] == tree["emptied"] == "/"


def test_upper_layers_change_and_add(tmp_path: Path) -> None:
    tree = seen(tmp_path, BASE, [file("etc/changed", b"upper"), file("etc/new", b"upper")])
    assert only(tree, "etc/") == {"etc/keep": "base", "etc/gone": "base", "etc/changed": "upper", "etc/new": "upper"}


def test_whiteouts_delete_from_the_layers_below(tmp_path: Path) -> None:
    upper = [file("etc/.wh.gone"), file("var/lib/.wh.db"), file(".wh.link-to-dir"), file("etc/.wh.never-was")]
    tree = seen(tmp_path, BASE, upper)
    assert only(tree, "etc") == {"etc": "/", "etc/keep": "base", "etc/changed": "base"}
    assert only(tree, "var") == {"var": "/", "var/lib": "/"}
    assert "link-to-dir" not in tree


def test_a_whiteout_hides_several_layers_and_a_later_layer_brings_the_name_back(tmp_path: Path) -> None:
    middle = [file("etc/gone", b"middle")]
    tree = seen(tmp_path, BASE, middle, [file("etc/.wh.gone")])
    assert "etc/gone" not in tree
    back = seen_again(tmp_path, BASE, middle, [file("etc/.wh.gone")], [file("etc/gone", b"again")])
    assert back["etc/gone"] == "again"


def seen_again(tmp_path: Path, *layers: list[Member]) -> dict[str, str]:
    (tmp_path / "again").mkdir()
    return seen(tmp_path / "again", *layers)


@pytest.mark.parametrize("first", ["marker first", "marker last"])
def test_opaque_directories_hide_all_of_the_one_below(tmp_path: Path, first: str) -> None:
    upper = [file("emptied/.wh..wh..opq"), directory("emptied", mode=0o711), file("emptied/new", b"upper")]
    tree = seen(tmp_path, BASE, upper if first == "marker first" else upper[::-1])
    assert only(tree, "emptied") == {"emptied": "/", "emptied/new": "upper"}


def test_an_opaque_marker_alone_makes_the_directory(tmp_path: Path) -> None:
    tree = seen(tmp_path, BASE, [file("emptied/.wh..wh..opq")])
    assert only(tree, "emptied") == {"emptied": "/"}


def test_files_and_directories_take_each_others_place(tmp_path: Path) -> None:
    upper = [file("dir-to-file", b"upper"), directory("file-to-dir"), file("file-to-dir/inner", b"upper")]
    upper += [directory("link-to-dir"), file("link-to-dir/inner", b"upper")]
    tree = seen(tmp_path, BASE, upper)
    assert only(tree, "dir-to-file") == {"dir-to-file": "upper"}
    assert only(tree, "file-to-dir") == {"file-to-dir": "/", "file-to-dir/inner": "upper"}
    assert only(tree, "link-to-dir") == {"link-to-dir": "/", "link-to-dir/inner": "upper"}
    assert "etc/inner" not in tree


@pytest.mark.parametrize(
    "upper",
    [
        [file(".wh.reborn"), directory("reborn"), file("reborn/new", b"upper")],
        [directory("reborn"), file("reborn/new", b"upper"), file(".wh.reborn")],
        [file(".wh.reborn"), file("reborn/new", b"upper")],
    ],
    ids=["whiteout first", "whiteout last", "directory implied"],
)
def test_a_directory_deleted_and_made_again_has_only_the_new_content(tmp_path: Path, upper: list[Member]) -> None:
    assert only(seen(tmp_path, BASE, upper), "reborn") == {"reborn": "/", "reborn/new": "upper"}


@pytest.mark.parametrize("order", [1, -1], ids=["whiteout first", "whiteout last"])
def test_a_whiteout_never_hides_what_its_own_layer_has(tmp_path: Path, order: int) -> None:
    upper = [file("etc/.wh.changed"), file("etc/changed", b"upper")]
    assert seen(tmp_path, BASE, upper[::order])["etc/changed"] == "upper"


def test_within_one_layer_the_last_entry_of_a_name_wins(tmp_path: Path) -> None:
    layer = [
        file("a", b"first"),
        file("a", b"second"),
        directory("b"),
        file("b/inner", b"first"),
        file("b", b"file now"),
        file("c", b"first"),
        directory("c"),
        file("c/inner", b"second"),
        symlink("d", "c"),
        file("d", b"no link any more"),
        symlink("e", "c"),
        directory("e"),
        file("e/inner", b"e's own"),
        hardlink("f", "a"),
        file("f", b"third"),
    ]
    assert seen(tmp_path, layer) == {
        "a": "second",
        "b": "file now",
        "c": "/",
        "c/inner": "second",
        "d": "no link any more",
        "e": "/",
        "e/inner": "e's own",
        "f": "third",
    }


def test_aufs_housekeeping_is_left_out(tmp_path: Path) -> None:
    layer = [directory(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", b"x"), file(".wh..wh.aufs"), file("real", b"x")]
    assert seen(tmp_path, layer) == {"real": "x"}


def test_owners_modes_and_devices_are_seen_through_the_mount(tmp_path: Path) -> None:
    layers = [BASE, [device("dev/null", 1, 3, mode=0o666), file("su", b"", mode=0o4755, uid=0, gid=5)]]
    with private_mounts():
        tree = described(overlay(tmp_path, *layers), SHIFT)
    assert tree[b"var/lib/db"]["mode"] == "drwx------"
    assert (tree[b"var/lib/db"]["uid"], tree[b"var/lib/db"]["gid"]) == (101, 102)
    assert (tree[b"su"]["mode"], tree[b"su"]["gid"]) == ("-rwsr-xr-x", 5)
    assert (tree[b"dev/null"]["mode"], tree[b"dev/null"]["device"]) == ("crw-rw-rw-", (1, 3))
    assert (tree[b"var"]["mode"], tree[b"var"]["uid"], tree[b"var"]["mtime"]) == ("drwxr-xr-x", 0, 0)
    assert tree[b"etc/changed"]["mtime"] == 2_000 * 10**9


def test_changes_above_leave_the_layers_alone(tmp_path: Path) -> None:
    with private_mounts():
        merged = overlay(tmp_path, BASE, [file("emptied/.wh..wh..opq")])
        before = described(tmp_path / "layer0"), described(tmp_path / "layer1")
        (merged / "etc/keep").write_text("container")
        (merged / "etc/gone").unlink()
        (merged / "emptied").rmdir()
        assert (merged / "etc/keep").read_text() == "container"
    assert (described(tmp_path / "layer0"), described(tmp_path / "layer1")) == before
