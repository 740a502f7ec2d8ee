"""Trees of a container's files as tar archives, both ways, through its root and without a process inside.

An archive that goes out (pax) holds files, directories and links, names relative to its top; nothing is followed, and what
is the kernel's own, a socket or a device is left out. One that comes in may be hostile or damaged, as images may be: it is
read by their strict reader, names that lead out are refused, and every path is resolved within the root. Knows nothing of
the wire.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from tfcore.errors import BadImage, BadRequest, WrongState
from tfnode.containers.fileaccess import check_storage, checked_place, kernels_own, reopened, seen, told
from tfnode.containers.files import PIECE, Arriving
from tfnode.containers.filetree import DEEPEST, make_directory, make_link, remove
from tfnode.images.bytestream import ByteStream
from tfnode.images.layertree import write
from tfnode.images.limits import Limits
from tfnode.images.shift import IdShift
from tfnode.images.tarheaders import BLOCK, Entry, Kind
from tfnode.images.tarreader import read_tar


@dataclass
class Count:
    """What has gone by so far: entries, and bytes of files."""

    entries: int = 0
    size: int = 0


# out


def archive(root: int, path: str, *, ids: IdShift, count: Count) -> Iterator[bytes]:
    """A directory as a tar archive, in pieces that are neither tiny nor large; to be read to the end or closed.

    Args:
        root: descriptor of the container's root directory; stays the caller's until the last piece.
        path: absolute, as seen in the container; a link is followed.
        ids: the container's ids on disk; the archive has those inside.
        count: is kept up.

    Raises:
        NotFound: there is nothing. BadRequest: it is no directory. WrongState: it is the kernel's, nests too deep, or a file
            was cut short while it was being read.
    """
    checked_place(path)
    with told(path), seen(root, path) as fd:
        check_storage(path, fd)
        top = reopened(fd, os.O_RDONLY | os.O_DIRECTORY)
    return _gathered(path, _Outgoing(path, ids, count).walk(top))


def _gathered(path: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    gathered = bytearray()
    with told(path):
        for piece in pieces:
            gathered += piece
            if len(gathered) >= PIECE:
                yield bytes(gathered)
                gathered.clear()
    yield bytes(gathered)


@dataclass
class _Outgoing:
    path: str
    ids: IdShift
    count: Count
    seen_before: dict[tuple[int, int], str] = field(default_factory=dict)

    def walk(self, top: int) -> Iterator[bytes]:
        """Depth first, by an explicit stack of open directories, their names in the archive, and what is left in them."""
        stack = [(top, "", sorted(os.listdir(top), reverse=True))]
        try:
            yield self._header(".", os.fstat(top))
            while stack:
                here, prefix, left = stack[-1]
                if not left:
                    os.close(stack.pop()[0])
                    continue
                name = left.pop()
                with suppress(FileNotFoundError):  # gone since the directory was read
                    below = yield from self._entry(here, name, prefix + name)
                    if below is not None:
                        stack.append((below, f"{prefix}{name}/", sorted(os.listdir(below), reverse=True)))
                if len(stack) > DEEPEST:
                    raise WrongState(
                        f"{self.path!r} nests more than {DEEPEST} directories", hint="run tar in the container"
                    )
            yield bytes(2 * BLOCK)
        finally:
            for fd, _, _ in stack:
                os.close(fd)

    def _entry(self, directory: int, name: str, path: str) -> Generator[bytes, None, int | None]:
        """Its header and content; if it is a directory, that is returned, opened."""
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            status = os.fstat(fd)
            if kernels_own(fd) is not None:
                return None
            if stat.S_ISLNK(status.st_mode):
                yield self._header(path, status, kind=tarfile.SYMTYPE, link=os.readlink("", dir_fd=fd))
            elif stat.S_ISDIR(status.st_mode):
                yield self._header(path, status)
                return reopened(fd, os.O_RDONLY | os.O_DIRECTORY)
            elif stat.S_ISREG(status.st_mode):
                yield from self._file(fd, status, path)
            return None
        finally:
            os.close(fd)

    def _file(self, fd: int, status: os.stat_result, path: str) -> Iterator[bytes]:
        former = self.seen_before.setdefault((status.st_dev, status.st_ino), path) if status.st_nlink > 1 else path
        if former != path:
            yield self._header(path, status, kind=tarfile.LNKTYPE, link=former)
            return
        reading = reopened(fd, os.O_RDONLY)
        try:
            yield self._header(path, status, kind=tarfile.REGTYPE, size=status.st_size)
            left = status.st_size
            while left:
                piece = os.read(reading, min(left, PIECE))
                if not piece:
                    raise WrongState(f"{path!r} was cut short while it was being read", retryable=True)
                left -= len(piece)
                self.count.size += len(piece)
                yield piece
        finally:
            os.close(reading)
        yield bytes(-status.st_size % BLOCK)

    def _header(
        self, path: str, status: os.stat_result, *, kind: bytes = tarfile.DIRTYPE, size: int = 0, link: str = ""
    ) -> bytes:
        self.count.entries += 1
        info = tarfile.TarInfo(path)
        info.type, info.size, info.linkname = kind, size, link
        info.mode = stat.S_IMODE(status.st_mode)
        info.uid, info.gid = self.ids.inside(status)
        info.mtime = status.st_mtime
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


# in


def unpack(root: int, path: str, chunks: Iterator[bytes], *, ids: IdShift, owners: bool, count: Count) -> None:
    """Unpack a tar archive into a directory, which is made. What is there stays, unless the archive has something else by
    its name; directories that are there keep mode and owner. Each file appears as a whole.

    Args:
        root: descriptor of the container's root directory; stays the caller's.
        path: absolute, as seen in the container; links on the way are followed within it.
        chunks: the archive.
        ids: the container's ids on disk.
        owners: the archive's owners, instead of the container's root for all.
        count: is kept up.

    Raises:
        BadRequest: not a path; the archive is damaged, or holds a name that leads out or a device. WrongState, Exhausted: as
            `Arriving`. Exception: whatever `chunks` raises. What was unpacked before stays.
    """
    incoming = _Incoming(root, checked_place(path).rstrip("/"), ids, owners, count)
    try:
        stream = ByteStream(chunks)
        for entry in read_tar(stream, Limits()):
            incoming.place(entry, stream.pieces(entry.stored))
    except BadImage as damaged:
        raise BadRequest(f"the archive {damaged.message}") from damaged


@dataclass
class _Incoming:
    root: int
    top: str
    ids: IdShift
    owners: bool
    count: Count

    def place(self, entry: Entry, content: Iterable[memoryview]) -> None:
        """Make what an entry says."""
        path = self._inside(entry.name)
        uid, gid = (entry.uid, entry.gid) if self.owners else (0, 0)
        match entry.kind:
            case Kind.DIRECTORY:
                make_directory(self.root, path, parents=True, mode=entry.mode, uid=uid, gid=gid, ids=self.ids)
            case Kind.FILE:
                self._file(path, entry, content, uid, gid)
            case Kind.SYMLINK:
                self._link(path, os.fsdecode(entry.link), uid, gid, hard=False)
            case Kind.HARDLINK:
                self._link(path, self._inside(entry.link), uid, gid, hard=True)
            case _:
                raise BadRequest(f"the archive holds a {entry.kind.value}: {os.fsdecode(entry.name)!r}")
        self.count.entries += 1

    def _inside(self, name: bytes) -> str:
        """The path in the container of a name in the archive."""
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if name.startswith(b"/") or b".." in parts or b"\0" in name:
            raise BadRequest(f"the archive holds a name that leads out of it: {os.fsdecode(name)!r}")
        return "/".join((self.top, *map(os.fsdecode, parts))) or "/"

    def _file(self, path: str, entry: Entry, content: Iterable[memoryview], uid: int, gid: int) -> None:
        with Arriving(self.root, path, ids=self.ids, mode=entry.mode, uid=uid, gid=gid) as arriving:
            with told(path):
                write(arriving.fd, entry, content)
            arriving.finish(modified=entry.mtime)
        self.count.size += entry.size

    def _link(self, path: str, target: str, uid: int, gid: int, *, hard: bool) -> None:
        """In place of a file or link that is there."""
        make_directory(self.root, os.path.dirname(path) or "/", parents=True, mode=0o755, uid=0, gid=0, ids=self.ids)
        try:
            make_link(self.root, path, target, hard=hard, uid=uid, gid=gid, ids=self.ids)
        except WrongState:
            if hard and path == target:
                return
            remove(self.root, path, "file")
            make_link(self.root, path, target, hard=hard, uid=uid, gid=gid, ids=self.ids)
