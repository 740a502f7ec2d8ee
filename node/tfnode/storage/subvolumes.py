"""Subvolumes of a btrfs, made, copied and destroyed by ioctl: a process would cost more than the work itself.

Knows nothing of trees, snapshots or overlays. linux/btrfs.h.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

_CREATE, _DESTROY, _SNAPSHOT = 0x5000_940E, 0x5000_940F, 0x5000_9417
"""BTRFS_IOC_SUBVOL_CREATE, BTRFS_IOC_SNAP_DESTROY, BTRFS_IOC_SNAP_CREATE_V2; the same on x86 and arm."""

_ARGUMENTS = struct.Struct("=q4088s")  # struct btrfs_ioctl_vol_args: descriptor, name
_SNAPSHOT_ARGUMENTS = struct.Struct("=qQQ32s4040s")  # struct btrfs_ioctl_vol_args_v2: descriptor, -, flags, -, name

_TOP_INODE = 256
"""The inode of every subvolume's top directory, BTRFS_FIRST_FREE_OBJECTID; no other directory has it."""


def create(path: Path) -> None:
    """Make an empty subvolume that appears as the directory `path`.

    Raises:
        OSError: `path` exists, this is no btrfs (ENOTTY), or the disk refuses.
    """
    _call(path, _CREATE, _ARGUMENTS.pack(0, os.fsencode(path.name)))


def snapshot(source: Path, path: Path) -> None:
    """Make `path` a writable subvolume with the present content of the subvolume `source`, all of one moment.

    What was written and has not reached the disk yet is part of it.

    Raises:
        OSError: `path` exists, `source` is no subvolume, or the disk refuses.
    """
    here = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _call(path, _SNAPSHOT, _SNAPSHOT_ARGUMENTS.pack(here, 0, 0, b"", os.fsencode(path.name)))
    finally:
        os.close(here)


def destroy(path: Path) -> None:
    """Let go of the subvolume `path` with all that is in it; the kernel frees its blocks later, by itself.

    Raises:
        OSError: there is none, or the caller may not (it takes root, or the mount option user_subvol_rm_allowed).
    """
    _call(path, _DESTROY, _ARGUMENTS.pack(0, os.fsencode(path.name)))


def is_subvolume(path: Path) -> bool:
    """True if the directory `path`, on a btrfs, is the top of a subvolume; False if nothing is there."""
    try:
        return path.lstat().st_ino == _TOP_INODE
    except FileNotFoundError:
        return False


def _call(path: Path, request: int, arguments: bytes) -> None:
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(directory, request, bytearray(arguments))
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error
    finally:
        os.close(directory)
