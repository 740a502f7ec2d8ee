"""Files in containers beyond whole ones: looked at, listed, changed, opened at any place, and trees of them as tar streams.

Paths and names are bytes, as the kernel has them: a container's files need not be named in UTF-8. (Whole files, `PutFile`
and `FetchFile`, are in `wire.containers`.)
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from tfcore.wire.message import Done, Message, Reply, Request
from tfcore.wire.values import Bytes

Place = Annotated[bytes, Meta(min_length=1, max_length=4096)]
"""A path inside a container."""

FileName = Annotated[bytes, Meta(min_length=1, max_length=255)]
Mode = Annotated[int, Meta(ge=0, le=0o7777)]
Id = Annotated[int, Meta(ge=0, lt=1 << 32)]
"""A user or group as the container numbers it."""

PieceSize = Annotated[int, Meta(ge=0, le=1 << 20)]
PieceOfFile = Annotated[bytes, Meta(max_length=1 << 20)]

Offset = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
"""Into a file, in bytes: what the kernel's off_t holds."""

Time = Annotated[int, Meta(ge=-(1 << 62), le=1 << 62)]
"""Nanoseconds since 1970."""

FileKind = Literal["file", "directory", "link", "fifo", "socket", "device"]


class FileStatus(Struct, frozen=True, kw_only=True):
    """What stat(2) tells, ids as inside the container, times in nanoseconds since 1970.

    Attributes:
        target: of a link: where it points, as it is written there.
    """

    kind: FileKind
    mode: int
    uid: int
    gid: int
    size: Bytes
    links: int
    accessed: int
    modified: int
    target: bytes = b""


class DirectoryEntry(Struct, frozen=True, kw_only=True):
    """A name in a directory and what it stands for; links are not followed."""

    name: FileName
    status: FileStatus


class DirectoryListed(Reply, frozen=True, kw_only=True, tag="container.directory-listed"):
    """Entries in the order of their names; `more` come after the last of these."""

    entries: tuple[DirectoryEntry, ...]
    more: bool = False


class ListDirectory(Request[DirectoryListed], frozen=True, kw_only=True, tag="container.list-directory"):
    """What is in a directory, of the names that come after `after`."""

    path: Place
    after: bytes = b""


class FileSeen(Reply, frozen=True, kw_only=True, tag="container.file-seen"):
    """What is there. `real` is its path without links on the way (and, if they were followed, at its end)."""

    status: FileStatus
    real: Place


class AskFile(Request[FileSeen], frozen=True, kw_only=True, tag="container.ask-file"):
    """What is at this path? With `follow` a link stands for what it points at."""

    path: Place
    follow: bool = True


class Changes(Struct, frozen=True, kw_only=True):
    """What to change of a file; None leaves it."""

    mode: Mode | None = None
    uid: Id | None = None
    gid: Id | None = None
    size: Offset | None = None
    accessed: Time | None = None
    modified: Time | None = None


class ChangeFile(Request[Done], frozen=True, kw_only=True, tag="container.change-file"):
    """Change mode, owner, size or times."""

    path: Place
    changes: Changes
    follow: bool = True


class RenameFile(Request[Done], frozen=True, kw_only=True, tag="container.rename-file"):
    """Give a file or directory another path. What has that path already goes, if `replace`."""

    path: Place
    to: Place
    replace: bool = True


class RemoveFile(Request[Done], frozen=True, kw_only=True, tag="container.remove-file"):
    """Remove a file or link, an empty directory, or whatever is there with all that is in it."""

    path: Place
    kind: Literal["file", "directory", "tree"] = "file"


class MakeDirectory(Request[Done], frozen=True, kw_only=True, tag="container.make-directory"):
    """Make a directory; with `parents` also those missing on the way, and it may be there already."""

    path: Place
    parents: bool = False
    mode: Mode = 0o755
    uid: Id = 0
    gid: Id = 0


class MakeLink(Request[Done], frozen=True, kw_only=True, tag="container.make-link"):
    """Make a symbolic link that points at `target` as written, or another name (`hard`) for the file `target`."""

    path: Place
    target: Place
    hard: bool = False
    uid: Id = 0
    gid: Id = 0


# one file, open


class OpenFile(Request[Done], frozen=True, kw_only=True, tag="container.open-file"):
    """Open a file and keep it open until channel 0 ends; it is the same file whatever is renamed meanwhile.

    Channel 0 carries operations, channel 1 their outcomes in the same order, each as four bytes of length (big-endian) and
    a body; the first outcome is that of opening. Answered when it has been closed, or could not be opened. With the
    container's generation the file is gone and the request fails.

    Attributes:
        append: each write goes to the end, wherever it is meant for.
        create: make it, with `mode`, `uid` and `gid`, if it is not there.
        exclusive: with `create`: it must not be there.
        truncate: to nothing.
    """

    path: Place
    read: bool = True
    write: bool = False
    append: bool = False
    create: bool = False
    exclusive: bool = False
    truncate: bool = False
    mode: Mode = 0o644
    uid: Id = 0
    gid: Id = 0


class ReadAt(Message, frozen=True, kw_only=True, tag="file.read-at"):
    """Read at most `size` bytes at `offset`: `FilePiece`, less than asked for only at the end of the file."""

    offset: Offset
    size: PieceSize


class WriteAt(Message, frozen=True, kw_only=True, tag="file.write-at"):
    """Write all of `data` at `offset`: `FileDone`."""

    offset: Offset
    data: PieceOfFile


class ChangeOpen(Message, frozen=True, kw_only=True, tag="file.change"):
    """As `ChangeFile`: `FileDone`."""

    changes: Changes


class AskOpen(Message, frozen=True, kw_only=True, tag="file.ask"):
    """How is it now: `FileDone` with its status."""


class SyncOpen(Message, frozen=True, kw_only=True, tag="file.sync"):
    """Have it on the disk: `FileDone`."""


class FilePiece(Message, frozen=True, kw_only=True, tag="file.piece"):
    """What was read."""

    data: PieceOfFile


class FileDone(Message, frozen=True, kw_only=True, tag="file.done"):
    """It has been done; `status` only where it was asked for, and at opening."""

    status: FileStatus | None = None


FileOperation = ReadAt | WriteAt | ChangeOpen | AskOpen | SyncOpen


# trees


class TreeMoved(Reply, frozen=True, kw_only=True, tag="container.tree-moved"):
    """All of a tree has arrived: how many entries, and bytes of files."""

    entries: int
    size: Bytes


class PutTree(Request[TreeMoved], frozen=True, kw_only=True, tag="container.put-tree"):
    """A tar archive (ustar, pax or GNU) follows on channel 0 and is unpacked into the directory `path`, which is made.

    What is there stays, unless the archive has something else by its name; each file appears as a whole.

    Attributes:
        owners: the archive's owners, instead of root for all.
    """

    path: Place
    owners: bool = False


class FetchTree(Request[TreeMoved], frozen=True, kw_only=True, tag="container.fetch-tree"):
    """Send what is in a directory as a tar archive (pax) on channel 1, names relative to it. Sockets and what is mounted in
    it of the kernel's own are left out; nothing is followed."""

    path: Place
