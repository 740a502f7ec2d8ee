"""The kernel calls that make the agent's namespaces, through ctypes; the standard library has them from 3.12 on only.

Knows nothing of who calls and in what order.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from tfcore.errors import HostLacks

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_NOSUID = 0x02
MS_NODEV = 0x04
MS_NOEXEC = 0x08
MS_REC = 0x4000
MS_SLAVE = 0x8_0000
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


def _checked(result: int, what: str) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def unshare(flags: int) -> None:
    """Give the calling thread new namespaces (`CLONE_NEW…`); a new pid namespace is for its next children only.

    Raises:
        OSError: the kernel refuses (EPERM without the capability, ENOSPC at the sysctl's limit).
    """
    _checked(_libc.unshare(flags), f"unshare({flags:#x})")


def mount(source: str, target: Path, fstype: str, flags: int = 0, options: str = "") -> None:
    """Mount `fstype` on `target`; `options` is the file system's own option string (less than a page).

    Raises:
        OSError: the kernel refuses; the message names the target.
    """
    done = _libc.mount(os.fsencode(source), os.fsencode(target), fstype.encode(), flags, options.encode())
    _checked(done, f"mount {fstype} on {target}")


def unmount_tree(target: Path) -> None:
    """Take `target` and all mounts below it out of this namespace; what has files open there keeps them.

    Raises:
        OSError: not a mount, or locked by a user namespace.
    """
    _checked(_libc.umount2(os.fsencode(target), MNT_DETACH), f"unmount {target}")


def receive_mounts_only() -> None:
    """Stop every mount of this namespace from propagating out of it, while the host's unmounts still come in."""
    _checked(_libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None), "making the mounts private")


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel to send `signal_number` to this process when the thread that forked it ends."""
    _checked(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def take_orphans(*, wanted: bool) -> None:
    """Whether what its children leave behind becomes this process's own."""
    _checked(_libc.prctl(PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


def name_process(name: str) -> None:
    """Set what `ps -o comm` shows for this process (15 bytes at most; more is cut)."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _checked(_libc.prctl(PR_SET_NAME, ctypes.addressof(buffer), 0, 0, 0), "prctl(PR_SET_NAME)")


@contextlib.contextmanager
def refusals_told() -> Iterator[None]:
    """Turn what the kernel refuses inside the block into HostLacks, with its words and the way out."""
    try:
        yield
    except OSError as refused:
        raise HostLacks(
            f"the kernel refuses a namespace or mount the node needs: {refused}",
            hint="`tf-node check` says what this machine lacks",
        ) from refused
