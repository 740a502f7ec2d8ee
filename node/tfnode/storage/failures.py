"""How a disk's and a database's refusals become errors that name the operation, the cause and the way out."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfcore.errors import Exhausted, StorageFailed, TfError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def told_as(what: str, root: Path) -> Iterator[None]:
    """Run a block that must happen as a whole or not at all; what the system says becomes a `TfError`.

    Args:
        what: the operation, for people: "snapshot b of web".
        root: the driver's directory.

    Raises:
        Exhausted: the disk, or a quota on it, is full.
        StorageFailed: anything else the disk, the kernel or the database refused.
    """
    try:
        yield
    except OSError as error:
        raise _refusal(what, root, _words(error), full=error.errno in FULL) from error
    except sqlite3.Error as error:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL  # errors of the Python module have none
        raise _refusal(what, root, str(error), full=full) from error


def _refusal(what: str, root: Path, words: str, *, full: bool) -> TfError:
    if full:
        return Exhausted(f"{what}: {words}", hint=f"nothing was changed; free space below {root}")
    return StorageFailed(f"{what}: {words}", hint=f"nothing was changed; look at {root}")


def _words(error: OSError) -> str:
    where = f": {error.filename}" if error.filename is not None else ""
    return f"{error.strerror or error}{where}"
