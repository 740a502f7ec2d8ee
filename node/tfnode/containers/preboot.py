"""What is written into a container's root before its first process: the user's files and its own identity.

Identity files are part of the tree, not bind mounts, so that a rollback covers them too (DESIGN D9.1).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from tfcore.wire.nodes import BootContainer
from tfnode.containers.files import put
from tfnode.images.shift import IdShift
from tfnode.kernel.paths import open_root, read_in_root

LONGEST = 1 << 20
"""Bytes of an /etc/hosts that is looked into."""

HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{address}\t{name}\n"


def write_pre_boot(root: Path, boot: BootContainer, ids: IdShift, resolv_conf: bytes) -> None:
    """Write /etc/hostname, /etc/hosts, /etc/resolv.conf and then the user's files into the tree mounted at `root`.

    Raises:
        BadRequest: a path cannot be written to; the message names it.
    """
    name = hostname_of(boot)
    identity = (
        ("/etc/hostname", f"{name}\n".encode()),
        ("/etc/hosts", HOSTS.format(address=boot.address, name=name).encode()),
        ("/etc/resolv.conf", resolv_conf),
    )
    fd = open_root(root)
    try:
        for path, content in (*identity, *boot.wish.pre_boot_files):
            put(fd, path, [content], ids=ids)
    finally:
        os.close(fd)


def write_identity(root: Path, boot: BootContainer, ids: IdShift, resolv_conf: bytes) -> None:
    """The same into the files of a kept snapshot: it has all but its address, and its node's name servers may be others.

    Of /etc/hosts only the line with the host name is written anew; without one it stays as it is. What is right already is
    not touched.

    Raises:
        BadRequest: a path cannot be written to; the message names it.
    """
    fd = open_root(root)
    try:
        _change(fd, "/etc/resolv.conf", lambda _: resolv_conf, ids)
        _change(fd, "/etc/hosts", lambda hosts: moved(hosts, hostname_of(boot), boot.address), ids)
    finally:
        os.close(fd)


def _change(root: int, path: str, change: Callable[[bytes], bytes], ids: IdShift) -> None:
    with contextlib.suppress(OSError):  # it is not there, or is no file: as its user wanted it
        was = read_in_root(root, path, LONGEST)
        if (new := change(was)) != was:
            put(root, path, [new], ids=ids)


def moved(hosts: bytes, name: str, address: str) -> bytes:
    """An /etc/hosts in which the lines of this name have another address."""
    lines = hosts.splitlines(keepends=True)
    return b"".join(f"{address}\t{name}\n".encode() if line.split()[1:] == [name.encode()] else line for line in lines)


def name_servers(resolv_conf: str) -> bytes:
    """The host's resolv.conf for a container: servers on the host's loopback cannot be reached from there."""
    lines = [line for line in resolv_conf.splitlines() if not _on_loopback(line)]
    return "".join(f"{line}\n" for line in lines).encode()


def asking(server: str, resolv_conf: str) -> bytes:
    """The host's resolv.conf for a container that asks `server` instead of those in it."""
    lines = [line for line in resolv_conf.splitlines() if line.split()[:1] != ["nameserver"]]
    return "".join(f"{line}\n" for line in [f"nameserver {server}", *lines]).encode()


def _on_loopback(line: str) -> bool:
    words = line.split()
    return len(words) >= 2 and words[0] == "nameserver" and (words[1].startswith("127.") or words[1] == "::1")


def hostname_of(boot: BootContainer) -> str:
    """What the container calls itself: as wished, else the beginning of its id."""
    return boot.wish.hostname or boot.container[2:14].lower()
