"""What is known of a container's file. Knows nothing of containers."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass

from tfcore.wire import files as wire


@dataclass(frozen=True)
class FileInfo:
    """What is known of a file.

    Attributes:
        path: in the container.
        kind: `file`, `directory`, `link`, `fifo`, `socket` or `device`.
        mode: permission bits.
        uid: its owner, as the container numbers it.
        gid: likewise its group.
        size: bytes.
        modified: seconds since 1970.
        target: of a link: what it points at, as it is written there.
    """

    path: str
    kind: wire.FileKind
    mode: int
    uid: int
    gid: int
    size: int
    modified: float
    target: str = ""

    @property
    def name(self) -> str:
        """The last part of its path."""
        return posixpath.basename(self.path)

    def is_dir(self) -> bool:
        """True for a directory."""
        return self.kind == "directory"

    def is_file(self) -> bool:
        """True for a regular file."""
        return self.kind == "file"

    def is_symlink(self) -> bool:
        """True for a link."""
        return self.kind == "link"


def info_of(path: str, status: wire.FileStatus) -> FileInfo:
    """What the wire tells of a file, as users see it."""
    return FileInfo(
        path=path,
        kind=status.kind,
        mode=status.mode,
        uid=status.uid,
        gid=status.gid,
        size=status.size,
        modified=status.modified / 1e9,
        target=os.fsdecode(status.target),
    )
