"""Looks into trees as a container would, through a real mount that is attached nowhere and so cannot be left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfnode.kernel.mounts import open_mount
from tfnode.storage.interface import BindMount, Storage
from tfnode.testing.trees import Manifest, describe


@contextmanager
def seen(storage: Storage, key: str) -> Iterator[Path]:
    """A directory that shows the tree and may be written to; the mount ends with the block.

    Without root only a driver of bare directories can be looked into; an open directory stands for the mount then.
    """
    mount = storage.mounts(key)
    if isinstance(mount, BindMount) and os.geteuid() != 0:
        fd = os.open(mount.source, os.O_PATH | os.O_DIRECTORY)
    else:
        fd = open_mount(mount)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def manifest(storage: Storage, key: str) -> Manifest:
    """All that a container would see in the tree now."""
    with seen(storage, key) as top:
        return describe(top)
