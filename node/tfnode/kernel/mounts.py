"""Mounting, for those who prepare what a container will see. Acts in the calling thread's mount namespace.

Knows nothing of overlays, volumes or containers.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

MS_NOSUID = 0x02
MS_NODEV = 0x04
MS_NOEXEC = 0x08
"""linux/mount.h"""

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
"""linux/mount.h, for `bind`"""

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
"""The same numbers on every architecture (asm-generic)."""
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 0x01
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MNT_DETACH = 0x02


class _Attributes(ctypes.Structure):
    """struct mount_attr"""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd"))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.syscall.restype = ctypes.c_long


def mount(source: str, target: Path, fstype: str, flags: int = 0, options: str = "") -> None:
    """Mount `fstype` on `target`; `options` is the file system's own option string, less than a page.

    Raises:
        OSError: the kernel refuses.
    """
    done = _libc.mount(os.fsencode(source), os.fsencode(target), fstype.encode(), flags, options.encode())
    _checked(done, f"mounting {fstype}", target)


def bind(source: Path, target: Path, attributes: int = 0) -> None:
    """Make `source`, with everything mounted below it, appear at `target`, with `attributes` (MOUNT_ATTR_…) added.

    The new mount has them from its first moment on, and a user namespace that gets a copy of it cannot take them away.

    Args:
        source: a directory or a file.
        target: one of the same kind.
        attributes: added to those `source` has.

    Raises:
        OSError: one of the two does not exist, or the kernel refuses.
    """
    tree = _call(_OPEN_TREE, _AT_FDCWD, os.fsencode(source), _OPEN_TREE_CLONE | _AT_RECURSIVE | os.O_CLOEXEC, at=source)
    try:
        if attributes:
            wanted = _Attributes(attr_set=attributes)
            how = _AT_EMPTY_PATH | _AT_RECURSIVE
            _call(_MOUNT_SETATTR, tree, b"", how, ctypes.byref(wanted), ctypes.sizeof(wanted), at=source)
        _call(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH, at=target)
    finally:
        os.close(tree)


def unmount(target: Path) -> None:
    """Take the mount at `target` out of sight; it ends when nobody uses it any more.

    Raises:
        OSError: EINVAL, nothing is mounted there.
    """
    _checked(_libc.umount2(os.fsencode(target), _MNT_DETACH), "unmounting", target)


def _call(number: int, *arguments: object, at: Path) -> int:
    words = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *words), "binding", at)


def _checked(result: int, what: str, path: Path) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}", str(path))
    return result
