"""Who a container's process runs as: Docker's `User` looked up in the container's own account files.

`find_account` is pure; `read_account_files` reads them without following a link out of the root. The rules are Docker's
(moby/sys `user.GetExecUser`): the first matching line counts, an id needs no line, supplementary groups only if no group
was named.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tfcore.errors import BadImage, BadRequest
from tfnode.kernel import paths

FILE_LIMIT = 4 * 1024 * 1024
"""Bytes of an account file; the largest of real systems have some hundred thousand."""


@dataclass(frozen=True)
class Account:
    """Ids as inside the container, where its home is there, and what its shell is; empty if no line says so."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"
    shell: str = ""

    @property
    def is_root(self) -> bool:
        """Only root gets capabilities."""
        return self.uid == 0


@dataclass(frozen=True)
class AccountFiles:
    """The texts of /etc/passwd and /etc/group; empty where there is none."""

    passwd: str = ""
    group: str = ""


@dataclass(frozen=True)
class _User:
    name: str
    uid: int
    gid: int
    home: str
    shell: str


@dataclass(frozen=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def read_account_files(rootfs: Path) -> AccountFiles:
    """The account files of the root file system at `rootfs`.

    Raises:
        BadImage: one of them is no ordinary file, or far too long.
    """
    root = paths.open_root(rootfs)
    try:
        return AccountFiles(_read(root, "/etc/passwd"), _read(root, "/etc/group"))
    finally:
        os.close(root)


def _read(root: int, path: str) -> str:
    try:
        return paths.read_in_root(root, path, FILE_LIMIT).decode("utf-8", "surrogateescape")
    except OSError as unusable:
        if unusable.errno in (errno.ENOENT, errno.ENOTDIR):
            return ""
        raise BadImage(f"the image's {path} cannot be used: {unusable.strerror}") from unusable


def find_account(user: str, files: AccountFiles) -> Account:
    """The account that `user` means.

    Args:
        user: "", "name", "id", and each with ":group" or ":id" behind it.
        files: the container's own.

    Raises:
        BadRequest: no such user or group, or an id out of range.
    """
    who, _, group = user.partition(":")
    known = next((line for line in _users(files.passwd) if _is_user(line, who)), None)
    uid = known.uid if known else _id(who or "0", "user", "passwd")
    account = Account(
        uid, known.gid if known else 0, (), (known.home if known else "") or "/", known.shell if known else ""
    )
    groups = list(_groups(files.group))
    if group:
        named = next((line for line in groups if group in (line.name, str(line.gid))), None)
        return replace(account, gid=named.gid if named else _id(group, "group", "group"))
    if known is None:
        return account
    extra = dict.fromkeys(line.gid for line in groups if known.name in line.members and line.gid != account.gid)
    return replace(account, groups=tuple(extra))


def _is_user(line: _User, who: str) -> bool:
    return who in (line.name, str(line.uid)) if who else line.uid == 0


def _id(text: str, what: str, file: str) -> int:
    if not _is_number(text):
        raise BadRequest(f"no {what} {text!r} in the container's /etc/{file}", hint="use a name from there, or an id")
    return int(text)


def _users(passwd: str) -> Iterator[_User]:
    for fields in _lines(passwd, 4):
        if fields[0] and _is_number(fields[2]) and _is_number(fields[3]):
            home, shell = [*fields[5:7], "", ""][:2]
            yield _User(fields[0], int(fields[2]), int(fields[3]), home, shell)


def _groups(group: str) -> Iterator[_Group]:
    for fields in _lines(group, 3):
        if fields[0] and _is_number(fields[2]):
            members = fields[3] if len(fields) > 3 else ""
            yield _Group(fields[0], int(fields[2]), tuple(name.strip() for name in members.split(",") if name.strip()))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _lines(text: str, fields: int) -> Iterator[list[str]]:
    """The lines of an account file that have at least `fields` fields; comments and leftovers skipped."""
    for line in text.splitlines():
        parts = [part.strip() for part in line.strip().split(":")]
        if len(parts) >= fields and not line.startswith("#"):
            yield parts
