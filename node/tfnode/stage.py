"""The directory in which containers' roots are mounted: in the agent's mount namespace only, and open to walk through.

The runtime walks to a container's root as the container's own root user, who may enter neither the daemons' 0700
directories nor a home directory. So the stage is a small file system of our own over a directory that nobody needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tfcore.errors import HostLacks
from tfnode.kernel import mounts

CANDIDATES = ("/mnt", "/media", "/srv", "/opt", "/home", "/run")
SIZE = 64 * 1024 * 1024
"""Bytes; it holds directories only."""


def make_stage(*, avoiding: Iterable[Path]) -> Path:
    """Cover a directory with the stage. Must be called in the agent's own mount namespace.

    Args:
        avoiding: directories that must stay visible.

    Raises:
        HostLacks: there is no directory to spare.
    """
    needed = [path.resolve() for path in avoiding]
    for candidate in map(Path, CANDIDATES):
        if candidate.is_dir() and not any(path.is_relative_to(candidate) for path in needed):
            fd = mounts.open_tmpfs(size=SIZE, mode=0o711)
            try:
                mounts.attach(fd, candidate)
            finally:
                os.close(fd)
            return candidate
    raise HostLacks(f"none of {', '.join(CANDIDATES)} can be covered in the agent's own namespace", hint="mkdir /mnt")
