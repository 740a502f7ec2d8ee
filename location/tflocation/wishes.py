"""What a client may wish for: the checks of a container's and a volume's description that need no look at anything else.

The SDK checks the same for its user's comfort; this is where it is enforced. Pure.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Sequence

from tfcore.errors import BadRequest
from tfcore.tags import check_tag
from tfcore.wire.containers import ContainerWish, Mount

RESERVED = ("/proc", "/sys", "/dev")
"""Where nothing can be mounted: the container's runtime does."""


def check_wish(wish: ContainerWish, *, tag: str) -> None:
    """Refuse what no node could make.

    Raises:
        BadTag, BadRequest: the message names the field.
    """
    check_tag(tag)
    for name, _ in wish.env:
        if not name or "=" in name or "\0" in name:
            raise BadRequest(f"{name!r} cannot be the name of an environment variable")
    for path, _ in wish.pre_boot_files:
        check_path(path, what="pre-boot file")
    if not 0 <= wish.limits.cpus < math.inf or wish.limits.pids < 0:
        raise BadRequest(f"limits of {wish.limits.cpus} cores and {wish.limits.pids} processes make no sense")
    check_mounts(wish.mounts)


def check_path(path: str, *, what: str) -> str:
    """The path in its shortest form, if it is absolute and stays inside. Raises `BadRequest` if not."""
    if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise BadRequest(f"{what}: {path[:200]!r} is not an absolute path inside the container")
    return "/" + posixpath.normpath(path).strip("/")


def check_mounts(mounts: Sequence[Mount]) -> None:
    """Refuse mount points that cannot be, and those of which one lies inside another (seed 002, Volumes)."""
    paths = [check_path(mount.path, what="mount point") for mount in mounts]
    for path in paths:
        if path == "/" or any(inside(path, reserved) for reserved in RESERVED):
            raise BadRequest(f"a volume cannot be mounted on {path}")
    for index, one in enumerate(paths):
        for other in paths[index + 1 :]:
            if inside(one, other) or inside(other, one):
                raise BadRequest(f"the mount points {one} and {other} overlap")
    volumes = [mount.volume for mount in mounts]
    for volume in set(volumes):
        if volumes.count(volume) > 1:
            raise BadRequest(f"volume {volume} is mounted more than once in this container")


def inside(path: str, parent: str) -> bool:
    """True if `path` is `parent` or lies below it."""
    return path == parent or path.startswith(parent + "/")
