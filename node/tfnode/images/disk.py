"""A full disk, said in the project's own words.

Knows nothing of what is written.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfcore.errors import Exhausted


def is_full(error: OSError) -> bool:
    """True if `error` says that no space, or none of the quota, is left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def full_disk(error: OSError, where: str) -> Exhausted:
    """The error to raise instead of `error`; `where` ends its message."""
    return Exhausted(f"{os.strerror(error.errno or 0)} {where}", hint="free some space on the node")


@contextmanager
def full_disk_named(directory: Path) -> Iterator[None]:
    """Turn a full disk into `Exhausted` naming `directory`; other errors pass.

    Raises:
        Exhausted: the disk, or the quota, is full.
    """
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise full_disk(error, f"in {directory}") from error
