"""Layers made by hand for tests: good ones with the standard library, bad ones header by header; and trees described.

blob = tar(file("etc/motd", b"hello"), directory("tmp", mode=0o1777))
blob = raw(header(b"x", size=-1), end=False)
described(path)       # everything about a tree that a layer must preserve
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tfnode.images.shift import IdShift
from tfnode.images.unpack import Unpacked, unpack_layer

SHIFT = IdShift(uid_base=100_000, gid_base=200_000)
END = bytes(1024)
Member = tuple[tarfile.TarInfo, bytes]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def chunked(data: bytes, size: int = 4096) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def unpacked(data: bytes, into: Path, *, packed: bytes | None = None, size: int = 4096, **options: object) -> Unpacked:
    """Unpack the archive `data`, or its compressed form `packed`, with the right diff_id."""
    chunks = chunked(data if packed is None else packed, size)
    return unpack_layer(chunks, into, **{"diff_id": digest(data), "shift": SHIFT, **options})  # type: ignore[arg-type]


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def member(name: str, content: bytes = b"", **fields: object) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def file(name: str, content: bytes = b"", **fields: object) -> Member:
    return member(name, content, **{"mode": 0o644, **fields})


def directory(name: str, **fields: object) -> Member:
    return member(name, type=tarfile.DIRTYPE, **{"mode": 0o755, **fields})


def symlink(name: str, target: str, **fields: object) -> Member:
    return member(name, type=tarfile.SYMTYPE, linkname=target, **{"mode": 0o777, **fields})


def hardlink(name: str, target: str) -> Member:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def device(name: str, major: int, minor: int, **fields: object) -> Member:
    return member(name, **{"type": tarfile.CHRTYPE, "devmajor": major, "devminor": minor, **fields})


def fifo(name: str, **fields: object) -> Member:
    return member(name, type=tarfile.FIFOTYPE, **fields)


def tar(*members: Member, format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format, errors="surrogateescape") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@dataclass(frozen=True)
class Fields:
    """A header block's fields as they stand in it."""

    mode: bytes = b"0000644\0"
    uid: bytes = b"0000000\0"
    gid: bytes = b"0000000\0"
    size: bytes = b"00000000000\0"
    mtime: bytes = b"00000000000\0"
    type: bytes = b"0"
    link: bytes = b""
    magic: bytes = b"ustar\00000"
    major: bytes = b"0000000\0"
    minor: bytes = b"0000000\0"
    prefix: bytes = b""


def header(name: bytes, **fields: bytes) -> bytes:
    """A header block with any field as given, and the right checksum."""
    given = replace(Fields(), **fields)
    front = name.ljust(100, b"\0") + given.mode + given.uid + given.gid + given.size + given.mtime
    back = given.type + given.link.ljust(100, b"\0") + given.magic + bytes(64) + given.major + given.minor
    block = bytearray((front + b" " * 8 + back + given.prefix).ljust(512, b"\0"))
    return with_checksum(block)


def with_checksum(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def octal(value: int, width: int = 12) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(*records: tuple[bytes, bytes]) -> bytes:
    """A pax header and its records, as they stand in front of the header they belong to."""
    data = b"".join(_record(key, value) for key, value in records)
    return header(b"PaxHeaders/x", type=b"x", size=octal(len(data))) + padded(data)


def _record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    while len(text := b"%d %s=%s\n" % (length, key, value)) != length:
        length = len(text)
    return text


Described = dict[bytes, dict[str, object]]


def described(root: Path, shift: IdShift | None = None) -> Described:
    """Every path below `root` with all a layer must preserve; ids as inside the container if `shift` is given."""
    tree: Described = {}
    inodes: dict[tuple[int, int], bytes] = {}
    for path in _walk(os.fsencode(root)):
        name = os.path.relpath(path, os.fsencode(root))
        status = os.lstat(path)
        first = inodes.setdefault((status.st_dev, status.st_ino), name)
        tree[name] = _one(path, status, shift or IdShift(0, 0)) | {"same as": first}
    return tree


def _walk(path: bytes) -> Iterator[bytes]:
    yield path
    if stat.S_ISDIR(os.lstat(path).st_mode):
        for name in sorted(os.listdir(path)):
            yield from _walk(os.path.join(path, name))


def _one(path: bytes, status: os.stat_result, shift: IdShift) -> dict[str, object]:
    facts: dict[str, object] = {
        "mode": stat.filemode(status.st_mode),
        "uid": status.st_uid - shift.uid_base,
        "gid": status.st_gid - shift.gid_base,
        "mtime": status.st_mtime_ns,
        "xattrs": {name: os.getxattr(path, name, follow_symlinks=False) for name in _xattr_names(path)},
    }
    if stat.S_ISREG(status.st_mode):
        facts |= {"content": _content(path), "size": status.st_size}
    elif stat.S_ISLNK(status.st_mode):
        facts["target"] = os.readlink(path)
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        facts["device"] = (os.major(status.st_rdev), os.minor(status.st_rdev))
    return facts


def _xattr_names(path: bytes) -> list[str]:
    return [name for name in os.listxattr(path, follow_symlinks=False) if name != "security.selinux"]


def _content(path: bytes) -> str:
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def extents(path: Path) -> list[tuple[int, int]]:
    """Where the file has data, as (start, end), to the file system's block."""
    found, offset = [], 0
    with open(path, "rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        while offset < size:
            try:
                start = os.lseek(opened.fileno(), offset, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left
                break
            offset = os.lseek(opened.fileno(), start, os.SEEK_HOLE)
            found.append((start, offset))
    return found
