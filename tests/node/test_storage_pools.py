"""`tf-node storage`: a file system for a node's data is made as asked, or nothing has changed; and what it says of one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.privacy import private_mounts
from tests.support.scratch_disks import disk_file
from tests.support.zfs_fuse import destroy_pool, zfs_pool
from tfcore.errors import BadRequest, CommandFailed, Exhausted, HostLacks, WrongState
from tfnode import cli
from tfnode.kernel.mounts import is_mounted, unmount
from tfnode.storage import drivers, pools
from tfnode.storage.pools import Wish

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making and mounting file systems takes root"),
    *(
        pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")
        for program in ("mkfs.xfs", "mkfs.btrfs")
    ),
]

SIZE = 400 << 20


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A node's directory, not there yet; what gets mounted on it is seen by the test alone and gone afterwards."""
    with private_mounts():
        yield tmp_path / "node"


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    """A block device with nothing on it."""
    with disk_file(SIZE) as disk:
        done = subprocess.run(["losetup", "-f", "--show", disk], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no loop device to be had: {done.stderr.strip()}")
        yield Path(done.stdout.strip())
        subprocess.run(["losetup", "-d", done.stdout.strip()], check=True)


@pytest.mark.parametrize(("kind", "driver"), [("xfs", "overlay"), ("btrfs", "btrfs")])
def test_in_a_file(root: Path, tmp_path: Path, kind: str, driver: str) -> None:
    pool = pools.make(Wish(kind=kind, root=root, file=tmp_path / "disk", size=SIZE))
    assert is_mounted(root)
    assert pool.driver == driver
    assert pool.at_boot == f"{tmp_path / 'disk'} {root} {kind} loop,noatime,nofail 0 0"
    assert root.stat().st_mode & 0o777 == 0o711
    storage = drivers.choose(root / "storage", driver)
    assert storage.capabilities.shares_blocks
    storage.close()
    unmount(root)
    subprocess.run(["mount", "-o", "loop", tmp_path / "disk", root], check=True)
    assert (root / "storage").is_dir(), "the line for fstab mounts the same again"


def test_on_a_device(root: Path, device: Path) -> None:
    pool = pools.make(Wish(kind="btrfs", root=root, device=device))
    source, point, kind, *_ = pool.at_boot.split()
    assert (point, kind) == (str(root), "btrfs")
    found = subprocess.run(
        ["blkid", "-p", "-o", "value", "-s", "UUID", device], capture_output=True, text=True, check=True
    )
    assert source == f"UUID={found.stdout.strip()}"
    with pytest.raises(WrongState, match="is in use"):
        pools.make(Wish(kind="xfs", root=root.with_name("other"), device=device, overwrite=True))
    unmount(root)
    with pytest.raises(WrongState, match=r"there is something on .*btrfs.*--force"):
        pools.make(Wish(kind="xfs", root=root, device=device))
    pools.make(Wish(kind="xfs", root=root, device=device, overwrite=True))
    unmount(root)


def test_in_a_pool_of_zfs(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with zfs_pool(tmp_path / "other", size=SIZE):
        pool = pools.make(Wish(kind="zfs", root=tmp_path / "node", file=tmp_path / "disk", size=SIZE))
        try:
            assert (pool.driver, pool.at_boot) == ("zfs", f"zpool import -d {tmp_path} tf-node")
            assert drivers.probe_all(tmp_path / "node")["zfs"].usable
        finally:
            destroy_pool("tf-node")


def test_what_is_there_is_left_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("precious")
    with pytest.raises(WrongState, match="disk exists"):
        pools.make(Wish(kind="xfs", root=root, file=tmp_path / "disk", size=SIZE))
    assert (tmp_path / "disk").read_text() == "precious"
    root.mkdir()
    (root / "node.toml").touch()
    with pytest.raises(WrongState, match="is not empty"):
        pools.make(Wish(kind="xfs", root=root, file=tmp_path / "new", size=SIZE))
    assert not (tmp_path / "new").exists()


def test_what_makes_no_sense_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="not a block device"):
        pools.make(Wish(kind="xfs", root=root, device=tmp_path))
    with pytest.raises(BadRequest, match="300 MB are the least"):
        pools.make(Wish(kind="xfs", root=root, file=tmp_path / "disk", size=100 << 20))
    with pytest.raises(Exhausted, match="MB free, not"):
        pools.make(Wish(kind="xfs", root=root, file=tmp_path / "disk", size=1 << 60))
    with pytest.raises(BadRequest, match="is not a directory"):
        pools.make(Wish(kind="xfs", root=root, file=tmp_path / "nowhere" / "disk", size=SIZE))
    assert os.listdir(tmp_path) == []


def test_a_missing_program_is_named(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostLacks, match=r"mkfs\.btrfs is not installed .*btrfs-progs"):
        pools.make(Wish(kind="btrfs", root=root, file=tmp_path / "disk", size=SIZE))


def test_what_fails_half_way_is_taken_back(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "mount").write_text("#!/bin/sh\necho the kernel will not >&2\nexit 32\n")
    (programs / "mount").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    with pytest.raises(CommandFailed, match="the kernel will not"):
        pools.make(Wish(kind="btrfs", root=root, file=tmp_path / "disk", size=SIZE))
    assert os.listdir(tmp_path) == ["programs"]


@pytest.mark.parametrize(("text", "size"), [("20G", 20 << 30), ("500M", 500 << 20), ("1t", 1 << 40), ("4096", 4096)])
def test_sizes(text: str, size: int) -> None:
    assert pools.size_of(text) == size


@pytest.mark.parametrize("text", ["", "G", "20X", "-1G", "1.5G", "20 G"])
def test_odd_sizes(text: str) -> None:
    with pytest.raises(BadRequest, match="is no size"):
        pools.size_of(text)


def test_the_commands(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = cli.main(["storage", "init", "--file", str(tmp_path / "disk"), "--size", "400M", "--root", str(root)])
    said = capsys.readouterr().out
    assert made == 0
    assert f"{tmp_path / 'disk'} {root} xfs loop,noatime,nofail 0 0" in said.splitlines()
    assert 'storage = "overlay"' in said
    storage = drivers.choose(root / "storage", "overlay")
    try:
        assert cli.main(["storage", "show", "--root", str(root)]) == 0, "also while a node has it open"
    finally:
        storage.close()
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["driver"].startswith("overlay (wrote what is here)")
    assert shown["place"].endswith("on xfs")
    assert shown["blocks"] == "shared with snapshots"
    assert "GB free" in shown["space"]
    assert shown["btrfs"].startswith("not here: ")


def test_a_directory_that_is_not_there_is_said_to_be_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["storage", "show", "--root", str(tmp_path / "nowhere")]) == 1
    assert "there is no" in capsys.readouterr().err
