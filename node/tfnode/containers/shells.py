"""Which shell a user of a container has: looked up in the container's own files. For worker threads."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tfnode.kernel import paths
from tfnode.runtime.accounts import find_account, read_account_files

FALLBACK = "/bin/sh"

NO_SHELLS = ("nologin", "false", "true", "sync", "halt", "shutdown")
"""What accounts have whose users are not to log in: a shell was asked for all the same."""


def login_shell(rootfs: Path, user: str) -> str:
    """The user's login shell if the image has it, else /bin/sh.

    Args:
        user: as images write it; "" for root.

    Raises:
        BadRequest: no such user.
    """
    shell = find_account(user, read_account_files(rootfs)).shell
    return shell if _can_be_used(rootfs, shell) else FALLBACK


def _can_be_used(rootfs: Path, shell: str) -> bool:
    if not shell.startswith("/") or os.path.basename(shell) in NO_SHELLS:
        return False
    root = paths.open_root(rootfs)
    try:
        found = paths.open_in_root(root, shell, os.O_PATH)
    except OSError:
        return False
    finally:
        os.close(root)
    try:
        mode = os.fstat(found).st_mode
        return stat.S_ISREG(mode) and bool(mode & 0o111)
    finally:
        os.close(found)
