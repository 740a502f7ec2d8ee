"""Which id on disk stands for which id inside a container.

Containers run in user namespaces whose id 0 is an ordinary id of the host (PLATFORM.md 3), so everything a container shall
own is stored shifted. Knows nothing of files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from tfcore.errors import BadRequest

FIRST_ID = 100_000
ID_COUNT = 65_536
NOBODY = 65_534
"""What the kernel shows for an id that a user namespace has not (/proc/sys/kernel/overflowuid)."""


@dataclass(frozen=True)
class IdShift:
    """The range of ids a container has, and where it begins on disk. Where it has only one, all are that one.

    Args:
        uid_base: the user id on disk of the container's root.
        gid_base: the same for groups.
        count: how many ids the container has: 0 up to `count` - 1.
    """

    uid_base: int = FIRST_ID
    gid_base: int = FIRST_ID
    count: int = ID_COUNT

    @property
    def is_single(self) -> bool:
        """True if a container has no other id than its root's: whatever it shall own is root's, and all run as root."""
        return self.count == 1

    def uid(self, inside: int) -> int:
        """The user id on disk of the container's user `inside`.

        Raises:
            BadRequest: the container has no such user.
        """
        return self.uid_base + self._checked("user", inside)

    def gid(self, inside: int) -> int:
        """The group id on disk of the container's group `inside`.

        Raises:
            BadRequest: the container has no such group.
        """
        return self.gid_base + self._checked("group", inside)

    def inside(self, status: os.stat_result) -> tuple[int, int]:
        """Owner and group of a file on disk, as the container sees them: 65534 for what is none of its own."""
        return (
            _back(status.st_uid - self.uid_base, self.count),
            _back(status.st_gid - self.gid_base, self.count),
        )

    def _checked(self, what: str, inside: int) -> int:
        if self.is_single:
            return 0
        if not 0 <= inside < self.count:
            raise BadRequest(f"{what} id {inside} is outside 0 … {self.count - 1}, the ids a container has")
        return inside


def _back(inside: int, count: int) -> int:
    return inside if 0 <= inside < count else NOBODY
