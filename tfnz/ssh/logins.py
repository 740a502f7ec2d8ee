"""Which of a container's users somebody is who logs in, by its own /etc/passwd and /etc/group. Pure.

Who may log in may be anybody in the container, which is his own; so a name is a choice and no claim. A name that the
container does not know, such as one's own on this machine, means the user that the image runs as.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Login:
    """A user of the container.

    Attributes:
        user: what processes run as, as `run_process(user=)` has it; empty: as the main process.
        name: empty if nobody knows.
        home: absolute.
    """

    user: str
    name: str
    uid: int
    gid: int
    home: str

    @property
    def env(self) -> tuple[tuple[str, str], ...]:
        """What a login adds to the environment."""
        named = (("USER", self.name), ("LOGNAME", self.name)) if self.name else ()
        return (("HOME", self.home), *named)


@dataclass(frozen=True)
class _User:
    name: str
    uid: int
    gid: int
    home: str


def login(asked: str, *, passwd: str, group: str, default: str) -> Login:
    """Who somebody is that has logged in as `asked`.

    Args:
        asked: the name given to ssh.
        passwd: the container's /etc/passwd, empty if it has none. group: likewise /etc/group.
        default: the user of the main process, as an image says it: "", name, id, name:group, …
    """
    users = _users(passwd)
    found = next((user for user in users if user.name == asked), None)
    if found is not None:
        return Login(found.name, found.name, found.uid, found.gid, found.home)
    return _by_default(users, group, default)


def _by_default(users: list[_User], group: str, default: str) -> Login:
    name, _, group_name = default.partition(":")
    name = name or "0"
    found = next((user for user in users if name in (user.name, str(user.uid))), None)
    uid = found.uid if found else _number(name)
    gid = _group_id(group, group_name) if group_name else (found.gid if found else 0)
    return Login("", found.name if found else "", uid, gid, found.home if found else "/")


def _users(passwd: str) -> list[_User]:
    users = []
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) >= 7 and fields[0] and fields[2].isdigit() and fields[3].isdigit():
            home = fields[5] if fields[5].startswith("/") else "/"
            users.append(_User(fields[0], int(fields[2]), int(fields[3]), home))
    return users


def _group_id(group: str, wanted: str) -> int:
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) >= 3 and fields[0] == wanted and fields[2].isdigit():
            return int(fields[2])
    return _number(wanted)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
