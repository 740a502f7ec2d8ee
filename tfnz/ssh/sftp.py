"""Files over sftp: what a client asks of them is asked of the container's node. Nothing of this machine is ever touched.

A path that is not absolute counts from the login's home. Permissions are not enforced: whoever is let in owns the container.
What is made belongs to whom one has logged in as.
"""

from __future__ import annotations

import posixpath
import stat
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any, TypeVar

import asyncssh
from asyncssh import constants

from tfcore.errors import Exhausted, NotFound, Refused, TfError, Unavailable
from tfcore.wire import files as wire
from tfnz.filing import OpenedFile
from tfnz.ssh.bridge import Bridge
from tfnz.ssh.logins import Login

T = TypeVar("T")
SECOND = 1_000_000_000

_FORMATS: dict[str, int] = {
    "file": stat.S_IFREG,
    "directory": stat.S_IFDIR,
    "link": stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
    "device": stat.S_IFCHR,
}
_TYPES: dict[str, int] = {
    "file": constants.FILEXFER_TYPE_REGULAR,
    "directory": constants.FILEXFER_TYPE_DIRECTORY,
    "link": constants.FILEXFER_TYPE_SYMLINK,
    "fifo": constants.FILEXFER_TYPE_FIFO,
    "socket": constants.FILEXFER_TYPE_SOCKET,
    "device": constants.FILEXFER_TYPE_CHAR_DEVICE,
}


class ContainerFiles(asyncssh.SFTPServer):
    """The files of one container for one client. Every method of the base class that would touch a file system is replaced;
    a test says so."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], bridge: Bridge, login: Login, home: str) -> None:
        super().__init__(channel)
        self._bridge = bridge
        self._login = login
        self._home = home.encode()

    def _path(self, path: bytes) -> bytes:
        """Absolute and without `..`."""
        return b"/" + posixpath.normpath(posixpath.join(self._home, path)).lstrip(b"/")

    async def _do(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await self._bridge.ask(work)
        except TfError as error:
            raise as_sftp(error) from error

    def _ask(self, request: Any) -> Awaitable[Any]:
        return self._do(self._bridge.filing.ask(request))

    def exit(self) -> None:
        """The client is done: scp takes the lack of an exit status for a failure."""
        self.channel.exit(0)

    # open files

    async def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        """Open a file (sftp version 3)."""
        write = bool(pflags & (asyncssh.FXF_WRITE | asyncssh.FXF_APPEND))
        request = wire.OpenFile(
            path=self._path(path),
            read=bool(pflags & asyncssh.FXF_READ),
            write=write,
            append=bool(pflags & asyncssh.FXF_APPEND),
            create=write and bool(pflags & asyncssh.FXF_CREAT),
            exclusive=bool(pflags & asyncssh.FXF_EXCL),
            truncate=write and bool(pflags & asyncssh.FXF_TRUNC),
            mode=0o644 if attrs.permissions is None else attrs.permissions & 0o7777,
            uid=self._login.uid,
            gid=self._login.gid,
        )
        return await self._do(self._bridge.filing.open(request))

    def open56(self, path: bytes, desired_access: int, flags: int, attrs: asyncssh.SFTPAttrs) -> object:
        """Versions 5 and 6 are not spoken."""
        raise asyncssh.SFTPOpUnsupported("sftp version 3 is spoken here")

    async def close(self, file_obj: object) -> None:
        """Close a file."""
        await self._do(_opened(file_obj).close())

    async def read(self, file_obj: object, offset: int, size: int) -> bytes:
        """Read a piece."""
        return await self._do(_opened(file_obj).read(offset, size))

    async def write(self, file_obj: object, offset: int, data: bytes) -> int:
        """Write a piece."""
        await self._do(_opened(file_obj).write(offset, data))
        return len(data)

    async def fstat(self, file_obj: object) -> asyncssh.SFTPAttrs:
        """How an open file is."""
        return attrs_of(await self._do(_opened(file_obj).status()))

    async def fsetstat(self, file_obj: object, attrs: asyncssh.SFTPAttrs) -> None:
        """Change an open file."""
        await self._do(_opened(file_obj).change(changes_of(attrs)))

    async def fsync(self, file_obj: object) -> None:
        """Have an open file on the disk."""
        await self._do(_opened(file_obj).sync())

    # what is there

    async def stat(self, path: bytes) -> asyncssh.SFTPAttrs:
        """What is at a path, links followed."""
        return attrs_of((await self._do(self._bridge.filing.look(self._path(path)))).status)

    async def lstat(self, path: bytes) -> asyncssh.SFTPAttrs:
        """What is at a path."""
        return attrs_of((await self._do(self._bridge.filing.look(self._path(path), follow=False))).status)

    async def realpath(self, path: bytes) -> bytes:
        """A path without links; one that leads to nothing is only made absolute."""
        wanted = self._path(path)
        try:
            return (await self._do(self._bridge.filing.look(wanted))).real
        except asyncssh.SFTPNoSuchFile:
            return wanted

    async def readlink(self, path: bytes) -> bytes:
        """What a link points at, as it is written there."""
        seen = await self._do(self._bridge.filing.look(self._path(path), follow=False))
        if seen.status.kind != "link":
            raise asyncssh.SFTPInvalidParameter("this is no link")
        return seen.status.target

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        """What is in a directory."""
        wanted = self._path(path)
        entries = await self._do(self._bridge.filing.entries(wanted))
        for name in (b".", b".."):
            yield asyncssh.SFTPName(name, attrs=await self.stat(posixpath.join(wanted, name)))
        for entry in entries:
            yield asyncssh.SFTPName(entry.name, attrs=attrs_of(entry.status))

    # changes

    async def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """Change mode, owner, size or times, links followed."""
        await self._ask(wire.ChangeFile(path=self._path(path), changes=changes_of(attrs)))

    async def lsetstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """Likewise of a link itself."""
        await self._ask(wire.ChangeFile(path=self._path(path), changes=changes_of(attrs), follow=False))

    async def remove(self, path: bytes) -> None:
        """Remove a file."""
        await self._ask(wire.RemoveFile(path=self._path(path)))

    async def rmdir(self, path: bytes) -> None:
        """Remove an empty directory."""
        await self._ask(wire.RemoveFile(path=self._path(path), kind="directory"))

    async def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """Make a directory."""
        mode = 0o755 if attrs.permissions is None else attrs.permissions & 0o7777
        request = wire.MakeDirectory(path=self._path(path), mode=mode, uid=self._login.uid, gid=self._login.gid)
        await self._ask(request)

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Rename, if there is nothing of that name."""
        await self._ask(wire.RenameFile(path=self._path(oldpath), to=self._path(newpath), replace=False))

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Rename as rename(2)."""
        await self._ask(wire.RenameFile(path=self._path(oldpath), to=self._path(newpath)))

    async def symlink(self, oldpath: bytes, newpath: bytes) -> None:
        """Make a link at `newpath`."""
        request = wire.MakeLink(path=self._path(newpath), target=oldpath, uid=self._login.uid, gid=self._login.gid)
        await self._ask(request)

    async def link(self, oldpath: bytes, newpath: bytes) -> None:
        """Give a file another name."""
        await self._ask(wire.MakeLink(path=self._path(newpath), target=self._path(oldpath), hard=True))

    # what is not to be had

    def statvfs(self, path: bytes) -> Any:
        """How full the disk is, is the node's affair."""
        raise asyncssh.SFTPOpUnsupported("ask with df in the container")

    def fstatvfs(self, file_obj: object) -> Any:
        """Likewise."""
        raise asyncssh.SFTPOpUnsupported("ask with df in the container")

    def format_user(self, uid: int | None) -> str:
        """Numbers: this machine's names are not the container's."""
        return "" if uid is None else str(uid)

    def format_group(self, gid: int | None) -> str:
        """Likewise."""
        return "" if gid is None else str(gid)


def _opened(file: object) -> OpenedFile:
    assert isinstance(file, OpenedFile)
    return file


def as_sftp(error: TfError) -> asyncssh.SFTPError:
    """What a client is told."""
    words = str(error)
    match error:
        case NotFound():
            return asyncssh.SFTPNoSuchFile(words)
        case Refused():
            return asyncssh.SFTPPermissionDenied(words)
        case Exhausted():
            return asyncssh.SFTPNoSpaceOnFilesystem(words)
        case Unavailable():
            return asyncssh.SFTPConnectionLost(words)
    return asyncssh.SFTPFailure(words)


def attrs_of(status: wire.FileStatus) -> asyncssh.SFTPAttrs:
    """A file's status as sftp has it."""
    return asyncssh.SFTPAttrs(
        type=_TYPES[status.kind],
        size=status.size,
        uid=status.uid,
        gid=status.gid,
        permissions=_FORMATS[status.kind] | status.mode,
        atime=status.accessed // SECOND,
        atime_ns=status.accessed % SECOND,
        mtime=status.modified // SECOND,
        mtime_ns=status.modified % SECOND,
        nlink=status.links,
    )


def changes_of(attrs: asyncssh.SFTPAttrs) -> wire.Changes:
    """What a client wants to be changed."""
    return wire.Changes(
        mode=None if attrs.permissions is None else attrs.permissions & 0o7777,
        uid=attrs.uid,
        gid=attrs.gid,
        size=attrs.size,
        accessed=_nanoseconds(attrs.atime, attrs.atime_ns),
        modified=_nanoseconds(attrs.mtime, attrs.mtime_ns),
    )


def _nanoseconds(seconds: float | None, more: int | None) -> int | None:
    return None if seconds is None else int(seconds) * SECOND + (more or 0)
