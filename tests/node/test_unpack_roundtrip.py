"""What GNU tar packs, unpacking gives back: every kind of file, odd names, attributes, holes, times."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.support.archives import SHIFT, described, digest, extents, gzipped, unpacked
from tfnode.images.unpack import unpack_layer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices on disk need root")

CAPABILITY_V2 = bytes.fromhex("0100000200040000000000000000000000000000")
CAPABILITY_V3 = bytes.fromhex("010000030004000000000000000000000000000000000000")
PAX = ["--format=pax", "--xattrs", "--xattrs-include=*"]
FORMATS = {
    "pax": PAX,
    "gnu": ["--format=gnu"],
    "sparse 0.0": [*PAX, "--sparse", "--sparse-version=0.0"],
    "sparse 0.1": [*PAX, "--sparse", "--sparse-version=0.1"],
    "sparse 1.0": [*PAX, "--sparse", "--sparse-version=1.0"],
    "old sparse": ["--format=gnu", "--sparse"],
}


def gnu_tar(tree: Path, *options: str) -> bytes:
    argv = ["tar", *options, "-C", str(tree), "-cf", "-", "."]
    return subprocess.run(argv, check=True, capture_output=True).stdout


class RandomTree:
    """A tree with everything a layer can hold, the same for the same seed."""

    def __init__(self, root: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self._root = os.fsencode(root)
        self._files: list[bytes] = []
        root.mkdir()
        self._fill(self._root, depth=3)
        self._describe_all()

    def _fill(self, directory: bytes, depth: int) -> None:
        makers = [self._file] * 6 + [self._symlink, self._fifo, self._device, self._hardlink]
        for name in {self._name() for _ in range(self._random.randrange(12))}:
            path = os.path.join(directory, name)
            if depth and self._random.random() < 0.3:
                os.mkdir(path)
                self._fill(path, depth - 1)
            else:
                self._random.choice(makers)(path)

    def _name(self) -> bytes:
        length = self._random.choice([1, 2, 8, 30, 101, 255])
        name = bytes(self._random.choice(b"ab \n\t\\\"'*?\x01\x7f\x80\xff\xc3\xa9-.") for _ in range(length))
        return name if name not in (b".", b"..") and not name.startswith(b".wh.") else b"dots"

    def _file(self, path: bytes) -> None:
        with open(path, "wb") as opened:
            for _ in range(self._random.randrange(4)):
                if self._random.random() < 0.3:
                    opened.seek(self._random.randrange(1 << 20), os.SEEK_CUR)
                opened.write(self._random.randbytes(self._random.choice([0, 1, 511, 512, 513, 70_000])))
            opened.truncate(opened.tell() + self._random.choice([0, 0, 1, 100_000]))
        self._files.append(path)
        if self._random.random() < 0.3:
            os.setxattr(path, b"user.a b", self._random.randbytes(9))

    def _symlink(self, path: bytes) -> None:
        os.symlink(self._random.choice([b"/etc/passwd", b"../../../../up", b"\xff\n", b"t" * 300]), path)

    def _fifo(self, path: bytes) -> None:
        os.mkfifo(path)

    def _device(self, path: bytes) -> None:
        kind = self._random.choice([0o020000, 0o060000])
        os.mknod(path, kind | 0o600, os.makedev(self._random.randrange(1, 4096), self._random.randrange(1 << 20)))

    def _hardlink(self, path: bytes) -> None:
        if self._files:
            os.link(self._random.choice(self._files), path)

    def _describe_all(self) -> None:
        for directory, names, files in os.walk(self._root, topdown=False):
            for name in names + files:
                self._describe(os.path.join(directory, name))
        self._describe(self._root)

    def _describe(self, path: bytes) -> None:
        ids = [0, 1, 101, 65534, 65535]
        os.chown(path, self._random.choice(ids), self._random.choice(ids), follow_symlinks=False)
        if not os.path.islink(path):
            os.chmod(path, self._random.choice([0o644, 0o755, 0o000, 0o4755, 0o2755, 0o1777, 0o6711, 0o7777]))
        time = self._random.choice([0, 1, -1_500_000_000, 1_700_000_000_123_456_789, 4_000_000_000 * 10**9])
        os.utime(path, ns=(0, time), follow_symlinks=False)


@pytest.mark.parametrize("seed", range(12))
def test_a_random_tree_comes_back_exactly(tmp_path: Path, seed: int) -> None:
    RandomTree(tmp_path / "tree", seed)
    data = gnu_tar(tmp_path / "tree", *FORMATS["sparse 1.0"])
    unpacked(data, tmp_path / "layer", size=random.Random(seed).choice([1000, 65_536, len(data)]))
    assert described(tmp_path / "layer", SHIFT) == described(tmp_path / "tree")


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_every_format_of_gnu_tar_is_read(tmp_path: Path, options: list[str]) -> None:
    RandomTree(tmp_path / "tree", seed=3)
    # only pax keeps nanoseconds and attributes, so the others are compared with what GNU tar itself extracts
    data = gnu_tar(tmp_path / "tree", *options)
    (tmp_path / "extracted").mkdir()
    argv = ["tar", "--xattrs", "--xattrs-include=*", "-C", str(tmp_path / "extracted"), "-xpf", "-"]
    subprocess.run(argv, input=data, check=True)
    unpacked(data, tmp_path / "layer")
    assert described(tmp_path / "layer", SHIFT) == described(tmp_path / "extracted")


@pytest.mark.parametrize("options", [FORMATS[name] for name in FORMATS if "sparse" in name])
def test_holes_stay_holes(tmp_path: Path, options: list[str]) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "database").open("wb") as opened:
        for place in range(0, 60, 2):  # more pieces than fit into one header
            opened.seek(place << 20)
            opened.write(b"page" * 2048)
        opened.truncate(64 << 20)
    (tree / "hole").touch()
    os.truncate(tree / "hole", 1 << 32)
    unpacked(gnu_tar(tree, *options), tmp_path / "layer")
    assert extents(tmp_path / "layer/database") == extents(tree / "database")
    assert (tmp_path / "layer/hole").stat().st_size == 1 << 32
    assert (tmp_path / "layer/hole").stat().st_blocks == 0
    assert (tmp_path / "layer/database").read_bytes() == (tree / "database").read_bytes()


def test_file_capabilities_hold_in_the_containers_user_namespace(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "ping").touch()
    os.setxattr(tree / "ping", "security.capability", CAPABILITY_V2)
    unpacked(gnu_tar(tree, *PAX), tmp_path / "layer")
    expected = CAPABILITY_V3[:-4] + SHIFT.uid_base.to_bytes(4, "little")
    assert os.getxattr(tmp_path / "layer/ping", "security.capability") == expected


def test_compressed_and_plain_layers_become_the_same(tmp_path: Path) -> None:
    RandomTree(tmp_path / "tree", seed=5)
    data = gnu_tar(tmp_path / "tree", *PAX)
    unpacked(data, tmp_path / "plain")
    unpacked(data, tmp_path / "gzip", packed=gzipped(data))
    half = len(data) // 2
    unpacked(data, tmp_path / "members", packed=gzipped(data[:half]) + gzipped(b"") + gzipped(data[half:]), size=77)
    assert described(tmp_path / "gzip") == described(tmp_path / "plain")
    assert described(tmp_path / "members") == described(tmp_path / "plain")


def test_bytes_may_come_one_at_a_time(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"content")
    data = gnu_tar(tree, *PAX)
    single = (bytes([byte]) for byte in gzipped(data))
    unpack_layer(single, tmp_path / "layer", diff_id=digest(data), shift=SHIFT)
    assert (tmp_path / "layer/file").read_bytes() == b"content"
