"""Unpack one image layer into a new directory, in overlayfs's form, owned by a container's shifted ids.

The layer's digest is checked on the way, a hostile or damaged archive is refused with its entry named, and after any failure
nothing is left. Knows nothing of manifests and of where layers are kept.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath

from tfcore.errors import BadImage, BadRequest, Exhausted, HostLacks
from tfcore.undo import Undo
from tfnode.images.bytestream import ByteStream
from tfnode.images.decompress import uncompressed
from tfnode.images.disk import full_disk, full_disk_named, is_full
from tfnode.images.layertree import LayerTree
from tfnode.images.limits import Limits
from tfnode.images.names import OPAQUE, WHITEOUT, WHITEOUT_META, Path, hidden_by, shown, split
from tfnode.images.remove import remove
from tfnode.images.shift import IdShift
from tfnode.images.tarheaders import Entry, Kind
from tfnode.images.tarreader import read_tar

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_WAYS_OUT = {
    errno.EPERM: "unpacking needs root",
    errno.EOPNOTSUPP: "the file system must support extended attributes, as ext4, xfs and btrfs do",
}
ON_DISK_UNIT = 4096
"""What a file takes at least on the usual file systems."""


@dataclass(frozen=True)
class Unpacked:
    """What a layer came to.

    Args:
        entries: how many entries it has.
        disk_bytes: about what it takes on disk.
    """

    entries: int
    disk_bytes: int


def checked_diff_id(diff_id: str) -> str:
    """`diff_id` if it is a sha256 digest, the only kind in use.

    Raises:
        BadImage: it is not.
    """
    if not _DIGEST.fullmatch(diff_id):
        raise BadImage(f"{diff_id!r} is no diff_id: sha256: and 64 hexadecimal digits are")
    return diff_id


def unpack_layer(
    chunks: Iterable[bytes], into: FilePath, *, diff_id: str, shift: IdShift, limits: Limits | None = None
) -> Unpacked:
    """Unpack a layer; needs root.

    Args:
        chunks: the layer's blob: a tar archive, plain or compressed with gzip or zstd, in pieces of any size.
        into: the directory to make; its parent exists.
        diff_id: sha256 of the uncompressed archive, as the image's config states it.
        shift: the ids on disk.
        limits: how much it may unpack to.

    Raises:
        BadImage: hostile, damaged or not what `diff_id` says; names the layer, the entry and the cause.
        Exhausted: the disk is full.
        HostLacks: this machine cannot store or read the layer; names what is missing.
        FileExistsError: `into` exists.
        Exception: whatever `chunks` raises. After any error `into` does not exist.
    """
    checked_diff_id(diff_id)
    with full_disk_named(into.parent):
        into.mkdir(mode=0o700)
    with Undo() as undo:
        undo.push(remove, into)
        unpacked = _Unpacking(chunks, into, diff_id, shift, limits or Limits()).run()
        undo.done()
    return unpacked


class _Unpacking:
    """One layer on its way to disk; knows where it is, so that errors can say so."""

    def __init__(self, chunks: Iterable[bytes], into: FilePath, diff_id: str, shift: IdShift, limits: Limits) -> None:
        self._into = into
        self._diff_id = diff_id
        self._shift = shift
        self._limits = limits
        self._digest = hashlib.sha256()
        self._source = _Source(chunks)
        self._stream = ByteStream(self._hashed())
        self._entry: Entry | None = None
        self._entries = 0
        self._disk_bytes = 0

    def run(self) -> Unpacked:
        try:
            with LayerTree(self._into, self._shift) as tree:
                for entry in read_tar(self._stream, self._limits):
                    self._entry = entry
                    self._place(tree, entry)
                    self._count(entry)
                self._entry = None
                tree.set_times()
            self._check_digest()
        except BadRequest as error:
            raise BadImage(f"{self._where()}: {error.message}", hint=error.hint) from error
        except HostLacks as error:
            raise HostLacks(f"{self._where()}: {error.message}", hint=error.hint) from error
        except OSError as error:
            if error is self._source.failure:
                raise
            raise self._disk_error(error) from error
        return Unpacked(entries=self._entries, disk_bytes=self._disk_bytes)

    def _hashed(self) -> Iterator[bytes]:
        for piece in uncompressed(self._source, self._limits):
            self._digest.update(piece)
            yield piece

    def _place(self, tree: LayerTree, entry: Entry) -> None:
        path = split(entry.name)
        if any(part.startswith(WHITEOUT_META) and part != OPAQUE for part in path):
            return
        if path and path[-1].startswith(WHITEOUT):
            _place_whiteout(tree, path)
        else:
            self._place_thing(tree, path, entry)

    def _place_thing(self, tree: LayerTree, path: Path, entry: Entry) -> None:
        match entry.kind:
            case Kind.FILE:
                tree.file(path, entry, self._stream.pieces(entry.stored))
            case Kind.DIRECTORY:
                tree.directory(path, entry)
            case Kind.SYMLINK:
                tree.symlink(path, entry)
            case Kind.HARDLINK:
                tree.hardlink(path, split(entry.link, what="target"))
            case _:
                tree.node(path, entry)

    def _count(self, entry: Entry) -> None:
        self._entries += 1
        if entry.kind is not Kind.HARDLINK:
            self._disk_bytes += ON_DISK_UNIT * max(1, -(-entry.stored // ON_DISK_UNIT))

    def _check_digest(self) -> None:
        if (found := f"sha256:{self._digest.hexdigest()}") != self._diff_id:
            raise BadImage(f"is not what its image says: expected {self._diff_id}, got {found}")

    def _where(self) -> str:
        layer = f"layer {self._diff_id[:19]}…"
        return f"{layer}, entry '{shown(self._entry.name)}'" if self._entry else layer

    def _disk_error(self, error: OSError) -> Exhausted | HostLacks:
        if is_full(error):
            return full_disk(error, f"in {self._into.parent}: {self._where()}")
        why = f"cannot be stored in {self._into.parent}: {error.strerror or error}"
        return HostLacks(f"{self._where()}: {why}", hint=_WAYS_OUT.get(error.errno or 0, ""))


def _place_whiteout(tree: LayerTree, path: Path) -> None:
    if path[-1] == OPAQUE:
        tree.opaque(path[:-1])
    else:
        tree.whiteout((*path[:-1], hidden_by(path[-1])))


class _Source:
    """The blob's chunks; remembers that it failed, since a broken connection is an OSError as a full disk is."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.failure: OSError | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except OSError as error:
            self.failure = error
            raise
