"""Opens directories below another one without ever following a symbolic link, however long the way is.

What a container wrote may be changed while it is read; a path that was looked at a moment ago proves nothing.
Knows nothing of storage. openat2(2), Linux 5.6.
"""

from __future__ import annotations

import ctypes
import os

_OPENAT2 = 437  # the same number on every architecture
_NO_MAGIC_LINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_LONGEST = 4000
"""Bytes of a path given to the kernel at once; its limit is 4095."""

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    """linux/openat2.h, struct open_how."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_directory(top: int, path: str) -> int:
    """Open the directory `path` below the directory `top`; an empty path is `top` itself.

    Reading it leaves its access time alone where the kernel allows that.

    Raises:
        OSError: there is no such directory, or a symbolic link is on the way (ELOOP).
    """
    steps = _steps(os.fsencode(path or "."))
    here = _open(top, steps[0])
    for step in steps[1:]:
        above = here
        try:
            here = _open(above, step)
        finally:
            os.close(above)
    return here


def _steps(path: bytes) -> list[bytes]:
    steps = []
    while len(path) > _LONGEST:
        cut = path.rindex(b"/", 0, _LONGEST)
        steps.append(path[:cut])
        path = path[cut + 1 :]
    return [*steps, path]


def _open(top: int, path: bytes) -> int:
    try:
        return _openat2(top, path, DIRECTORY | os.O_NOATIME)
    except PermissionError:  # the access time may be left alone only by the owner and by root
        return _openat2(top, path, DIRECTORY)


def _openat2(top: int, path: bytes, flags: int) -> int:
    how = _OpenHow(flags, 0, _NO_MAGIC_LINKS | _NO_SYMLINKS | _BENEATH)
    fd: int = _libc.syscall(_OPENAT2, top, path, ctypes.byref(how), ctypes.sizeof(how))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(path))
    return fd
