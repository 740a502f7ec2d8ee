"""Archives that mean harm, or came to harm: each is refused with layer, entry and cause named, and nothing is left."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.archives import (
    END,
    SHIFT,
    Member,
    chunked,
    device,
    digest,
    directory,
    fifo,
    file,
    gzipped,
    hardlink,
    header,
    octal,
    padded,
    pax,
    symlink,
    tar,
    unpacked,
)
from tests.support.privacy import private_mounts
from tfcore.errors import BadImage, Exhausted, Unavailable
from tfnode.images import decompress
from tfnode.images.limits import Limits
from tfnode.images.unpack import unpack_layer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices on disk need root")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where to unpack to; beside it a directory that must not change. Afterwards nothing else may be there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("as it was")
    descriptors = len(os.listdir("/proc/self/fd"))
    yield tmp_path / "layer"
    assert sorted(os.listdir(tmp_path)) == ["outside"], "something was left"
    assert os.listdir(outside) == ["precious"]
    assert (outside / "precious").read_text() == "as it was"
    assert len(os.listdir("/proc/self/fd")) == descriptors, "a descriptor was left open"


def refused(place: Path, data: bytes, *words: str, **options: object) -> None:
    with pytest.raises(BadImage) as caught:
        unpacked(data, place, **options)
    for word in (f"layer {digest(data)[:19]}", *words):
        assert word in str(caught.value)


OUT = "../outside"
DEEP = "/".join(["d" * 200] * 15)
FAR_OUT = "../" * 20 + "etc"
HOSTILE: dict[str, tuple[list[Member], list[str]]] = {
    "absolute name": ([file("/etc/cron.d/evil")], ["'/etc/cron.d/evil'", "absolute"]),
    "dot dot": ([file("../outside/evil")], ["'../outside/evil'", "'..'"]),
    "dot dot inside": ([file("a/../../outside/evil")], ["'..'"]),
    "dot dot at the end": ([directory("a/..")], ["'a/../'", "'..'"]),
    "harmless dot dot": ([file("a/../b")], ["'..'"]),
    "link out, then through it": ([symlink("a", OUT), file("a/evil")], ["'a/evil'", "'a' -> '../outside'", "out"]),
    "far out": ([symlink("a", FAR_OUT), file("a/evil")], ["'a/evil'", "leads out of the layer"]),
    "absolute link, then through it": ([symlink("a", "/etc"), file("a/evil")], ["'a/evil'", "'etc' is not in"]),
    "absolute link to the host": ([symlink("a", "/"), file("a/root/evil"), file("a/a/a/../x")], ["'..'"]),
    "links in a row": (
        [symlink("a", "b"), symlink("b", "c"), symlink("c", OUT), file("a/evil")],
        ["'a' -> 'b'", "'b' -> 'c'", "'c' -> '../outside'", "leads out"],
    ),
    "out by a link below": (
        [directory("d"), symlink("d/up", ".."), symlink("d/up2", "up/.."), file("d/up2/evil")],
        ["'d/up2/evil'", "leads out"],
    ),
    "links in a circle": ([symlink("a", "b"), symlink("b", "a"), file("a/evil")], ["more than 40 links"]),
    "link nowhere": ([symlink("a", "missing"), file("a/x")], ["'missing' is not in this layer"]),
    "whiteout through a link out": ([symlink("a", OUT), file("a/.wh.precious")], ["'a/.wh.precious'", "leads out"]),
    "opaque through a link out": ([symlink("a", OUT), file("a/.wh..wh..opq")], ["leads out"]),
    "whiteout of dot dot": ([file("a/.wh...")], ["'a/.wh...'", "whiteout of '..'"]),
    "whiteout of dot": ([file("a/.wh..")], ["whiteout of '.'"]),
    "whiteout of nothing": ([file(".wh.")], ["whiteout of ''"]),
    "hard link out": ([hardlink("a", "../outside/precious")], ["'a'", "target", "'..'"]),
    "absolute hard link": ([hardlink("a", "/etc/shadow")], ["'a'", "target is absolute"]),
    "hard link to nothing": ([hardlink("a", "b")], ["its target 'b' is not in this layer"]),
    "hard link through a link out": ([symlink("l", OUT), hardlink("a", "l/precious")], ["'a'", "leads out"]),
    "hard link to a directory": ([directory("d"), hardlink("a", "d")], ["its target 'd' is no file"]),
    "hard link to the root": ([hardlink("a", ".")], ["hard link of the layer's root"]),
    "hard link to a whiteout": ([file(".wh.x"), hardlink("a", "x")], ["its target 'x' is no file"]),
    "hard link over its target's directory": ([file("d/f"), hardlink("d", "d/f")], ["its own target 'd/f'"]),
    "write through a hard link to a link": (
        [symlink("l", OUT), hardlink("a", "l"), file("a/evil")],
        ["'a' -> '../outside'", "leads out"],
    ),
    "overlayfs's own mark": ([device("a", 0, 0)], ["'a'", "character device 0:0"]),
    "device number": ([device("a", 4096, 0)], ["device number 4096:0"]),
    "minor device number": ([device("a", 1, 1 << 20, type=tarfile.BLKTYPE)], ["device number 1:1048576"]),
    "user beyond the range": ([file("a", uid=65_536)], ["'a'", "user id 65536 is outside 0 … 65535"]),
    "group beyond the range": ([directory("a", gid=4_000_000_000)], ["group id 4000000000 is outside"]),
    "user of a link": ([symlink("a", "b", uid=100_000)], ["user id 100000"]),
    "user of a fifo": ([fifo("a", uid=100_000)], ["user id 100000"]),
    "below a file": ([file("a"), file("a/b")], ["'a/b'", "'a' is no directory"]),
    "root as a file": ([file(".")], ["layer's root"]),
    "root as a link": ([symlink("./", "x")], ["layer's root"]),
    "name too long": ([file("n" * 256)], ["more than 255 bytes"]),
    "path too long": ([file("/".join(["n" * 200] * 21))], ["more than 4000 bytes"]),
    "path too deep": ([file("/".join(["n"] * 257))], ["more than 256 parts"]),
    "longer and longer by links": (
        [file(f"{DEEP}/x"), symlink("l", DEEP), directory(f"l/{DEEP}")],
        ["more than 4000 bytes"],
    ),
    "whiteout too long": ([file(".wh." + "n" * 256)], ["more than 255 bytes"]),
    "long link target": ([symlink("a", "t" * 4096)], ["'a'", "target"]),
    "empty link target": ([symlink("a", "")], ["'a'", "target"]),
    "capabilities malformed": (
        [file("a", pax_headers={"SCHILY.xattr.security.capability": "x"})],
        ["'a'", "capabilities are malformed"],
    ),
    "attribute too large": (
        [file("a", pax_headers={"SCHILY.xattr.user.x": "x" * 70_000})],
        ["'a'", "attribute 'user.x' of 70000 bytes"],
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused(place: Path, name: str) -> None:
    members, words = HOSTILE[name]
    refused(place, tar(file("first", b"x" * 10_000), *members), *words)


def test_a_link_inside_is_followed_inside(tmp_path: Path) -> None:
    members = [directory("usr/lib"), symlink("lib", "usr/lib"), symlink("abs", "/usr/./lib/../lib"), file("lib/a")]
    members += [file("abs/b"), hardlink("c", "abs/a"), file("abs/.wh.d")]
    members += [symlink("usr/lib/up", "../.."), file("usr/lib/up/e")]
    layer = tmp_path / "layer"
    unpacked(tar(*members), layer)
    assert sorted(os.listdir(layer / "usr/lib")) == ["a", "b", "d", "up"]
    assert sorted(os.listdir(layer)) == ["abs", "c", "e", "lib", "usr"]
    assert (layer / "c").samefile(layer / "usr/lib/a")


# --- damaged and malformed archives

GOOD = tar(file("a", b"x" * 5000), directory("d"), file("d/b", random.Random(1).randbytes(3000)))

MALFORMED = {
    "no tar": (b"hello" * 200, ["checksum"]),
    "html": (b"<html>404 not found</html>".ljust(1024), ["checksum"]),
    "ends in a header": (GOOD[:100], ["cut short"]),
    "ends in content": (GOOD[:1500], ["'a'", "cut short"]),
    "ends in padding": (GOOD[:5600], ["cut short"]),
    "damaged header": (GOOD[:5632] + b"X" + GOOD[5633:], ["checksum"]),
    "garbage behind": (GOOD + b"garbage", ["followed by garbage"]),
    "a second archive behind": (GOOD + GOOD, ["followed by garbage"]),
    "letters as size": (header(b"a", size=b"0000000000z\0"), ["octal"]),
    "signed size": (header(b"a", size=b"-0000000001\0"), ["octal"]),
    "underscores in size": (header(b"a", size=b"0000000_0_1\0"), ["octal"]),
    "negative size": (header(b"a", size=b"\xff" * 12), ["negative size"]),
    "a size of exabytes": (header(b"a", size=b"\x80" + b"\x00" * 3 + b"\x7f" * 8), ["claims a size"]),
    "unknown type": (header(b"vol", type=b"V") + END, ["'vol'", "unknown type b'V'"]),
    "multi-volume": (header(b"vol", type=b"M") + END, ["unknown type"]),
    "empty name": (header(b"") + END, ["name is empty"]),
    "long name without an entry": (header(b"L", type=b"L", size=octal(4)) + padded(b"abc\0"), ["extended header"]),
    "endless long names": (b"".join([header(b"L", type=b"L", size=octal(4)) + padded(b"abc\0")] * 9), ["in a row"]),
    "long name of a gigabyte": (header(b"L", type=b"L", size=octal(1 << 30)), ["extended header of 1073741824"]),
    "pax header of a gigabyte": (header(b"x", type=b"x", size=octal(1 << 30)), ["extended header of 1073741824"]),
    "nul in a pax name": (pax((b"path", b"a\0b")) + header(b"a") + END, ["NUL"]),
    "pax path out": (pax((b"path", b"../evil")) + header(b"a") + END, ["'../evil'", "'..'"]),
    "pax link out": (pax((b"linkpath", b"/etc/shadow")) + header(b"a", type=b"1") + END, ["target is absolute"]),
    "pax uid negative": (pax((b"uid", b"-1")) + header(b"a") + END, ["b'-1' as uid"]),
    "pax uid endless": (pax((b"uid", b"9" * 5000)) + header(b"a") + END, ["as uid"]),
    "pax size endless": (pax((b"size", b"9" * 19)) + header(b"a") + END, ["claims a size"]),
    "pax time": (pax((b"mtime", b"yesterday")) + header(b"a") + END, ["as time"]),
    "pax time endless": (pax((b"mtime", b"9" * 18)) + header(b"a") + END, ["seconds from 1970"]),
    "pax record too long": (
        header(b"x", type=b"x", size=octal(8)) + padded(b"99 a=bc\n") + header(b"a") + END,
        ["malformed pax record"],
    ),
    "pax record without a key": (
        header(b"x", type=b"x", size=octal(6)) + padded(b"6 =bc\n") + header(b"a") + END,
        ["malformed pax record"],
    ),
    "pax record of length 0": (
        header(b"x", type=b"x", size=octal(6)) + padded(b"0 a=b\n") + header(b"a") + END,
        ["malformed pax record"],
    ),
    "sparse beyond its size": (
        pax((b"GNU.sparse.map", b"0,5"), (b"GNU.sparse.size", b"4")) + header(b"a", size=octal(5)) + padded(b"12345"),
        ["piece 0+5 does not fit a file of 4 bytes"],
    ),
    "sparse backwards": (
        pax((b"GNU.sparse.map", b"5,1,0,1"), (b"GNU.sparse.size", b"9")) + header(b"a", size=octal(2)) + padded(b"12"),
        ["piece 0+1"],
    ),
    "sparse with less data": (
        pax((b"GNU.sparse.map", b"0,5"), (b"GNU.sparse.size", b"9")) + header(b"a", size=octal(2)) + padded(b"12"),
        ["5 bytes for 2 bytes of data"],
    ),
    "sparse with an odd map": (
        pax((b"GNU.sparse.map", b"0,5,7"), (b"GNU.sparse.size", b"9")) + header(b"a", size=octal(5)) + padded(b"12345"),
        ["odd number"],
    ),
    "sparse without a size": (pax((b"GNU.sparse.map", b"0,0")) + header(b"a") + END, ["does not fit"]),
    "sparse 1.0 with letters": (
        pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9"))
        + header(b"a", size=octal(512))
        + padded(b"one\n"),
        ["b'one' as sparse map"],
    ),
    "sparse 1.0 of a million": (
        pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9"))
        + header(b"a", size=octal(512))
        + padded(b"1000001\n"),
        ["more than 1000000 pieces"],
    ),
    "sparse 1.0 without lines": (
        pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9"))
        + header(b"a", size=octal(2048))
        + b"1" * 2048,
        ["malformed sparse map"],
    ),
    "bzip2": (b"BZh91AY&SY" + bytes(600), ["bzip2"]),
    "xz": (b"\xfd7zXZ\x00" + bytes(600), ["xz"]),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_archives_are_refused(place: Path, name: str) -> None:
    data, words = MALFORMED[name]
    refused(place, data, *words)


@pytest.mark.parametrize("seed", range(60))
def test_random_damage_is_refused_and_never_a_crash(place: Path, seed: int) -> None:
    chance = random.Random(seed)
    damaged = bytearray(GOOD)
    for _ in range(chance.choice([1, 1, 5, 50])):
        damaged[chance.randrange(len(GOOD))] = chance.randrange(256)
    if bytes(damaged) == GOOD:
        damaged[0] ^= 1
    with pytest.raises(BadImage):
        unpack_layer(chunked(bytes(damaged)), place, diff_id=digest(GOOD), shift=SHIFT)


@pytest.mark.parametrize("seed", range(20))
def test_hostile_nonsense_behind_right_checksums_never_crashes(place: Path, seed: int) -> None:
    """Headers whose every field is random but whose checksum is right: refused, or unpacked and then the wrong layer."""
    chance = random.Random(seed)
    blocks = []
    for _ in range(20):
        fields = {field: chance.randbytes(8) for field in ("mode", "uid", "gid", "major", "minor")}
        fields = {field: value for field, value in fields.items() if chance.random() < 0.3}
        kind = chance.choice([b"0", b"1", b"2", b"3", b"5", b"6", b"L", b"x", b"S", b"g"])
        size = octal(chance.choice([0, 0, 1, 512, 600]))
        blocks.append(header(chance.randbytes(9), type=kind, link=chance.randbytes(5), size=size, **fields))
        blocks.append(chance.randbytes(512))
    with pytest.raises(BadImage):
        unpack_layer(chunked(b"".join(blocks)), place, diff_id=digest(b""), shift=SHIFT)


# --- compression


@pytest.mark.parametrize(
    ("packed", "word"),
    [
        (gzipped(GOOD)[:-20], "cut short"),
        (gzipped(GOOD)[:-1], "cut short"),
        (gzipped(GOOD)[:5], "cut short"),
        (gzipped(GOOD) + b"garbage", "garbage"),
        (gzipped(GOOD)[:-8] + bytes(8), "damaged"),
        (gzipped(GOOD)[:60] + b"\xff\xff\xff\xff" + gzipped(GOOD)[64:], "damaged"),
    ],
    ids=["cut", "last byte", "header only", "garbage behind", "checksum", "middle"],
)
def test_damaged_gzip_is_refused(place: Path, packed: bytes, word: str) -> None:
    refused(place, GOOD, word, packed=packed)


def bomb_tar() -> bytes:
    return header(b"zeros", size=octal(64 << 20)) + bytes(64 << 20) + END


def test_a_bomb_is_stopped_by_its_ratio(place: Path) -> None:
    limits = Limits(ratio=100, ratio_from=8 << 20)
    refused(place, bomb_tar(), "'zeros'", "over 100 times as much", packed=gzipped(bomb_tar()), limits=limits)


def test_a_bomb_is_stopped_by_its_length(place: Path) -> None:
    refused(place, bomb_tar(), "more than 1000000 bytes", packed=gzipped(bomb_tar()), limits=Limits(stream_bytes=10**6))


def test_a_bomb_never_costs_memory() -> None:
    pieces = decompress.uncompressed(iter([gzipped(bytes(64 << 20))]), Limits())
    assert max(map(len, pieces)) <= decompress.PIECE


def test_a_bomb_of_entries_is_stopped(place: Path) -> None:
    data = tar(*(file(str(number)) for number in range(101)))
    refused(place, data, "more than 100 entries", limits=Limits(entries=100))


def test_a_file_that_claims_too_much_is_stopped(place: Path) -> None:
    records = pax((b"GNU.sparse.map", b"0,0"), (b"GNU.sparse.size", str(1 << 50).encode()))
    refused(place, records + header(b"huge") + END, "claims a size of 1125899906842624")


# --- the digest, the source, the disk


def test_another_layer_than_the_image_says_is_refused(place: Path) -> None:
    other = tar(file("other"))
    with pytest.raises(BadImage, match=f"expected {digest(other)}, got {digest(GOOD)}"):
        unpack_layer(chunked(GOOD), place, diff_id=digest(other), shift=SHIFT)


def test_an_archive_cut_between_entries_is_not_the_layer(place: Path) -> None:
    with pytest.raises(BadImage, match="not what its image says"):
        unpack_layer(chunked(GOOD[:5632]), place, diff_id=digest(GOOD), shift=SHIFT)


@pytest.mark.parametrize(
    "diff_id", ["", "sha256:", "sha512:" + "0" * 128, "sha256:" + "A" * 64, "sha256:../" + "0" * 61]
)
def test_a_malformed_diff_id_is_refused(place: Path, diff_id: str) -> None:
    with pytest.raises(BadImage, match="no diff_id"):
        unpack_layer(chunked(GOOD), place, diff_id=diff_id, shift=SHIFT)


@pytest.mark.parametrize(
    "error", [Unavailable("the location is gone"), ConnectionResetError(errno.ECONNRESET, "reset")]
)
def test_a_failing_source_is_not_blamed_on_the_layer(place: Path, error: Exception) -> None:
    def breaking() -> Iterator[bytes]:
        yield GOOD[:2000]
        raise error

    with pytest.raises(type(error)) as caught:
        unpack_layer(breaking(), place, diff_id=digest(GOOD), shift=SHIFT)
    assert caught.value is error


def test_an_existing_directory_is_left_alone(place: Path) -> None:
    place.mkdir()
    with pytest.raises(FileExistsError):
        unpacked(GOOD, place)
    place.rmdir()


def test_a_full_disk_is_named_and_freed(tmp_path: Path) -> None:
    data = tar(file("a"), file("big", bytes(4 << 20)))
    with private_mounts():
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=True)
        with pytest.raises(Exhausted) as caught:
            unpacked(data, tmp_path / "layer")
        assert os.listdir(tmp_path) == []
    for word in ("No space left", str(tmp_path), digest(data)[:19], "'big'"):
        assert word in str(caught.value)
