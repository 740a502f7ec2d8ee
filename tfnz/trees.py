"""Files and directories of this machine on their way to a container and back, directories as tar streams.

What comes back was made by a container and is not trusted: it is built aside, in a new directory; while files are written
there is no link in it, so none can be followed; and a link that is made at the end leads to a place in the tree, or is
refused. (`tarfile`'s own filters ask where links lead by walking them; here that question does not arise.)
"""

from __future__ import annotations

import os
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from tfcore.errors import BadRequest, WrongState
from tfnz.moving import Moving, Reader

PIECE = 256 << 10

Tell = Callable[[int], object]


@contextmanager
def aside(place: Path, mode: int) -> Iterator[IO[bytes]]:
    """A new file, which takes its name when the block has ended well, and is gone otherwise."""
    part = place.with_name(f".{place.name[:200]}.{secrets.token_hex(4)}.part")
    with open(part, "xb") as file:
        try:
            yield file
            os.fchmod(file.fileno(), mode & 0o777)
            part.replace(place)
        except BaseException:
            part.unlink()
            raise


# there


def send(top: Path, moving: Moving, tell: Tell) -> None:
    """Send what is in a directory.

    Args:
        top: the directory; if it is a link, what it points at.
        tell: called with the size of each file when it has been read.

    Raises:
        OSError: something cannot be read; NotADirectoryError: `top` is none. TfError: the other side takes no more.
    """
    real = top.resolve(strict=True)
    os.scandir(real).close()
    with tarfile.open(
        fileobj=cast(Any, _Writer(moving)),
        mode="w|",
        bufsize=PIECE,
        format=tarfile.PAX_FORMAT,
        errors="surrogateescape",
    ) as tar:

        def known(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
            tell(info.size)
            return info if info.isfile() or info.isdir() or info.issym() or info.islnk() else None

        tar.add(real, arcname=".", filter=known)


class _Writer:
    """What `tarfile` writes to."""

    def __init__(self, moving: Moving) -> None:
        self._moving = moving

    def write(self, data: bytes) -> int:
        return self._moving.write(bytes(data))


# and back


def vacant(place: Path) -> Path:
    """`place` if a tree can appear there.

    Raises:
        WrongState: there is something.
    """
    if place.is_dir() and not any(place.iterdir()):
        return place
    if os.path.lexists(place):
        raise WrongState(f"{place} is there and not an empty directory", hint="name one that is not there")
    return place


def receive(moving: Moving, place: Path, tell: Tell, *, skip_links_out: bool) -> None:
    """Receive a tree and let it appear at `place`, whose directory must be there.

    Raises:
        BadRequest: it has a name or a link that leads out. OSError: it cannot be written. TfError: as the other side says.
    """
    new = place.with_name(f".{place.name[:200]}.{secrets.token_hex(4)}.part")
    new.mkdir(mode=0o700)
    try:
        _unpack(Reader(moving, tell), new, skip_links_out=skip_links_out)
        moving.reply()
        new.rename(place)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _unpack(reader: Reader, top: Path, *, skip_links_out: bool) -> None:
    links: list[tuple[PurePosixPath, str]] = []
    modes = {top: 0o755}
    with tarfile.open(fileobj=cast(Any, reader), mode="r|", bufsize=PIECE, errors="surrogateescape") as tar:
        for info in tar:
            name = _inside(info.name)
            where = top / name
            where.parent.mkdir(parents=True, exist_ok=True)
            if info.isdir():
                where.mkdir(exist_ok=True)
                modes[where] = info.mode & 0o755 | 0o700
            elif info.issym():
                links.append((name, info.linkname))
            elif info.islnk():
                os.link(top / _inside(info.linkname), where, follow_symlinks=False)
            elif info.isreg():
                _write(tar, info, where)
    while reader.read(PIECE):  # what pads the archive
        pass
    for name, target in links:
        _link(top, name, target, skip=skip_links_out)
    for where, mode in modes.items():
        where.chmod(mode)


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise BadRequest(f"the container has sent a name that leads out: {name!r}")
    return path


def _write(tar: tarfile.TarFile, info: tarfile.TarInfo, where: Path) -> None:
    content = tar.extractfile(info)
    assert content is not None
    with open(where, "xb") as file:
        shutil.copyfileobj(content, file, PIECE)
        os.fchmod(file.fileno(), info.mode & 0o755 | 0o600)
    os.utime(where, (info.mtime, info.mtime))


def _link(top: Path, name: PurePosixPath, target: str, *, skip: bool) -> None:
    if _stays_inside(name, target):
        (top / name).symlink_to(target)
    elif not skip:
        raise BadRequest(
            f"the link {str(name)!r} leads out of the tree, to {target!r}", hint="skip_links_out=True leaves it away"
        )


def _stays_inside(name: PurePosixPath, target: str) -> bool:
    """True if it goes up at most to the top, and then only down: whatever it meets on its way down is real, or a link of
    which the same is true."""
    path = PurePosixPath(target)
    ups = 0
    while ups < len(path.parts) and path.parts[ups] == "..":
        ups += 1
    return not path.is_absolute() and ups < len(name.parts) and ".." not in path.parts[ups:]
