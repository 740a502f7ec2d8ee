"""The tree copier: against `cp -a` on what overlayfs really writes, and against the kernel's own idea of a merged stack."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tfnode.kernel.confinement import opaque_mark
from tfnode.kernel.mounts import open_overlay
from tfnode.storage.beneath import open_directory
from tfnode.storage.filedata import FileData, data_segments
from tfnode.storage.interface import OverlayMount
from tfnode.storage.occupancy import occupied
from tfnode.storage.treecopy import Whiteouts, copy_root_attributes, copy_tree, merge_layers
from tfnode.testing import play
from tfnode.testing.trees import Manifest, assert_same, describe, differences

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="overlays and foreign owners take root")
NAMES = ("a", "b", "c", "d")
LAYERS = 6


@contextmanager
def stacked(place: Path, lowers: list[Path], upper: Path | None = None) -> Iterator[Path]:
    """An overlay of `lowers`, top first, below a fresh or a given upper."""
    upper = upper or place / "scratch-upper"
    shutil.rmtree(place / "work", ignore_errors=True)
    for directory in (upper, place / "work"):
        directory.mkdir(parents=True, exist_ok=True)
    fd = open_overlay(OverlayMount(tuple(lowers), upper, place / "work", volatile=True))
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def test_everything_is_carried_over(tmp_path: Path) -> None:
    play.furnish(tmp_path / "source")
    wanted = describe(tmp_path / "source")
    copy_tree(tmp_path / "source", tmp_path / "copy")
    assert_same(wanted, describe(tmp_path / "copy"))
    assert_same(wanted, describe(tmp_path / "source"))


@root_only
def test_an_upper_is_copied_as_cp_does(tmp_path: Path) -> None:
    """With whiteouts, opaque directories and all of overlayfs's marks."""
    image = play.make_image(tmp_path / "image")
    with stacked(tmp_path, list(reversed(image.layers)), tmp_path / "upper") as top:
        play.go_on(top)
        play.recreate_folder(top / "image")
        shutil.rmtree(top / "upper")
    copy_tree(tmp_path / "upper", tmp_path / "ours")
    subprocess.run(["cp", "-a", tmp_path / "upper", tmp_path / "theirs"], check=True)
    ours, theirs = describe(tmp_path / "ours"), describe(tmp_path / "theirs")
    marks = {name for entry in theirs.values() for name, _ in entry.xattrs}
    assert {opaque_mark(), "security.capability"} <= marks
    assert any(entry.mode.startswith("c") and entry.device == 0 for entry in theirs.values())
    assert_same(theirs, ours)


def test_access_times_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "folder").mkdir(parents=True)
    (source / "folder/file").write_text("content")
    (source / "link").symlink_to("folder")
    times = {"folder/file": 1_000_000_007, "link": 2_000_000_007, "folder": 3_000_000_007, ".": 4_000_000_007}
    for path, time in times.items():
        os.utime(source / path, ns=(time, time + 1), follow_symlinks=False)
    copy_tree(source, tmp_path / "copy")
    assert {path: os.lstat(tmp_path / "copy" / path).st_atime_ns for path in times} == times
    del times["link"]  # reading a link counts as an access, and nobody can ask the kernel to overlook it
    assert {path: os.lstat(source / path).st_atime_ns for path in times} == times


def test_holes_stay_holes(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with (tmp_path / "source/file").open("wb") as file:
        file.truncate(1 << 40)
        for offset in (0, 1 << 20, 1 << 39):
            file.seek(offset)
            file.write(b"island")
    copy_tree(tmp_path / "source", tmp_path / "copy")
    assert describe(tmp_path / "copy") == describe(tmp_path / "source")
    assert occupied(tmp_path / "copy").bytes < (1 << 20)


def test_contents_arrive_without_the_kernels_help(tmp_path: Path) -> None:
    """As between file systems on a kernel that copies ranges only within one."""
    with (tmp_path / "source").open("w+b") as source, (tmp_path / "target").open("w+b") as target:
        source.write(b"x" * 5000)
        source.seek(3 << 20)
        source.write(os.urandom(2 << 20))
        source.truncate(9 << 20)
        data = FileData()
        data._shares = data._copies_ranges = False
        data.copy(source.fileno(), target.fileno(), 9 << 20)
        assert list(data_segments(target.fileno(), 9 << 20)) == list(data_segments(source.fileno(), 9 << 20))
    assert (tmp_path / "target").read_bytes() == (tmp_path / "source").read_bytes()


def test_a_file_that_shrinks_meanwhile_is_an_error(tmp_path: Path) -> None:
    with (tmp_path / "source").open("w+b") as source, (tmp_path / "target").open("w+b") as target:
        source.write(b"x" * 100)
        source.flush()
        data = FileData()
        data._shares = False
        with pytest.raises(OSError, match="shrank"):
            data._copy_range(source.fileno(), target.fileno(), 0, 200)


def test_no_symbolic_link_is_ever_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "top/inside").mkdir(parents=True)
    (tmp_path / "top/away").symlink_to(tmp_path / "secret")
    (tmp_path / "top/near").symlink_to("inside")
    top = os.open(tmp_path / "top", os.O_RDONLY)
    try:
        for path in ("away", "near", "../secret", str(tmp_path / "secret"), "inside/../../secret"):
            with pytest.raises(OSError, match=r"symbolic|Invalid cross-device link"):
                open_directory(top, path)
        os.close(open_directory(top, "inside"))
    finally:
        os.close(top)


def test_a_tree_that_changes_meanwhile_leads_nowhere(tmp_path: Path) -> None:
    """A directory is exchanged for a link to a secret, and back, as fast as possible, while the tree is copied."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/password").write_text("hunter2")
    (tmp_path / "source/folder").mkdir(parents=True)
    (tmp_path / "source/folder/harmless").touch()
    done = threading.Event()

    def exchange() -> None:
        while not done.is_set():
            (tmp_path / "source/folder").rename(tmp_path / "aside")
            (tmp_path / "source/folder").symlink_to(tmp_path / "secret")
            (tmp_path / "source/folder").unlink()
            (tmp_path / "aside").rename(tmp_path / "source/folder")

    thread = threading.Thread(target=exchange)
    thread.start()
    spoilt = 0
    try:
        for number in range(300):
            try:
                copy_tree(tmp_path / "source", tmp_path / f"copy-{number}")
            except OSError:
                spoilt += 1
    finally:
        done.set()
        thread.join()
    assert spoilt < 300
    assert not list(tmp_path.glob("copy-*/**/password"))


def test_an_error_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "source/folder").mkdir(parents=True)
    os.mkfifo(tmp_path / "source/folder/pipe")
    (tmp_path / "copy").mkdir()
    with pytest.raises(FileExistsError, match="copy"):
        copy_tree(tmp_path / "source", tmp_path / "copy")
    with pytest.raises(FileNotFoundError, match="nothing"):
        copy_tree(tmp_path / "nothing", tmp_path / "other")


def test_root_attributes_without_overlayfs_marks(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for directory in (source, target):
        directory.mkdir()
    source.chmod(0o2751)
    os.setxattr(source, "user.kept", b"1")
    if os.geteuid() == 0:
        os.chown(source, 100000, 100001)
        os.setxattr(source, opaque_mark(), b"y")
    os.utime(source, ns=(5, 7))
    copy_root_attributes(source, target)
    status = target.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o2751, *_owner(source))
    assert (status.st_atime_ns, status.st_mtime_ns) == (5, 7)
    assert os.listxattr(target) == ["user.kept"]


def _owner(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid


# --- merging, against the kernel


@root_only
@pytest.mark.parametrize("seed", range(12))
def test_merged_layers_show_what_an_overlay_shows(tmp_path: Path, seed: int) -> None:
    """Uppers made by random work through real overlays, each on the ones before, merged in every way there is."""
    layers = _random_layers(tmp_path, random.Random(seed))
    with stacked(tmp_path / "whole", layers) as top:
        wanted = _without_top(top)
    merge_layers(layers, tmp_path / "applied", Whiteouts.APPLY)
    assert_same(wanted, _without_top(tmp_path / "applied"))
    for bottom in range(1, LAYERS):
        merged = tmp_path / f"kept-{bottom}"
        merge_layers(layers[:bottom], merged, Whiteouts.KEEP)
        with stacked(tmp_path / f"over-{bottom}", [merged, *layers[bottom:]]) as top:
            assert_same(wanted, _without_top(top))


def _without_top(top: Path) -> Manifest:
    """The top directory of an overlay is its upper's, which is the test's own."""
    manifest = describe(top)
    del manifest[""]
    return manifest


def _random_layers(place: Path, chance: random.Random) -> list[Path]:
    """Top first."""
    layers: list[Path] = []
    (place / "bottom").mkdir()
    for number in range(LAYERS):
        upper = place / f"layer-{number}"
        with stacked(place / f"made-{number}", layers or [place / "bottom"], upper) as top:
            before = describe(top)
            for _ in range(25):
                _do_something(top, chance)
            assert differences(before, describe(top))
        layers.insert(0, upper)
    return layers


def _do_something(top: Path, chance: random.Random) -> None:
    """One random change; what cannot be done to what happens to be there is left."""
    path = top.joinpath(*chance.choices(NAMES, k=chance.randint(1, 3)))
    other = top.joinpath(*chance.choices(NAMES, k=chance.randint(1, 2)))
    action = chance.choice((_write, _write, _write, _remove, _remove, _replace, _recreate, _mode, _link, _hard, _xattr))
    with suppress(OSError):
        action(path, other, chance)


def _write(path: Path, _: Path, chance: random.Random) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(chance.randbytes(chance.randint(0, 5000)))


def _remove(path: Path, *_: object) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _replace(path: Path, other: Path, _: random.Random) -> None:
    _remove(path)
    shutil.copytree(other, path, symlinks=True) if other.is_dir() and not path.is_relative_to(other) else path.touch()


def _recreate(path: Path, *_: object) -> None:
    _remove(path)
    path.mkdir()
    (path / NAMES[0]).mkdir()


def _mode(path: Path, _: Path, chance: random.Random) -> None:
    os.lchown(path, chance.randrange(1000), chance.randrange(1000))


def _link(path: Path, other: Path, _: random.Random) -> None:
    path.symlink_to(other.name)


def _hard(path: Path, other: Path, _: random.Random) -> None:
    os.link(path, other, follow_symlinks=False)


def _xattr(path: Path, _: Path, chance: random.Random) -> None:
    os.setxattr(path, "trusted.test", chance.randbytes(4), follow_symlinks=False)
