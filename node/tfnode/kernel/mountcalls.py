"""The kernel's calls for mounts through ctypes, one function per call; refusals carry the kernel's own words.

Knows nothing of what is mounted and why. Linux 5.12.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tfcore.errors import MountFailed
from tfcore.failpoints import failpoint

# linux/mount.h, linux/sched.h, linux/fcntl.h; the numbers of these calls are the same on every architecture
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 442
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = _OPEN_TREE_CLONE = 1
_SET_FLAG, _SET_STRING, _CMD_CREATE = 0, 1, 6
_F_EMPTY_PATH, _BENEATH = 0x04, 0x200
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def mount_failed(message: str, number: int) -> MountFailed:
    """The error for a refusal of the kernel with this number."""
    error = MountFailed(message, details={"errno": errno.errorcode.get(number, str(number))})
    error.errno = number
    error.strerror = os.strerror(number)
    return error


class _MountAttr(ctypes.Structure):
    """linux/mount.h, struct mount_attr."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns"))


def open_file_system(kind: str, options: Sequence[tuple[str, str]], flags: Sequence[str] = ()) -> int:
    """A descriptor of a detached mount of a new file system.

    Args:
        kind: "overlay", "tmpfs", …
        options: keys and values, in order; a value has at most 255 bytes.
        flags: options without a value.

    Raises:
        MountFailed: with what the kernel wrote into the context's log.
    """
    context = _fsopen(kind)
    try:
        for key, value in [("source", kind), *options]:
            _fsconfig(context, _SET_STRING, key, value)
        for flag in flags:
            _fsconfig(context, _SET_FLAG, flag, None)
        _fsconfig(context, _CMD_CREATE, None, None)
        return _call(_FSMOUNT, f"mounting {kind}", context, _FSMOUNT_CLOEXEC, 0)
    finally:
        os.close(context)


def takes_option(kind: str, key: str, value: str) -> bool:
    """True if this kernel's `kind` accepts the option; MountFailed if it has no such file system or the caller no right.

    As long as a file system has not been moved to this interface (overlay: in 6.5) the kernel takes anything and looks at it
    when mounting. Who takes nonsense is not believed.
    """
    return _accepts(kind, key, value) and not _accepts(kind, "no-such-option", "nonsense")


def _accepts(kind: str, key: str, value: str) -> bool:
    context = _fsopen(kind)
    try:
        _fsconfig(context, _SET_STRING, key, value)
    except MountFailed:
        return False
    finally:
        os.close(context)
    return True


def mount(source: str, target: Path, kind: str, flags: int, options: str) -> None:
    """mount(2).

    Raises:
        MountFailed: the options are longer than a page, which the kernel would cut without a word (E2BIG); or it refused.
    """
    text, limit = os.fsencode(options), os.sysconf("SC_PAGESIZE") - 1
    if len(text) > limit:
        raise mount_failed(f"{len(text)} bytes of mount options, and mount(2) takes {limit}", errno.E2BIG)
    names = (os.fsencode(source), os.fsencode(target), kind.encode())
    _check(_libc.mount(*names, ctypes.c_ulong(flags), text), f"mounting {kind} on {target}")


def clone_mount(source: Path) -> int:
    """A descriptor of a detached, private mount of `source` and what is in it, but not of mounts below it."""
    return _clone(source, 0)


def clone_mounts(source: Path) -> int:
    """The same with everything that is mounted below `source`."""
    return _clone(source, _AT_RECURSIVE)


def _clone(source: Path, depth: int) -> int:
    what = f"binding {source}"
    failpoint("mount.bind")
    fd = _call(_OPEN_TREE, what, _AT_FDCWD, os.fsencode(source), _OPEN_TREE_CLONE | os.O_CLOEXEC | depth)
    try:
        set_attributes(fd, propagation=_MS_PRIVATE)
    except MountFailed:
        os.close(fd)
        raise
    return fd


def set_attributes(fd: int, *, forbidden: int = 0, propagation: int = 0) -> None:
    """mount_setattr(2) on `fd` and the mounts below it: MOUNT_ATTR_… to set, and a propagation or 0."""
    attr = _MountAttr(forbidden, 0, propagation, 0)
    what = f"setting attributes {forbidden:#x} of a mount"
    _call(_MOUNT_SETATTR, what, fd, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, ctypes.byref(attr), ctypes.sizeof(attr))


def move(fd: int, target: Path) -> None:
    """Attach the mount `fd` to `target`, on top of what is there."""
    failpoint("mount.attach")
    _call(_MOVE_MOUNT, f"mounting on {target}", fd, b"", _AT_FDCWD, os.fsencode(target), _F_EMPTY_PATH)


def move_beneath(fd: int, target: Path) -> None:
    """Attach the mount `fd` to `target`, below the topmost mount there (6.5)."""
    what = f"mounting beneath {target}"
    _call(_MOVE_MOUNT, what, fd, b"", _AT_FDCWD, os.fsencode(target), _F_EMPTY_PATH | _BENEATH)


def detach(target: Path) -> None:
    """umount2(2): nobody new gets in; who is inside stays until they let go. A symbolic link is not followed."""
    failpoint("mount.detach")
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW), f"unmounting {target}")


def make_all_private() -> None:
    """Stop all mounts of the calling thread's namespace from propagating."""
    _check(_libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "making the mounts private")


def part_with_shared_root() -> None:
    """Give the calling thread a root and a working directory of its own; entering a mount namespace changes both."""
    _check(_libc.unshare(_CLONE_FS), "unshare(CLONE_FS)")


def enter_namespace(fd: int) -> None:
    """Let the calling thread, which has parted with the shared root, enter the mount namespace `fd`."""
    _check(_libc.setns(fd, _CLONE_NEWNS), "setns(CLONE_NEWNS)")


def _fsopen(kind: str) -> int:
    return _call(_FSOPEN, f"opening {kind}", kind.encode(), _FSOPEN_CLOEXEC)


def _fsconfig(context: int, command: int, key: str | None, value: str | None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (key, value)]
    try:
        _call(_FSCONFIG, f"{key}={value}" if key else "making the mount", context, command, *encoded, 0)
    except MountFailed as refused:
        words = "; ".join([refused.message, *_kernel_words(context)])
        raise mount_failed(words, refused.errno or 0) from None


def _kernel_words(context: int) -> list[str]:
    """What the kernel wrote into the context's log; the level ("e ") is cut off."""
    words = []
    with suppress(OSError):
        while line := os.read(context, 4096):
            words.append(line.decode("utf-8", "replace").strip().removeprefix("e "))
    return words


def _call(number: int, what: str, *arguments: object) -> int:
    # Variadic: without a type ctypes would pass an int as 32 bits.
    typed = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result: int = _check(_libc.syscall(ctypes.c_long(number), *typed), what)
    return result


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise mount_failed(f"{what}: {os.strerror(number)}", number)
    return result
