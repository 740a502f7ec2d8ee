"""The files of a container: mixed into `Container`, which has the rest.

Everything goes through the container's root directory and needs no process and no program inside (DESIGN D12): it works in
running and sleeping containers, and in images that have no shell. Paths are absolute; `..` is refused, and links are
followed within the container only. What is written belongs to the container's root unless something else is said.
"""

from __future__ import annotations

import builtins
import os
import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from tfcore.errors import NotFound
from tfcore.wire import containers as wire
from tfcore.wire import files as verbs
from tfcore.wire.message import Request
from tfnz import arguments, transfer
from tfnz.fileinfo import FileInfo, info_of
from tfnz.filing import Filing
from tfnz.moving import Moving, Progress, whole

if TYPE_CHECKING:
    from tfnz.container import Container

Local = str | os.PathLike[str]
"""A path on this machine."""

LONG = 3600.0
"""Seconds that a large file or a tree may take."""

PIECE = 256 << 10


class Files:
    """Files and trees, in and out, and what is done with them."""

    # whole files

    def put(  # type: ignore[misc]
        self: Container,
        path: str,
        data: arguments.Content | os.PathLike[str] | IO[bytes],
        *,
        mode: int | None = None,
        timeout: float = 60.0,
    ) -> None:
        """Write a file; missing directories are made, an existing file keeps its mode and owner unless `mode` is given. It
        appears as a whole or not at all.

        Args:
            data: text or bytes, a `Path` of this machine (text is content, not a path), or a file open for reading bytes.

        Raises:
            BadRequest: a path outside, or a directory; or `data` is none of these.
        """
        if isinstance(data, os.PathLike) or hasattr(data, "read"):
            self.put_file(cast("os.PathLike[str] | IO[bytes]", data), path, mode=mode, timeout=timeout)
            return
        content = arguments.content(data, what="a file")
        request = wire.PutFile(path=arguments.inside(path), mode=mode)
        self.location._io.call(transfer.put(self._errand(request, timeout), content))

    def fetch(self: Container, path: str, *, timeout: float = 60.0) -> bytes:  # type: ignore[misc]
        """The content of a file.

        Raises:
            NotFound: no such file. BadRequest: a directory, or not a regular file.
        """
        errand = self._errand(wire.FetchFile(path=arguments.inside(path)), timeout)
        return self.location._io.call(transfer.fetch(errand))

    def put_file(  # type: ignore[misc]
        self: Container,
        local: Local | IO[bytes],
        path: str,
        *,
        mode: int | None = None,
        progress: Progress | None = None,
        timeout: float = LONG,
    ) -> None:
        """Copy a file of any size in, piece by piece; as `put` otherwise.

        Args:
            local: a path on this machine, or a file open for reading bytes.
            progress: called with (path, bytes done, bytes in all, 0 if nobody knows) after each piece, in this thread.

        Raises:
            OSError: the local file cannot be read. Otherwise as `put`.
        """
        request = wire.PutFile(path=arguments.inside(path), mode=mode)
        if not isinstance(local, str | os.PathLike):
            self._put_open(request, local, 0, progress, timeout)
            return

        def from_its_beginning() -> None:
            with open(local, "rb") as file:
                self._put_open(request, file, os.fstat(file.fileno()).st_size, progress, timeout)

        whole(from_its_beginning)

    def _put_open(  # type: ignore[misc]
        self: Container, request: wire.PutFile, file: IO[bytes], size: int, progress: Progress | None, timeout: float
    ) -> None:
        done = 0
        with Moving(self, request, timeout=timeout) as moving:
            while piece := file.read(PIECE):
                done += moving.write(piece)
                if progress is not None:
                    progress(request.path, done, size)
            moving.finish()

    def fetch_file(  # type: ignore[misc]
        self: Container,
        path: str,
        local: Local | IO[bytes],
        *,
        progress: Progress | None = None,
        timeout: float = LONG,
    ) -> None:
        """Copy a file of any size out, piece by piece.

        Args:
            local: where to, on this machine: a path, under which it appears as a whole, with its permission bits, or a
                directory, in which it gets its own name; or a file open for writing bytes.
            progress: called with (path, bytes done, bytes in all) after each piece, in this thread.

        Raises:
            NotFound: no such file. BadRequest: a directory, or not a regular file. OSError: the local one cannot be written.
        """
        inside = arguments.inside(path)
        info = self.stat(inside)
        if not isinstance(local, str | os.PathLike):
            self._fetch_open(inside, local, info.size, progress, timeout)
            return
        place = Path(local)
        place = place / info.name if place.is_dir() else place

        from tfnz import trees

        def all_of_it() -> None:
            with trees.aside(place, info.mode) as file:
                self._fetch_open(inside, file, info.size, progress, timeout)

        whole(all_of_it)

    def _fetch_open(  # type: ignore[misc]
        self: Container, path: str, file: IO[bytes], size: int, progress: Progress | None, timeout: float
    ) -> None:
        done = 0
        with Moving(self, wire.FetchFile(path=path), timeout=timeout) as moving:
            while piece := moving.read():
                file.write(piece)
                done += len(piece)
                if progress is not None:
                    progress(path, done, max(size, done))
            moving.reply()

    # trees

    def put_tree(  # type: ignore[misc]
        self: Container,
        local: Local,
        path: str,
        *,
        owners: bool = False,
        progress: Progress | None = None,
        timeout: float = LONG,
    ) -> None:
        """Copy what is in a directory of this machine into a directory of the container, which is made.

        Files, directories and links, with their permission bits and times; links are copied as links; sockets, fifos and
        devices are left out. What is there stays, unless something of the same name comes in; directories that are there
        keep mode and owner. Each file appears as a whole, the tree does not.

        Args:
            owners: the ids of this machine's owners, instead of the container's root.
            progress: called with (path, bytes done, 0) as they travel, in this thread.

        Raises:
            OSError: something of it cannot be read, or it is no directory. BadRequest: a path outside; something is in the
                way. Exhausted: there is no space.
        """
        from tfnz import trees

        inside = arguments.inside(path)
        request = verbs.PutTree(path=os.fsencode(inside), owners=owners)

        def all_of_it() -> None:
            with Moving(self, request, timeout=timeout) as moving:
                trees.send(Path(local), moving, _counted(progress, inside))
                moving.finish()

        whole(all_of_it)

    def fetch_tree(  # type: ignore[misc]
        self: Container,
        path: str,
        local: Local,
        *,
        skip_links_out: bool = False,
        progress: Progress | None = None,
        timeout: float = LONG,
    ) -> None:
        """Copy a directory of the container to this machine, where it appears as a whole or not at all.

        Files, directories and links, with times and permission bits (without setuid, and without those that let others
        write); owned by who calls. Whatever the container has made of its files, nothing is written but below `local`: a
        link that leads out of the tree, as every absolute one does, is refused.

        Args:
            local: it must not be there, or be an empty directory.
            skip_links_out: leave links that lead out away, instead of refusing them.
            progress: called with (path, bytes done, 0) as they travel, in this thread.

        Raises:
            NotFound: no such directory. BadRequest: it is none; it has a link that leads out. WrongState: `local` has
                something in it. OSError: it cannot be written.
        """
        from tfnz import trees

        inside = arguments.inside(path)
        place = trees.vacant(Path(local))

        def all_of_it() -> None:
            request = verbs.FetchTree(path=os.fsencode(inside))
            with Moving(self, request, timeout=timeout) as moving:
                trees.receive(moving, place, _counted(progress, inside), skip_links_out=skip_links_out)

        whole(all_of_it)

    # looking

    def list(self: Container, path: str) -> builtins.list[FileInfo]:  # type: ignore[misc]
        """What is in a directory, by name; links are not followed.

        Raises:
            NotFound: no such directory. BadRequest: it is none.
        """
        inside = arguments.inside(path)
        found = self.location._io.call(self._filing.entries(os.fsencode(inside)))
        return [info_of(posixpath.join(inside, os.fsdecode(entry.name)), entry.status) for entry in found]

    def stat(self: Container, path: str) -> FileInfo:  # type: ignore[misc]
        """What is at a path; a link stands for what it points at.

        Raises:
            NotFound: there is nothing.
        """
        return self._look(path, follow=True)

    def lstat(self: Container, path: str) -> FileInfo:  # type: ignore[misc]
        """As `stat`, but a link is a link.

        Raises:
            NotFound: there is nothing.
        """
        return self._look(path, follow=False)

    def exists(self: Container, path: str) -> bool:  # type: ignore[misc]
        """True if there is something at a path; a link that leads nowhere is nothing."""
        try:
            self.stat(path)
        except NotFound:
            return False
        return True

    def _look(self: Container, path: str, *, follow: bool) -> FileInfo:  # type: ignore[misc]
        inside = arguments.inside(path)
        return info_of(inside, self.location._io.call(self._filing.look(os.fsencode(inside), follow=follow)).status)

    # changing

    def rename(self: Container, path: str, to: str, *, replace: bool = True) -> None:  # type: ignore[misc]
        """Give a file or directory another path, in an existing directory on the same file system.

        Args:
            replace: what has that path already goes (a directory only if it is empty); otherwise that is refused.

        Raises:
            NotFound: there is nothing, or no directory for it. WrongState: something is in the way.
        """
        self._act(verbs.RenameFile(path=_inside(path), to=_inside(to), replace=replace))

    def remove(self: Container, path: str, *, tree: bool = False) -> None:  # type: ignore[misc]
        """Remove a file or a link; with `tree` whatever is there with all that is in it, but nothing beyond a mount.

        Raises:
            NotFound: there is nothing. BadRequest: it is a directory. WrongState: something is mounted there.
        """
        self._act(verbs.RemoveFile(path=_inside(path), kind="tree" if tree else "file"))

    def mkdir(self: Container, path: str, *, parents: bool = False, mode: int = 0o755) -> None:  # type: ignore[misc]
        """Make a directory.

        Args:
            parents: also those missing on the way; it may be there already then.
            mode: its permission bits.

        Raises:
            NotFound: the directory it is to be in is missing. WrongState: something is there.
        """
        self._act(verbs.MakeDirectory(path=_inside(path), parents=parents, mode=mode))

    def rmdir(self: Container, path: str) -> None:  # type: ignore[misc]
        """Remove an empty directory.

        Raises:
            NotFound: there is none. BadRequest: it is none. WrongState: it is not empty.
        """
        self._act(verbs.RemoveFile(path=_inside(path), kind="directory"))

    def chmod(self: Container, path: str, mode: int) -> None:  # type: ignore[misc]
        """Change permission bits; a link stands for what it points at.

        Raises:
            NotFound: there is nothing.
        """
        self._act(verbs.ChangeFile(path=_inside(path), changes=verbs.Changes(mode=mode)))

    def chown(self: Container, path: str, uid: int, gid: int) -> None:  # type: ignore[misc]
        """Change owner and group, as the container numbers them; a link stands for what it points at.

        Raises:
            NotFound: there is nothing. BadRequest: the container has no such id.
        """
        self._act(verbs.ChangeFile(path=_inside(path), changes=verbs.Changes(uid=uid, gid=gid)))

    def symlink(self: Container, path: str, target: str) -> None:  # type: ignore[misc]
        """Make a link at `path` that points at `target`, which is written as it is.

        Raises:
            NotFound: the directory it is to be in is missing. WrongState: something is there.
        """
        self._act(verbs.MakeLink(path=_inside(path), target=os.fsencode(target)))

    def _act(self: Container, request: Request[Any]) -> None:  # type: ignore[misc]
        arguments.representable(request)
        self._ask(request)

    @property
    def _filing(self: Container) -> Filing:  # type: ignore[misc]
        self._check()
        return Filing(self.location._connection, self.uuid)


def _inside(path: str) -> bytes:
    return os.fsencode(arguments.inside(path))


def _counted(progress: Progress | None, path: str) -> Callable[[int], None]:
    """Adds up what is told piece by piece."""
    done = 0

    def tell(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None and size:
            progress(path, done, 0)

    return tell
