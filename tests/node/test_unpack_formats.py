"""The ways an archive can say things: old and new headers, attributes, implied directories, compressions."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.archives import (
    END,
    SHIFT,
    described,
    directory,
    file,
    header,
    octal,
    padded,
    pax,
    symlink,
    tar,
    unpacked,
    with_checksum,
)
from tfcore.errors import BadImage, HostLacks
from tfnode.images import decompress
from tfnode.images.limits import Limits
from tfnode.images.xattrs import shifted_capability

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices on disk need root")


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    return tmp_path / "layer"


def one(data: bytes, layer: Path, name: bytes = b"a") -> dict[str, object]:
    """Unpack an archive and describe one of its files."""
    unpacked(data, layer)
    return described(layer, SHIFT)[name]


# --- headers


def test_headers_of_version_7(layer: Path) -> None:
    data = header(b"old/", magic=bytes(8), type=b"\0") + header(b"old/a", magic=bytes(8), type=b"\0", size=octal(5))
    data += padded(b"hello") + header(b"old/l", magic=bytes(8), type=b"1", link=b"old/a") + END
    unpacked(data, layer)
    assert (layer / "old/l").read_bytes() == b"hello"


def test_ustar_prefixes_make_long_names(layer: Path) -> None:
    unpacked(header(b"n" * 100, prefix=b"p" * 155) + END, layer)
    assert (layer / ("p" * 155) / ("n" * 100)).is_file()


def test_gnu_headers_have_no_prefix(layer: Path) -> None:
    """GNU puts other things there, times for instance."""
    unpacked(header(b"a", magic=b"ustar  \0", prefix=b"14000000000\0") + END, layer)
    assert os.listdir(layer) == ["a"]


def test_gnu_base_256_numbers(layer: Path) -> None:
    mtime = (1 << 88 | 9_999_999_999).to_bytes(12, "big")
    data = header(b"a", magic=b"ustar  \0", mtime=b"\x80" + mtime[1:], uid=b"\x80" + (65_535).to_bytes(7, "big")) + END
    facts = one(data, layer)
    assert (facts["mtime"], facts["uid"]) == (9_999_999_999 * 10**9, 65_535)


def test_times_before_1970(layer: Path) -> None:
    assert one(header(b"a", mtime=b"\xff" * 11 + b"\xfe") + END, layer)["mtime"] == -2 * 10**9


def test_signed_checksums_of_old_programs(layer: Path) -> None:
    block = bytearray(header(b"\xe9t\xe9"))
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + b" " * 8 + block[156:])
    block[148:156] = b"%06o\0 " % signed
    unpacked(bytes(block) + END, layer)
    assert os.listdir(os.fsencode(layer)) == [b"\xe9t\xe9"]


def test_numbers_may_be_padded_with_spaces_or_left_out(layer: Path) -> None:
    facts = one(header(b"a", mode=b"   755 \0", uid=b"        ", gid=bytes(8), major=b"", minor=b"") + END, layer)
    assert (facts["mode"], facts["uid"], facts["gid"]) == ("-rwxr-xr-x", 0, 0)


@pytest.mark.parametrize("kind", [b"\0", b"7"])
def test_other_names_for_regular_files(layer: Path, kind: bytes) -> None:
    unpacked(header(b"a", type=kind, size=octal(2)) + padded(b"hi") + END, layer)
    assert (layer / "a").read_bytes() == b"hi"


@pytest.mark.parametrize("kind", [b"5", b"2", b"6"])
def test_a_size_means_nothing_on_what_has_no_content(layer: Path, kind: bytes) -> None:
    unpacked(header(b"a", type=kind, link=b"x", size=octal(4096)) + header(b"b") + END, layer)
    assert sorted(os.listdir(layer)) == ["a", "b"]


@pytest.mark.parametrize("end", [b"", bytes(512), END, bytes(10_240)], ids=["none", "one block", "two", "a record"])
def test_an_archive_may_end_in_several_ways(layer: Path, end: bytes) -> None:
    unpacked(header(b"a") + end, layer)
    assert os.listdir(layer) == ["a"]


@pytest.mark.parametrize("data", [b"", END], ids=["no byte", "only the end"])
def test_an_empty_layer_is_an_empty_directory(layer: Path, data: bytes) -> None:
    assert unpacked(data, layer).entries == 0
    assert os.listdir(layer) == []


def test_pax_records_have_the_last_word(layer: Path) -> None:
    records = pax(
        (b"path", "ü/ñ".encode()), (b"uid", b"7"), (b"gid", b"8"), (b"size", b"3"), (b"mtime", b"1.0000000019")
    )
    data = records + header(b"short", size=octal(0), uid=octal(1, 8)) + padded(b"abc") + END
    facts = one(data, layer, "ü/ñ".encode())
    assert (facts["uid"], facts["gid"], facts["mtime"], facts["size"]) == (7, 8, 1_000_000_001, 3)


def test_a_pax_record_without_a_value_says_nothing(layer: Path) -> None:
    assert one(pax((b"path", b""), (b"uid", b""), (b"mtime", b"")) + header(b"a") + END, layer)["uid"] == 0


def test_pax_values_may_hold_newlines_and_equal_signs(layer: Path) -> None:
    unpacked(pax((b"path", b"a=b\nc=d")) + header(b"x") + END, layer)
    assert os.listdir(layer) == ["a=b\nc=d"]


def test_pax_records_are_for_one_entry_and_global_ones_for_none(layer: Path) -> None:
    globally = header(b"g", type=b"g", size=octal(14)) + padded(b"14 comment=ab\n")
    data = globally + pax((b"path", b"first")) + header(b"x") + header(b"second") + END
    unpacked(data, layer)
    assert sorted(os.listdir(layer)) == ["first", "second"]


def test_long_names_of_gnu(layer: Path) -> None:
    target = "t" * 150 + "/" + "f" * 200
    data = tar(file(target, b"x"), symlink("l" * 200, target), format=tarfile.GNU_FORMAT)
    unpacked(data, layer)
    assert (layer / ("l" * 200)).read_bytes() == b"x"


def test_an_old_sparse_file_may_start_with_a_hole(layer: Path) -> None:
    block = bytearray(header(b"a", type=b"S", magic=b"ustar  \0", size=octal(5)))
    block[386:410] = b"%011o\0%011o\0" % (100_000, 5)
    block[483:495] = octal(200_000)
    unpacked(with_checksum(block) + padded(b"hello") + END, layer)
    assert (layer / "a").read_bytes() == bytes(100_000) + b"hello" + bytes(99_995)


# --- directories


def test_directories_the_archive_leaves_out_are_roots_and_0755(layer: Path) -> None:
    previous = os.umask(0o077)
    try:
        unpacked(tar(file("a/b/c", mode=0o666)), layer)
    finally:
        os.umask(previous)
    tree = described(layer, SHIFT)
    for name in (b".", b"a", b"a/b"):
        assert (tree[name]["mode"], tree[name]["uid"], tree[name]["mtime"]) == ("drwxr-xr-x", 0, 0)
    assert tree[b"a/b/c"]["mode"] == "-rw-rw-rw-"


def test_directories_keep_their_times_whatever_is_put_into_them_later(layer: Path) -> None:
    data = tar(directory("d", mtime=5), file("d/a"), directory("d/e", mtime=6), file("d/e/b"), file("d/c"))
    unpacked(data, layer)
    assert (described(layer)[b"d"]["mtime"], described(layer)[b"d/e"]["mtime"]) == (5 * 10**9, 6 * 10**9)


def test_times_of_directories_that_were_replaced_go_nowhere(layer: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    os.utime(outside, (7, 7))
    members = [directory("d", mtime=5), directory("d/outside", mtime=5), symlink("d", "..")]
    unpacked(tar(*members, directory("e", mtime=5), file("e")), layer)
    assert outside.stat().st_mtime == 7
    assert (layer / "e").is_file()


def test_a_directory_listed_twice_keeps_its_content(layer: Path) -> None:
    unpacked(tar(directory("d", mode=0o700), file("d/a"), directory("d", mode=0o750, uid=3)), layer)
    facts = described(layer, SHIFT)[b"d"]
    assert (facts["mode"], facts["uid"], os.listdir(layer / "d")) == ("drwxr-x---", 3, ["a"])


def test_names_with_dots_and_slashes_are_the_same_names(layer: Path) -> None:
    unpacked(tar(directory("./"), directory("./a/"), file("./a//b"), file("a/./c")), layer)
    assert sorted(os.listdir(layer / "a")) == ["b", "c"]


def test_a_whiteout_may_have_the_longest_name(layer: Path) -> None:
    unpacked(tar(file(".wh." + "n" * 255)), layer)
    assert (layer / ("n" * 255)).is_char_device()


# --- attributes


def test_only_attributes_that_mean_something_in_a_container_are_kept(layer: Path) -> None:
    names = ["user.kept", "user.a%3Db%25", "trusted.overlay.opaque", "trusted.x", "security.selinux", "security.ima"]
    names += ["system.posix_acl_access", "user.overlay.opaque", "nonsense"]
    headers = {f"SCHILY.xattr.{name}": "v" for name in names} | {"LIBARCHIVE.xattr.user.x": "dg=="}
    unpacked(tar(file("a", pax_headers=headers), directory("d", pax_headers=headers)), layer)
    for name in ("a", "d"):
        found = [attribute for attribute in os.listxattr(layer / name) if attribute != "security.selinux"]
        assert sorted(found) == ["user.a=b%", "user.kept"]


def test_attributes_may_be_empty_or_binary(layer: Path) -> None:
    binary = bytes(range(256))
    data = pax((b"SCHILY.xattr.user.empty", b""), (b"SCHILY.xattr.user.binary", binary)) + header(b"a") + END
    assert one(data, layer)["xattrs"] == {"user.empty": b"", "user.binary": binary}


def test_attributes_of_links_and_devices_are_left_out(layer: Path) -> None:
    headers = {"SCHILY.xattr.user.x": "v", "SCHILY.xattr.security.capability": "v"}
    unpacked(tar(symlink("l", "a", pax_headers=headers)), layer)
    assert os.listxattr(layer / "l", follow_symlinks=False) in ([], ["security.selinux"])


V1 = "01000001" + "00200000" + "00100000"
V2 = "01000002" + "00200000" + "00100000" + "01000000" + "02000000"
V3 = "01000003" + "00200000" + "00100000" + "01000000" + "02000000" + "05000000"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (V1, "01000003" + "00200000" + "00100000" + "00000000" + "00000000" + "a0860100"),
        (V2, "01000003" + V2[8:] + "a0860100"),
        (V3, "01000003" + V2[8:] + "a5860100"),
        ("00" + V2[2:], "00000003" + V2[8:] + "a0860100"),
    ],
    ids=["version 1", "version 2", "version 3", "not effective"],
)
def test_capabilities_of_every_version_become_version_3(given: str, expected: str) -> None:
    assert shifted_capability(_little(given), SHIFT).hex() == _little(expected).hex()


def _little(text: str) -> bytes:
    """The first word is written as in linux/capability.h's figures, flag first and revision last."""
    data = bytes.fromhex(text)
    return data[:1] + bytes(2) + data[3:]


@pytest.mark.parametrize(
    "given", [b"", b"x", bytes(20), _little(V2)[:-1], _little(V2) + b"x", _little("01000004" + V2[8:])]
)
def test_malformed_capabilities_are_refused(given: bytes) -> None:
    with pytest.raises(BadImage, match="capabilities are malformed"):
        shifted_capability(given, SHIFT)


def test_capabilities_survive_the_change_of_owner(layer: Path) -> None:
    data = pax((b"SCHILY.xattr.security.capability", _little(V2))) + header(
        b"a", uid=octal(5, 8), mode=octal(0o4755, 8)
    )
    facts = one(data + END, layer)
    assert (facts["mode"], facts["uid"]) == ("-rwsr-xr-x", 5)
    assert facts["xattrs"] == {"security.capability": shifted_capability(_little(V2), SHIFT)}


# --- zstd

has_zstd = any(importlib.util.find_spec(name) for name in ("compression", "zstandard"))
needs_zstd = pytest.mark.skipif(
    not (has_zstd and shutil.which("zstd")),
    reason="no zstd: needs the program and Python 3.14 or the package zstandard",
)
DATA = tar(file("a", bytes(3_000_000)), file("b", os.urandom(100_000)))


def zstd(data: bytes, *options: str) -> bytes:
    return subprocess.run(["zstd", "-q", "-c", *options], input=data, check=True, capture_output=True).stdout


@needs_zstd
def test_zstd_layers_are_read(layer: Path) -> None:
    unpacked(DATA, layer, packed=zstd(DATA[:5000]) + zstd(DATA[5000:], "--long=27"), size=100)
    assert (layer / "a").read_bytes() == bytes(3_000_000)


@needs_zstd
@pytest.mark.parametrize("damage", ["cut", "garbage behind", "middle", "window"])
def test_damaged_zstd_is_refused(layer: Path, damage: str) -> None:
    whole = zstd(DATA)
    packed = {
        "cut": whole[:-10],
        "garbage behind": whole + b"garbage",
        "middle": whole[:5000] + bytes(50) + whole[5050:],
        "window": zstd(DATA, "--ultra", "--long=31", "--no-check"),
    }[damage]
    with pytest.raises(BadImage):
        unpacked(DATA, layer, packed=packed)
    assert not layer.exists()


@needs_zstd
def test_a_zstd_bomb_never_costs_memory() -> None:
    pieces = decompress.uncompressed(iter([zstd(bytes(64 << 20))]), Limits())
    assert max(map(len, pieces)) <= decompress.PIECE


def test_without_zstd_the_way_out_is_named(layer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompress, "_module", lambda name: None)
    with pytest.raises(HostLacks, match=r"layer sha256:.* zstd.*install the Python package zstandard"):
        unpacked(DATA, layer, packed=decompress.ZSTD_MAGIC + b"...")
    assert not layer.exists()
