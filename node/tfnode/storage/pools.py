"""A file system of its own for a node's data: on a device, or in a file on a loop device.

    make(Wish(kind="xfs", root=Path("/var/lib/tf-node"), file=Path("/var/lib/tf-node.disk"), size=20 << 30))

Each makes snapshots cheaper than ext4 can: xfs shares blocks between a file and its copy, btrfs and zfs have snapshots of
their own. Nothing that is there is overwritten unless that is asked for; what fails half way is taken back. How the file
system is mounted again at the next boot is said, not arranged.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tfcore.commands import run
from tfcore.errors import BadRequest, CommandFailed, Exhausted, HostLacks, WrongState
from tfcore.undo import Undo
from tfnode.kernel.mounts import is_mounted
from tfnode.storage.shelf import MODE

MKFS_SECONDS = 300.0
POOL: Final = "tf-node"
"""What a zpool is called."""
BEST_DRIVER: Final[Mapping[str, str]] = {"xfs": "overlay", "btrfs": "btrfs", "zfs": "zfs"}
"""Which storage driver makes the most of each kind of file system."""
PACKAGES: Final[Mapping[str, str]] = {"xfs": "xfsprogs", "btrfs": "btrfs-progs", "zfs": "zfsutils-linux"}
SMALLEST: Final[Mapping[str, int]] = {"xfs": 300 << 20, "btrfs": 128 << 20, "zfs": 128 << 20}
"""What the kinds' own programs accept at least, bytes."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be made.

    Args:
        kind: `xfs`, `btrfs` or `zfs`.
        root: the directory to mount it on: the node's.
        file: a file to be made for it; or
        device: the block device to put it on.
        size: bytes of the file.
        overwrite: a file system that is on the device may go.
    """

    kind: str
    root: Path
    file: Path | None = None
    device: Path | None = None
    size: int = 0
    overwrite: bool = False

    @property
    def source(self) -> Path:
        """The file or the device."""
        source = self.file or self.device
        assert source is not None
        return source


@dataclass(frozen=True)
class Pool:
    """What was made.

    Args:
        done: a sentence for each step.
        at_boot: the line for /etc/fstab, or the command, that mounts it again.
        driver: the storage driver to be configured.
    """

    done: tuple[str, ...]
    at_boot: str
    driver: str


def make(wish: Wish) -> Pool:
    """Make the file system and mount it.

    Raises:
        BadRequest: the wish makes no sense. WrongState: something is there already that would be lost or hidden.
        Exhausted: there is no room for the file. HostLacks: a program is not installed. CommandFailed: one refused.
        All before anything was changed, or with everything taken back.
    """
    _check_root(wish.root)
    _check_program(wish.kind)
    if wish.file is not None:
        _check_file(wish.file, wish.size, wish.kind)
    else:
        _check_device(wish.source, overwrite=wish.overwrite)
    with Undo() as undo:
        done = [_make_file(wish.file, wish.size, undo)] if wish.file is not None else []
        if not wish.root.exists():
            wish.root.mkdir(mode=MODE, parents=True)
            undo.push(wish.root.rmdir)
        done += _MAKERS[wish.kind](wish, undo)
        wish.root.chmod(MODE)
        at_boot = _at_boot(wish)
        undo.done()
    return Pool(tuple(done), at_boot, BEST_DRIVER[wish.kind])


def size_of(text: str) -> int:
    """Bytes: "20G", "500M", "1T", units of 1024; BadRequest if it is no size."""
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "B")
    if not number.isdecimal() or unit not in "BKMGT":
        raise BadRequest(f"{text!r} is no size", hint="a number and K, M, G or T, such as 20G")
    return int(number) << 10 * "BKMGT".index(unit)


# --- before anything is changed


def _check_root(root: Path) -> None:
    if is_mounted(root.resolve()):
        raise WrongState(f"something is mounted on {root} already", hint="tf-node storage show says what")
    if root.exists() and any(root.iterdir()):
        raise WrongState(
            f"{root} is not empty: what is in it would be hidden", hint="stop the node, move its data away, try again"
        )


def _check_program(kind: str) -> None:
    program = "zpool" if kind == "zfs" else f"mkfs.{kind}"
    if shutil.which(program) is None:
        raise HostLacks(f"{program} is not installed", hint=f"apt-get install {PACKAGES[kind]}")


def _check_file(file: Path, size: int, kind: str) -> None:
    if file.exists():
        raise WrongState(f"{file} exists", hint="name a file that does not; this one is left alone")
    if not file.parent.is_dir():
        raise BadRequest(f"{file.parent} is not a directory", hint="make it first, or name another place")
    if size < SMALLEST[kind]:
        raise BadRequest(
            f"{size >> 20} MB are too few for {kind}", hint=f"{SMALLEST[kind] >> 20} MB are the least: --size"
        )
    free = shutil.disk_usage(file.parent).free
    if size > free:
        raise Exhausted(
            f"{file.parent} has {free >> 20} MB free, not {size >> 20}", hint="a smaller --size, or a device"
        )


def _check_device(device: Path, *, overwrite: bool) -> None:
    if not device.exists() or not stat.S_ISBLK(device.stat().st_mode):
        raise BadRequest(f"{device} is not a block device", hint="lsblk lists them; --file makes a file instead")
    if _is_in_use(device):
        raise WrongState(f"{device} is in use", hint="unmount it; lsblk says where it is mounted")
    found = _signature(device)
    if found and not overwrite:
        raise WrongState(f"there is something on {device}: {found}", hint="--force overwrites it")


def _is_in_use(device: Path) -> bool:
    """The kernel opens a block device exclusively only if nothing has it mounted or otherwise claimed (open(2))."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError:
        return True
    return False


def _signature(device: Path) -> str:
    try:
        return run(["blkid", "-p", "-o", "full", str(device)]).decode().strip()
    except CommandFailed as failed:
        if failed.details.get("how") == "status 2":  # blkid(8): nothing was found
            return ""
        raise


# --- making it


def _make_file(file: Path, size: int, undo: Undo) -> str:
    undo.push(file.unlink, True)
    with file.open("xb") as disk:
        os.fchmod(disk.fileno(), 0o600)
        disk.truncate(size)
    return f"made {file}, {size >> 20} MB that take room as they are used"


def _make_mounted(wish: Wish, undo: Undo) -> list[str]:
    options = {"xfs": ["-m", "reflink=1"], "btrfs": []}[wish.kind]
    force = ["-f"] if wish.overwrite else []
    run([f"mkfs.{wish.kind}", "-q", *options, *force, str(wish.source)], timeout=MKFS_SECONDS)
    run(["mount", "-t", wish.kind, "-o", _mount_options(wish), str(wish.source), str(wish.root)])
    undo.push(run, ["umount", str(wish.root)])
    return [f"made a file system on {wish.source}: {wish.kind}", f"mounted it on {wish.root}"]


def _make_zpool(wish: Wish, undo: Undo) -> list[str]:
    force = ["-f"] if wish.overwrite else []
    run(["zpool", "create", *force, "-m", str(wish.root), POOL, str(wish.source)], timeout=MKFS_SECONDS)
    undo.push(run, ["zpool", "destroy", POOL])
    return [f"made the pool {POOL} on {wish.source}, mounted on {wish.root}"]


_MAKERS: Final[Mapping[str, Callable[[Wish, Undo], list[str]]]] = {
    "xfs": _make_mounted,
    "btrfs": _make_mounted,
    "zfs": _make_zpool,
}


def _mount_options(wish: Wish) -> str:
    return "loop,noatime" if wish.file is not None else "noatime"


def _at_boot(wish: Wish) -> str:
    if wish.kind == "zfs":
        where = f" -d {wish.source.parent}" if wish.file is not None else ""
        return f"zpool import{where} {POOL}"
    source = str(wish.source)
    if wish.device is not None:
        source = "UUID=" + run(["blkid", "-p", "-s", "UUID", "-o", "value", source]).decode().strip()
    return f"{source} {wish.root} {wish.kind} {_mount_options(wish)},nofail 0 0"
