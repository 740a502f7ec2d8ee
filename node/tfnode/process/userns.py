"""An ordinary user becomes root, of a user namespace of their own: the first thing `tf-node serve` does if it is not root.

    inside         outside
    0              the user: what the agent makes on disk is theirs
    1 … count      the user's subordinate ids (subuid(5)), handed over by newuidmap and newgidmap of the package uidmap

Containers get the latter (`container_ids`), so that nothing in them is the user. Where there are none, 0 is the only id
there is, and containers run as it. From there on everything is done as root does it; what the kernel refuses even so is
told by those it is refused to. Nothing here is setuid but the distribution's two programs.
"""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tfcore.errors import HostLacks
from tfnode.host_user import IDS, NO_IDS, why_no_user_namespace
from tfnode.images.shift import ID_COUNT, IdShift
from tfnode.kernel.confinement import Extent, confined, roomiest_extent
from tfnode.process import kernel

log = logging.getLogger(__name__)

PROGRAMS = ("newuidmap", "newgidmap")
FILES = ("/etc/subuid", "/etc/subgid")

SECONDS = 10.0
"""How long the two programs may take; they take milliseconds."""

ONE_ID = f"{NO_IDS.rstrip('.')} ({IDS})."

_HAND_OVER = 'read go && newuidmap "$1" 0 "$2" 1 1 "$4" "$5" && newgidmap "$1" 0 "$3" 1 1 "$6" "$7"'
"""Run by a shell that stays outside, since the two want to be started there."""


@dataclass(frozen=True)
class Range:
    """Subordinate ids that are one user's: `count` from `start` on."""

    start: int
    count: int


@dataclass(frozen=True)
class Subordinate:
    """The ranges an ordinary user may map."""

    users: Range
    groups: Range


def become_root() -> None:
    """Be root of a user namespace from now on; nothing happens if this is root already. For a process with one thread.

    Raises:
        HostLacks: the machine has no user namespaces for this user; the message says why and what to do.
    """
    if os.geteuid() == 0:
        return
    ids = subordinate()
    try:
        _enter(ids)
    except OSError as refused:
        message, hint = why_no_user_namespace(refused)
        raise HostLacks(message, hint=hint) from refused


def subordinate() -> Subordinate | None:
    """The ids this user has beside their own; None if there are none, or no programs to map them."""
    if not all(shutil.which(program) for program in PROGRAMS):
        return None
    names = (str(os.getuid()), _own_name())
    found = [largest(_text(file), names) for file in FILES]
    users, groups = found
    return Subordinate(users, groups) if users and groups else None


def largest(text: str, names: Iterable[str]) -> Range | None:
    """The largest of the ranges that a file as /etc/subuid gives to one of `names`; what is no range is passed over."""
    ranges = []
    for line in text.splitlines():
        name, _, numbers = line.strip().partition(":")
        start, _, count = numbers.partition(":")
        if name in names and start.isdecimal() and count.isdecimal() and int(count) > 0:
            ranges.append(Range(int(start), int(count)))
    return max(ranges, key=lambda one: one.count, default=None)


def container_ids(base: int, uid_map: str | None = None, gid_map: str | None = None) -> IdShift:
    """The ids that containers have here.

    Args:
        base: the first of them, where ids are the machine's own.
        uid_map: the text of /proc/self/uid_map; read by default.
        gid_map: likewise for groups.
    """
    uid_map = Path("/proc/self/uid_map").read_text() if uid_map is None else uid_map
    gid_map = Path("/proc/self/gid_map").read_text() if gid_map is None else gid_map
    if not confined(uid_map):
        return IdShift(base, base)
    users, groups = (_beside_root(roomiest_extent(id_map)) for id_map in (uid_map, gid_map))
    return IdShift(users.inside, groups.inside, min(users.count, groups.count, ID_COUNT))


def notes_about(ids: IdShift) -> tuple[str, ...]:
    """What is to be said about the ids that containers have."""
    return (ONE_ID,) if ids.is_single else ()


def surmise(ids: IdShift) -> str:
    """What may be the reason that a container has ended; empty if nothing suggests itself."""
    return f"; {ONE_ID.rstrip('.')}" if ids.is_single else ""


def _beside_root(extent: Extent) -> Extent:
    """Containers have 0, which is the agent's own id, only where there is no other."""
    if extent.inside or extent.count == 1:
        return extent
    return Extent(1, extent.outside + 1, extent.count - 1)


def _enter(ids: Subordinate | None) -> None:
    uid, gid = os.getuid(), os.getgid()
    if ids is None:
        kernel.unshare(kernel.CLONE_NEWUSER)
        _map_alone(uid, gid)
    else:
        _map_with_programs(uid, gid, ids)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _map_alone(uid: int, gid: int) -> None:
    """A process may map its own id; its group only when it has given up setgroups(2) (user_namespaces(7))."""
    own = Path("/proc/self")
    (own / "setgroups").write_text("deny")
    (own / "uid_map").write_text(f"0 {uid} 1\n")
    (own / "gid_map").write_text(f"0 {gid} 1\n")


def _map_with_programs(uid: int, gid: int, ids: Subordinate) -> None:
    numbers = (os.getpid(), uid, gid, ids.users.start, ids.users.count, ids.groups.start, ids.groups.count)
    with subprocess.Popen(
        ["sh", "-c", _HAND_OVER, "sh", *map(str, numbers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as outside:
        try:
            kernel.unshare(kernel.CLONE_NEWUSER)
            _, words = outside.communicate(b"\n", timeout=SECONDS)
        except subprocess.TimeoutExpired as late:
            raise HostLacks(f"newuidmap has not answered within {SECONDS:g} s") from late
        finally:
            outside.kill()
    if outside.returncode != 0:
        raise HostLacks(
            f"the user's subordinate ids cannot be mapped: {words.decode('utf-8', 'replace').strip()}",
            hint="look at /etc/subuid and /etc/subgid; newuidmap and newgidmap must be setuid, as uidmap has them",
        )


def _own_name() -> str:
    with suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_name
    return ""


def _text(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError:
        return ""
