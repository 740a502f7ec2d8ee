"""The files inside a directory or a tar, behind one small seam, so that image layouts are read alike from both.

Names come from documents inside the image and are never trusted: in a tar they are keys of a table, in a directory only
plain relative paths are opened. Nothing is ever unpacked. Knows no image format.
"""

from __future__ import annotations

import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

from tfcore.errors import BadImage
from tfcore.images.chunks import chunks_of
from tfcore.images.compression import Compression, compression_of, expanded
from tfcore.images.description import DOCUMENT_SIZE
from tfnz.images.spool import spooled

MEMBERS = 100_000
"""Members an image archive may have; it needs about three per layer."""

LINKS = 8
"""Links followed from one member to the next: `docker save` writes one for a layer that occurs twice."""


class Files(Protocol):
    """Read access by name."""

    @property
    def where(self) -> Path:
        """The directory or archive, for messages."""

    def has(self, name: str) -> bool:
        """True if there is a regular file of that name."""

    def size(self, name: str) -> int:
        """Its bytes. Raises `BadImage` if there is none."""

    def open(self, name: str) -> IO[bytes]:
        """The file for reading. Raises `BadImage` if there is none."""

    def close(self) -> None:
        """Free what is held; twice is harmless."""


def read_document(files: Files, name: str) -> bytes:
    """A small file as a whole.

    Raises:
        BadImage: there is none, or it is not small.
    """
    size = files.size(name)
    if size > DOCUMENT_SIZE:
        raise BadImage(f"{files.where}: {name} claims {size} bytes; more than {DOCUMENT_SIZE} are refused")
    with files.open(name) as file:
        return file.read(DOCUMENT_SIZE)


@contextmanager
def file_chunks(files: Files, name: str) -> Iterator[Iterator[bytes]]:
    """The chunks of a file; a file that ends before its size is a `BadImage`."""
    with files.open(name) as file:
        yield _whole(file, files.size(name), f"{files.where}: {name}")


def _whole(file: IO[bytes], size: int, what: str) -> Iterator[bytes]:
    seen = 0
    try:
        for chunk in chunks_of(file):
            seen += len(chunk)
            yield chunk
    except (tarfile.TarError, EOFError) as error:
        raise BadImage(f"{what} is cut off: {error}") from error
    if seen != size:
        raise BadImage(f"{what} is cut off: {seen} of {size} bytes")


@dataclass(frozen=True, slots=True)
class DirectoryFiles:
    """Files below a directory."""

    where: Path

    def _path(self, name: str) -> Path | None:
        parts = name.split("/")
        plain = all(part not in ("", ".", "..") for part in parts) and "\0" not in name
        return self.where.joinpath(*parts) if plain else None

    def has(self, name: str) -> bool:
        path = self._path(name)
        return path is not None and path.is_file()

    def _found(self, name: str) -> Path:
        path = self._path(name)
        if path is None or not path.is_file():
            raise BadImage(f"{self.where} has no file {name!r}")
        return path

    def size(self, name: str) -> int:
        return self._found(name).stat().st_size

    def open(self, name: str) -> IO[bytes]:
        return self._found(name).open("rb")

    def close(self) -> None:
        pass


class TarFiles:
    """Members of a tar. A compressed tar is expanded first, into a file that nobody else sees."""

    def __init__(self, path: Path) -> None:
        """Open the archive and read its table of contents.

        Raises:
            BadImage: no such file, no tar, cut off, or absurdly many members.
        """
        self.where = path
        self._file = _plain_tar(path)
        try:
            self._tar, self._members = _contents(self._file, path)
        except BaseException:
            self._file.close()
            raise

    def has(self, name: str) -> bool:
        return self._find(name) is not None

    def _find(self, name: str) -> tarfile.TarInfo | None:
        member = self._members.get(_tidy(name))
        for _ in range(LINKS):
            if member is None or member.isreg():
                return member
            member = self._members.get(_target(member))
        return None

    def _found(self, name: str) -> tarfile.TarInfo:
        member = self._find(name)
        if member is None:
            raise BadImage(f"{self.where} has no file {name!r}", hint="the archive is incomplete: save the image again")
        return member

    def size(self, name: str) -> int:
        return self._found(name).size

    def open(self, name: str) -> IO[bytes]:
        return cast("IO[bytes]", self._tar.extractfile(self._found(name)))

    def close(self) -> None:
        self._tar.close()
        self._file.close()


def _tidy(name: str) -> str:
    return posixpath.normpath(name)


def _target(link: tarfile.TarInfo) -> str:
    """Where a link inside the archive leads. What it finds is looked up in the archive, so it cannot lead out."""
    if link.islnk():
        return _tidy(link.linkname)
    return _tidy(posixpath.join(posixpath.dirname(link.name), link.linkname)) if link.issym() else ""


def _contents(file: IO[bytes], path: Path) -> tuple[tarfile.TarFile, dict[str, tarfile.TarInfo]]:
    members: dict[str, tarfile.TarInfo] = {}
    end = os.fstat(file.fileno()).st_size
    try:
        tar = tarfile.TarFile(fileobj=file)
        for count, member in enumerate(tar):
            _check_member(member, count, end=end, path=path)
            members[_tidy(member.name)] = member
    except (tarfile.TarError, EOFError, OverflowError) as error:
        raise BadImage(f"{path} cannot be read as a tar: {error}", hint="it may be cut off: save it again") from error
    return tar, members


def _check_member(member: tarfile.TarInfo, count: int, *, end: int, path: Path) -> None:
    """Refuse what could make us read for ever: sizes are what the archive claims."""
    if count >= MEMBERS:
        raise BadImage(f"{path} has more than {MEMBERS} members: it is not an image archive")
    if not 0 <= member.size <= end:
        raise BadImage(f"{path}: {member.name!r} claims {member.size} bytes, in an archive of {end}")


def _plain_tar(path: Path) -> IO[bytes]:
    file = open_file(path)
    head = file.read(8)
    file.seek(0)
    if compression_of(head) is Compression.NONE:
        return file
    with file:
        return spooled(expanded(chunks_of(file), what=str(path)))


def open_file(path: Path) -> IO[bytes]:
    """A regular file for reading.

    Raises:
        BadImage: there is none, it is a directory or something else, or may not be read.
    """
    try:
        file = path.open("rb")
    except IsADirectoryError as error:
        raise BadImage(f"{path} is a directory", hint=f"an OCI layout is given as oci:{path}") from error
    except OSError as error:
        raise BadImage(f"{path} cannot be opened: {error.strerror}", hint="the path ends at its first colon") from error
    if not stat.S_ISREG(path.stat().st_mode):
        file.close()
        raise BadImage(f"{path} is not a regular file")
    return file
