"""Layers put aside on disk while they travel: files without a name, gone with their last descriptor. Never memory."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from typing import IO

from tfcore.errors import Exhausted

LARGE_TEMPORARY = "/var/tmp"
"""Where large temporary files belong (file-hierarchy(7)): /tmp is memory on many systems."""


def spool_directory() -> str:
    """`$TMPDIR` if it is set, else /var/tmp, else the system's own choice."""
    if "TMPDIR" not in os.environ and os.access(LARGE_TEMPORARY, os.W_OK):
        return LARGE_TEMPORARY
    return tempfile.gettempdir()


def spooled(chunks: Iterable[bytes]) -> IO[bytes]:
    """A temporary file with these chunks, standing at its beginning; the caller closes it.

    Raises:
        Exhausted: the disk is full.
    """
    directory = spool_directory()
    file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - it is handed to the caller
    try:
        for chunk in chunks:
            file.write(chunk)
        file.seek(0)
    except OSError as error:
        file.close()
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Exhausted(
            f"no space left in {directory} for an image's layer", hint="set TMPDIR to a roomier place"
        ) from error
    except BaseException:
        file.close()
        raise
    return file
