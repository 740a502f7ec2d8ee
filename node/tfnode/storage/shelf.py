"""The directories of a storage root: built aside, renamed into place, moved away, swept.

    new/    directories being built; one that is left there by a crash is litter
    data/   finished directories, one per tree or snapshot; one the metastore does not know is litter
    trash/  litter on its way out

Knows what a directory is called and where it is in its life, never what is in it.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tfcore.failpoints import failpoint
from tfcore.undo import Undo
from tfnode.storage.removal import remove_tree

log = logging.getLogger(__name__)

MODE = 0o711
"""A container's root user is an ordinary user of the host: it must be able to pass through, but not to look around."""


PRIVATE = 0o700
"""But by what is mounted for it elsewhere: on the disk itself other users of the machine would find files that anybody in a
container may read, and programs that run as a container's root."""


class Shelf:
    """The directories below one root.

    Args:
        root: made if it is not there.
        delete: removes a directory of this driver's kind, and is content if it is not there.

    Raises:
        OSError: the directories cannot be made.
    """

    def __init__(self, root: Path, *, delete: Callable[[Path], None] = remove_tree) -> None:
        self._new, self._data, self._trash = root / "new", root / "data", root / "trash"
        self._delete = delete
        self._building: set[str] = set()
        self._sweeping = threading.Lock()
        for directory in (root, self._new, self._data, self._trash):
            directory.mkdir(mode=MODE, parents=True, exist_ok=True)
        root.chmod(PRIVATE)

    def finished(self, directory: str) -> Path:
        """Where a finished directory is."""
        return self._data / directory

    def unfinished(self, directory: str) -> Path:
        """Where a directory is that is being built."""
        return self._new / directory

    @contextmanager
    def building(self, label: str) -> Iterator[str]:
        """A fresh empty directory, named after `label`, to be filled and then to be placed inside the block.

        If the block fails, the directory is removed, wherever it is by then.
        """
        directory = f"{label}.{secrets.token_hex(4)}"
        self._building.add(directory)
        try:
            with Undo() as undo:
                undo.push(self._scrap, directory)
                failpoint("storage.build")
                self.unfinished(directory).mkdir(mode=MODE)
                yield directory
                undo.done()
        finally:
            self._building.discard(directory)

    def place(self, directory: str) -> None:
        """Rename a finished directory into place: inside the transaction that writes its row."""
        failpoint("storage.place")
        self.unfinished(directory).rename(self.finished(directory))

    def discard(self, directory: str) -> None:
        """Move a directory away that no row points to any more. If that fails it is litter all the same."""
        try:
            self._throw_away(self.finished(directory))
        except OSError as error:
            log.warning("%s stays in place until the next sweep: %s", directory, error)

    def collect(self, known: set[str]) -> None:
        """Move all litter to the trash; `known` are the directories the metastore has.

        Call it so that no transaction can come between the making of `known` and this.
        """
        for place in (self._new, self._data):
            for directory in sorted(os.listdir(place)):
                if directory not in known and directory not in self._building:
                    self._throw_away(place / directory)

    def empty_trash(self) -> int:
        """Delete what is in the trash; returns how many directories went. What cannot be deleted stays for next time."""
        with self._sweeping:
            return sum(self._deleted(self._trash / directory) for directory in sorted(os.listdir(self._trash)))

    def _throw_away(self, path: Path) -> None:
        failpoint("storage.discard")
        with suppress(FileNotFoundError):  # another thread was quicker: who discards and who sweeps see the same litter
            path.rename(self._trash / path.name)

    def _deleted(self, directory: Path) -> bool:
        try:
            failpoint("storage.delete")
            self._delete(directory)
        except OSError as error:
            log.warning("%s stays until the next sweep: %s", directory, error)
            return False
        return True

    def _scrap(self, directory: str) -> None:
        """Remove a directory whose making failed; at once, because a full disk may have been the reason."""
        for place in (self._new, self._data):
            self._throw_away(place / directory)
        self._delete(self._trash / directory)
