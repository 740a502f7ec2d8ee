"""Turns root file systems (tar archives) into image layers: slimmed, and as the difference to the layer below.

Works on the archives alone, unpacks nothing and needs no rights. Knows nothing of packages or of image configuration.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Sequence
from copy import copy
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from recipes import Added

WHITEOUT = ".wh."  # OCI image specification, layer.md: "whiteouts"

NOT_IN_AN_IMAGE = (
    # What the runtime provides.
    "dev/*",
    "proc/*",
    "run/*",
    "sys/*",
    "tmp/*",
    # What belongs to the machine that built it.
    "etc/apt/*",
    "etc/hostname",
    "etc/hosts",
    "etc/machine-id",
    "etc/resolv.conf",
    "var/cache/*",
    "var/lib/apt/*",
    "var/log/*.log",
    "var/log/apt",
    "var/log/lastlog",
    "var/log/faillog",
    # What nobody reads in a container. Copyright files stay.
    "usr/share/doc/*/*.gz",
    "usr/share/doc/*/[!c]*",
    "usr/share/doc/*/c[!o]*",
    "usr/share/bash-completion",
    "usr/share/i18n",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    # The full Perl comes along as a dependency of maintainer scripts; perl-base stays.
    "usr/share/perl",
    "usr/share/perl5",
    "usr/lib/*/perl",
    "usr/lib/*/perl5",
    "usr/lib/*/libperl.so*",
)


class RootFileSystem:
    """The members of one archive that belong in an image, by path without a leading "./"."""

    def __init__(self, archive: tarfile.TarFile, *, drop: Sequence[str] = ()) -> None:
        self.archive = archive
        patterns = NOT_IN_AN_IMAGE + tuple(drop)
        self.members: dict[str, tarfile.TarInfo] = {}
        for member in archive:
            path = member.name.removeprefix("./").rstrip("/")
            if path not in ("", ".") and not dropped(path, patterns):
                self.members[path] = member

    def content(self, member: tarfile.TarInfo) -> bytes:
        """The bytes of a regular file, or of the file a hard link names; empty for everything else."""
        if not (member.isreg() or member.islnk()):
            return b""
        stream = self.archive.extractfile(member)
        return stream.read() if stream else b""

    def fingerprint(self, path: str) -> tuple[object, ...]:
        """Everything about a path that a layer records, except its times: they alone are no reason to store it anew."""
        member = self.members[path]
        facts = (member.type, member.mode, member.uid, member.gid, member.linkname, member.devmajor, member.devminor)
        return (*facts, hashlib.sha256(self.content(member)).digest(), extended_attributes(member))

    def read_text(self, path: str) -> str:
        return self.content(self.members[path]).decode()


def dropped(path: str, patterns: Iterable[str]) -> bool:
    """Whether the path or a directory above it matches; a `*` stands for part of one name only, as in a shell."""
    parts = PurePosixPath(path).parts
    return any(begins_with(parts, pattern.split("/")) for pattern in patterns)


def begins_with(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    return len(parts) >= len(patterns) and all(map(fnmatchcase, parts, patterns))


def extended_attributes(member: tarfile.TarInfo) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(item for item in member.pax_headers.items() if item[0].startswith("SCHILY.xattr.")))


def changed_paths(below: RootFileSystem, above: RootFileSystem) -> set[str]:
    """The paths of `above` that `below` has not, or has otherwise."""
    return {
        path
        for path in above.members
        if path not in below.members or above.fingerprint(path) != below.fingerprint(path)
    }


def parents(path: str) -> list[str]:
    """The directories above a path, outermost first."""
    return [str(parent) for parent in reversed(PurePosixPath(path).parents) if str(parent) != "."]


def removed_paths(below: RootFileSystem, above: RootFileSystem) -> list[str]:
    """The paths of `below` that are gone; of a directory that is gone, only the directory itself."""
    gone = {path for path in below.members if path not in above.members}
    return [path for path in below.members if path in gone and not gone.intersection(parents(path))]


def write_base(target: Path, base: RootFileSystem) -> None:
    """Write the lowest layer: everything."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as layer:
        for path in base.members:
            copy_member(layer, base, path, present=base.members)


def write_difference(target: Path, below: RootFileSystem, above: RootFileSystem, added: Sequence[Added]) -> None:
    """Write the layer that turns `below` into `above` with the `added` paths over it.

    The directories of whatever changes come along even when they are unchanged: an unpacker that has to make them up
    gives them an owner and a mode of its own, and these would hide the right ones of the layer below.
    """
    overlaid = {item.path for item in added}
    changed = changed_paths(below, above) - overlaid
    removed = [path for path in removed_paths(below, above) if path not in overlaid]
    holding = {parent for path in (*changed, *removed, *overlaid) for parent in parents(path)}
    users = owners(above.read_text("etc/passwd"))
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as layer:
        for path in above.members:
            if path in changed or path in holding:
                copy_member(layer, above, path, present=changed)
        for path in removed:
            layer.addfile(whiteout(path))
        for item in added:
            layer.addfile(*added_member(item, users[item.owner]))


def copy_member(layer: tarfile.TarFile, source: RootFileSystem, path: str, *, present: Iterable[str]) -> None:
    """Copy one member, numbers for owners only. A hard link whose target is not in this layer becomes a file."""
    member = source.members[path]
    content = io.BytesIO(source.content(member))
    entry = copy(member)
    entry.name, entry.uname, entry.gname = path, "", ""
    entry.pax_headers = dict(extended_attributes(member))
    if member.islnk():
        entry.linkname = member.linkname.removeprefix("./")
        if entry.linkname not in present:
            entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", len(content.getvalue())
    layer.addfile(entry, content if entry.isreg() else None)


def whiteout(path: str) -> tarfile.TarInfo:
    at = PurePosixPath(path)
    return tarfile.TarInfo(str(at.with_name(WHITEOUT + at.name)))


def added_member(item: Added, owner: tuple[int, int]) -> tuple[tarfile.TarInfo, io.BytesIO]:
    entry = tarfile.TarInfo(item.path)
    entry.mode = item.mode
    entry.uid, entry.gid = owner
    if item.link is not None:
        entry.type, entry.linkname = tarfile.SYMTYPE, item.link
    elif item.content is None:
        entry.type = tarfile.DIRTYPE
    content = item.content or b""
    entry.size = len(content)
    return entry, io.BytesIO(content)


def owners(passwd: str) -> dict[str, tuple[int, int]]:
    """User and group number of every user in the text of an /etc/passwd."""
    users = (line.split(":") for line in passwd.splitlines() if line)
    return {fields[0]: (int(fields[2]), int(fields[3])) for fields in users}
