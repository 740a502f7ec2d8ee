"""The open directories of a layer while it is being unpacked, found by the path an entry names.

Every step is one openat() without following links, relative to a directory already open. A link on the way, made by an
earlier entry, is followed here and means what it would mean inside the container: `/` is the layer's root. So no path can
lead out, whatever the archive says. Knows nothing of tar.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from tfcore.errors import BadImage
from tfnode.images.names import ROOT, Path, check_length, shown

OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_OPEN = 64
MOST_LINKS = 40
"""As in Linux's own path walk."""


@dataclass(frozen=True, slots=True)
class Directory:
    """An open directory of the layer; good until the next `at` or `existing`."""

    fd: int
    path: Path
    """Its real path, no links in it."""


Step = Callable[[Directory, bytes], Directory]


class Directories:
    """Opens directories by path and keeps the latest ones open, since archives list a directory's entries together.

    Args:
        root_fd: the layer's root; stays the caller's.
        make: called as `make(parent, name)` where an entry's directory is missing; creates it.
    """

    def __init__(self, root_fd: int, make: Callable[[Directory, bytes], None]) -> None:
        self._root = Directory(root_fd, ROOT)
        self._make = make
        self._open: OrderedDict[Path, Directory] = OrderedDict()
        self._stale = False
        self._links = 0

    def at(self, path: Path) -> Directory:
        """The directory that `path` means, links followed; what is missing is made.

        Raises:
            BadImage: something on the way is a file, or a link that leads out or nowhere.
        """
        return self._walk(path, self._enter_or_make)

    def existing(self, path: Path) -> Directory:
        """The directory that `path` means, links followed.

        Raises:
            BadImage: it does not exist in this layer, or as for `at`.
        """
        return self._walk(path, self._enter_existing)

    def plain(self, path: Path) -> Directory | None:
        """The directory at the real path `path`, or None if there is none (any more)."""
        try:
            return self._walk(path, self._enter)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def forget(self) -> None:
        """Something was replaced, so paths may mean something else from the next look-up on."""
        self._stale = True

    def close(self) -> None:
        """Close all but the root."""
        while self._open:
            os.close(self._open.popitem()[1].fd)

    def _walk(self, path: Path, step: Step) -> Directory:
        if self._stale:
            self.close()
            self._stale = False
        self._links = 0
        return self._steps(path, step)

    def _steps(self, path: Path, step: Step) -> Directory:
        known = len(path)
        while known and path[:known] not in self._open:
            known -= 1
        here = self._root
        if known:
            here = self._open[path[:known]]
            self._open.move_to_end(path[:known])
        for depth in range(known, len(path)):
            here = self._keep(path[: depth + 1], step(here, path[depth]))
        return here

    def _keep(self, path: Path, directory: Directory) -> Directory:
        self._open[path] = directory
        if len(self._open) > MOST_OPEN:
            os.close(self._open.popitem(last=False)[1].fd)
        return directory

    def _enter(self, here: Directory, name: bytes) -> Directory:
        return Directory(os.open(name, OPEN, dir_fd=here.fd), (*here.path, name))

    def _enter_or_make(self, here: Directory, name: bytes) -> Directory:
        try:
            return self._enter(here, name)
        except FileNotFoundError:
            return self._made(here, name)
        except NotADirectoryError:
            if is_whiteout(os.stat(name, dir_fd=here.fd, follow_symlinks=False)):
                return self._made(here, name)
            return self._follow(here, name)

    def _made(self, here: Directory, name: bytes) -> Directory:
        check_length((*here.path, name))
        self._make(here, name)
        return self._enter(here, name)

    def _enter_existing(self, here: Directory, name: bytes) -> Directory:
        try:
            return self._enter(here, name)
        except FileNotFoundError:
            raise BadImage(f"'{shown((*here.path, name))}' is not in this layer") from None
        except NotADirectoryError:
            return self._follow(here, name)

    def _follow(self, here: Directory, name: bytes) -> Directory:
        """The directory that the link `name` in `here` means."""
        link = shown((*here.path, name))
        try:
            target = os.readlink(name, dir_fd=here.fd)
        except OSError:  # EINVAL: no link
            raise BadImage(f"'{link}' is no directory in this layer") from None
        self._links += 1
        if self._links > MOST_LINKS:
            raise BadImage(f"leads through more than {MOST_LINKS} links, the last of them '{link}'")
        try:
            meant = self._resolved(here, target)
        except BadImage as error:
            raise BadImage(f"leads through the link '{link}' -> '{shown(target)}': {error.message}") from None
        return Directory(os.dup(meant.fd), meant.path)  # kept open under two paths, so that each can be closed

    def _resolved(self, here: Directory, target: bytes) -> Directory:
        path = ROOT if target.startswith(b"/") else here.path
        for part in target.split(b"/"):
            if part == b"..":
                if not path:
                    raise BadImage("it leads out of the layer")
                path = path[:-1]
            elif part not in (b"", b"."):
                path = self._steps((*path, part), self._enter_existing).path
        return self._steps(path, self._enter_existing)


def is_whiteout(status: os.stat_result) -> bool:
    """True for overlayfs's mark of something deleted: a character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
