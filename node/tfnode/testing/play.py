"""What goes on in a container between two rollbacks, as plain file operations below a directory.

`furnish` makes one of everything; `SPOILINGS` each ruin it in another way. They work on a bare directory, through a mount,
and on a running container's root (/proc/PID/root), and know nothing of storage.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path

from tfnode.images.shift import FIRST_ID
from tfnode.kernel.confinement import confined, opaque_mark
from tfnode.process.userns import container_ids
from tfnode.storage.interface import Image

OWNER = container_ids(FIRST_ID).uid_base
"""The id on disk of a container's root."""
LONG_AGO = 915_148_799_000_000_007
"""Nanoseconds since 1970: so that a time that was not kept shows."""
DATABASE = bytes(range(256)) * 64
ODD_NAMES = ("-rf", " ", "new\nline", "back\\slash", "gr\u00fc\u00df", "a,b:c=d", os.fsdecode(b"\xff\xfe"), "x" * 255)


def is_root() -> bool:
    """True if foreign owners and overlayfs's marks can be made, and device nodes, unless it is root of a user namespace."""
    return os.geteuid() == 0


def furnish(place: Path) -> None:
    """Make the directory `place` with one of everything in it."""
    place.mkdir(parents=True)
    _make_files(place)
    _make_folders(place)
    _make_specials(place)
    if is_root():
        _make_what_takes_root(place)
    _age(place)


def make_image(place: Path) -> Image:
    """Unpacked layers below the directory `place`: `furnish`ed in "image", and things hidden by the upper layers.

    Merged, "upper/kept" shows what the top layer added, "upper/deleted" is gone, and "upper/replaced" holds "new" only.
    """
    bottom, middle, top = (place / name for name in ("layer-0", "layer-1", "layer-2"))
    furnish(bottom / "image")
    for path in ("kept/below", "deleted/below", "replaced/below", "a-file/below", "was-a-file"):
        _write(bottom / "upper" / path, b"bottom")
    _write(middle / "upper/kept/middle", b"middle")
    _write(middle / "upper/shadowed", b"middle")
    _write(top / "upper/kept/below", b"top")
    _write(top / "upper/replaced/new", b"top")
    _write(top / "upper/a-file", b"top")
    _write(top / "upper/was-a-file/now", b"top")
    if is_root():
        for whiteout in ("upper/deleted", "upper/shadowed", "upper/never-was"):
            os.mknod(top / whiteout, stat.S_IFCHR, os.makedev(0, 0))
        os.setxattr(top / "upper/replaced", opaque_mark(), b"y")
    top.chmod(0o751)
    return Image((bottom, middle, top))


def go_on(root: Path) -> None:
    """What a service does after it was seeded: a little of everything, all over a tree made from `make_image`."""
    for number, spoiling in enumerate(SPOILINGS.values()):
        furnish(root / f"own-{number}")
        spoiling(root / f"own-{number}")
    for spoiling in (append, change_modes, change_xattrs, rename_file, recreate_folder, delete_pipe):
        spoiling(root / "image")


# --- ways to ruin what `furnish` made


def delete_file(place: Path) -> None:
    (place / "plain").unlink()


def delete_folder(place: Path) -> None:
    shutil.rmtree(place / "folder")


def overwrite(place: Path) -> None:
    (place / "database").write_bytes(b"garbage" * 1000)


def change_in_the_middle(place: Path) -> None:
    with (place / "database").open("r+b") as file:
        file.seek(5000)
        file.write(b"one page changed")


def append(place: Path) -> None:
    with (place / "plain").open("ab") as file:
        file.write(b"more")


def truncate(place: Path) -> None:
    os.truncate(place / "database", 100)


def grow_a_hole(place: Path) -> None:
    os.truncate(place / "plain", 1 << 20)


def fill_a_hole(place: Path) -> None:
    (place / "sparse").write_bytes(b"\0" * (4 << 20))


def rename_file(place: Path) -> None:
    (place / "plain").rename(place / "renamed")


def rename_over(place: Path) -> None:
    (place / "plain").rename(place / "database")


def rename_folder(place: Path) -> None:
    shutil.move(
        place / "folder", place / "moved"
    )  # an overlay refuses to rename a directory from below: then it is copied


def recreate_folder(place: Path) -> None:
    shutil.rmtree(place / "folder")
    _write(place / "folder/only", b"new")


def file_becomes_folder(place: Path) -> None:
    (place / "plain").unlink()
    _write(place / "plain/inside", b"new")


def folder_becomes_file(place: Path) -> None:
    shutil.rmtree(place / "folder")
    (place / "folder").write_bytes(b"a file now")


def folder_becomes_link(place: Path) -> None:
    shutil.rmtree(place / "folder")
    (place / "folder").symlink_to("/etc")


def point_link_elsewhere(place: Path) -> None:
    (place / "link").unlink()
    (place / "link").symlink_to("/etc/shadow")


def write_through_link(place: Path) -> None:
    (place / "link").write_bytes(b"through the link")


def part_hard_links(place: Path) -> None:
    (place / "pair-a").unlink()
    (place / "pair-a").write_bytes(b"not the same file any more")


def write_through_hard_link(place: Path) -> None:
    (place / "pair-b").write_bytes(b"through the other name")


def add_hard_link(place: Path) -> None:
    os.link(place / "plain", place / "third-name")


def change_modes(place: Path) -> None:
    (place / "program").chmod(0o600)
    (place / "folder").chmod(0o700)


def change_times(place: Path) -> None:
    os.utime(place / "plain", ns=(1, 1))
    os.utime(place / "folder", ns=(2, 2))
    os.utime(place / "link", ns=(3, 3), follow_symlinks=False)


def change_xattrs(place: Path) -> None:
    os.setxattr(place / "tagged", "user.colour", b"red")
    os.removexattr(place / "tagged", "user.gone")
    os.setxattr(place / "plain", "user.new", b"1")
    os.removexattr(place / "folder", "user.folder")


def delete_pipe(place: Path) -> None:
    (place / "pipe").unlink()


def add_things(place: Path) -> None:
    _write(place / "folder/three/added/deep/down", b"new")
    os.mkfifo(place / "new-pipe")
    (place / "new-link").symlink_to("nowhere")
    _make_socket(place / "folder/new-socket")


def delete_everything(place: Path) -> None:
    (place / "read-only").chmod(0o755)
    shutil.rmtree(place)


def change_owners(place: Path) -> None:
    for name in ("plain", "folder", "link"):
        os.chown(place / name, 7, 8, follow_symlinks=False)


def delete_devices(place: Path) -> None:
    (place / "null").unlink()
    os.mknod(place / "null", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    (place / "disk").unlink()


def drop_capabilities(place: Path) -> None:
    os.removexattr(place / "capable", "security.capability")


EVERYBODY = (
    delete_file,
    delete_folder,
    overwrite,
    change_in_the_middle,
    append,
    truncate,
    grow_a_hole,
    fill_a_hole,
    rename_file,
    rename_over,
    rename_folder,
    recreate_folder,
    file_becomes_folder,
    folder_becomes_file,
    folder_becomes_link,
    point_link_elsewhere,
    write_through_link,
    part_hard_links,
    write_through_hard_link,
    add_hard_link,
    change_modes,
    change_times,
    change_xattrs,
    delete_pipe,
    add_things,
    delete_everything,
)
ROOT_ONLY = (change_owners, drop_capabilities, *(() if confined() else (delete_devices,)))

SPOILINGS: dict[str, Callable[[Path], None]] = {
    spoiling.__name__: spoiling for spoiling in (*EVERYBODY, *(ROOT_ONLY if is_root() else ()))
}
"""Each takes a place that `furnish` made and changes what can be seen of it; by name."""


# --- one of everything


def _make_files(place: Path) -> None:
    for name, content in {"plain": b"plain text", "database": DATABASE, "empty": b"", "private": b"secret"}.items():
        (place / name).write_bytes(content)
    (place / "private").chmod(0o600)
    (place / "program").write_bytes(b"#!/bin/sh\n")
    (place / "program").chmod(0o4755)
    (place / "tagged").write_bytes(b"")
    for name, value in {"user.colour": b"blue", "user.gone": b"", "user.binary": bytes(range(256))}.items():
        os.setxattr(place / "tagged", name, value)
    with (place / "sparse").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"an island")
        file.truncate(4 << 20)


def _make_folders(place: Path) -> None:
    for path in (
        "folder/one",
        "folder/two",
        "folder/three/deep/file",
        "read-only/inside",
        "sticky/inside",
        "group/inside",
    ):
        _write(place / path, path.encode())
    (place / "folder/empty").mkdir()
    os.setxattr(place / "folder", "user.folder", b"yes")
    for name, mode in {"read-only": 0o555, "sticky": 0o1777, "group": 0o2775, "folder/two": 0o640}.items():
        (place / name).chmod(mode)
    for name in ODD_NAMES:
        _write(place / "odd" / name, name.encode("utf-8", "surrogateescape"))


def _make_specials(place: Path) -> None:
    (place / "link").symlink_to("plain")
    (place / "dangling").symlink_to("/nowhere/at all")
    (place / "to-a-folder").symlink_to("folder")
    os.mkfifo(place / "pipe", 0o640)
    _make_socket(place / "socket")
    (place / "pair-a").write_bytes(b"one file, three names")
    os.link(place / "pair-a", place / "pair-b")
    os.link(place / "pair-a", place / "folder/three/pair-c")
    os.link(place / "dangling", place / "dangling-too", follow_symlinks=False)


def _make_what_takes_root(place: Path) -> None:
    (place / "capable").write_bytes(b"ping")
    for name in ("plain", "database", "capable", "folder", "link", "pipe", "pair-a"):
        os.chown(place / name, OWNER, OWNER + 5, follow_symlinks=False)
    (place / "program").chmod(0o6755)  # a change of owner would have cleared it
    # linux/capability.h: version 3, effective, CAP_NET_RAW permitted, for the user namespace whose root is OWNER
    os.setxattr(place / "capable", "security.capability", struct.pack("<6I", 0x03000001, 1 << 13, 0, 0, 0, OWNER))
    if not confined():
        _make_devices(place)


def _make_devices(place: Path) -> None:
    os.mknod(place / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(place / "disk", stat.S_IFBLK | 0o660, os.makedev(7, 99))


def _make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        # By way of a descriptor: the address of a socket may have no more than 107 bytes.
        directory = os.open(path.parent, os.O_PATH)
        try:
            listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)


def _age(place: Path) -> None:
    """Old times on everything, all different; from the leaves up, as entries change their directory's."""
    for number, (directory, folders, files) in enumerate(os.walk(place, topdown=False)):
        for offset, name in enumerate(sorted([*folders, *files])):
            set_time(Path(directory, name), LONG_AGO + number * 1_000_000_000_000 + offset * 1_000_000_001)
    set_time(place, LONG_AGO)


def set_time(path: Path, time: int) -> None:
    os.utime(path, ns=(time + 1, time), follow_symlinks=False)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
