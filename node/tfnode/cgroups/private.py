"""The agent's own mounts of the control group trees: those its launcher has, in an order the OCI runtime can work with.

What is mounted decides, not what the kernel has: launcher, keeper and `tf-node check` look at the same mounts, and what
the agent made elsewhere they would neither end nor remove. Knows nothing of groups.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from tfnode.cgroups.layout import ROOT, Layout, see
from tfnode.kernel.mounts import MS_NODEV, MS_NOEXEC, MS_NOSUID, Attribute, attach, forbid, mount, open_bind

log = logging.getLogger(__name__)

PLAIN = MS_NOSUID | MS_NODEV | MS_NOEXEC
NO_MORE = Attribute.NOSUID | Attribute.NODEV | Attribute.NOEXEC


@contextlib.contextmanager
def private_hierarchies(root: Path = ROOT) -> Iterator[None]:
    """Have on `root` after the block what was there before it: every v1 hierarchy and nothing else, or the v2 tree.

    In the block /sys may be mounted anew, with all that is below it gone. A `cgroup2` beside version 1 is left out: crun
    1.8 refuses the mixture. Where nothing was mounted nothing will be; `open_node_group` then says what that means.

    They are the same mounts again, cloned, and no new ones: the options of a `cgroup2` (nsdelegate, memory_recursiveprot)
    are the whole machine's, and whoever mounts it anew without them takes them from everybody (tried on 6.18).

    Only for a private mount namespace. A hierarchy that the kernel does not let us have is left out and logged.
    """
    with contextlib.ExitStack() as held:
        clones = list(_clones(see(root), held))
        yield
        if any(directory for directory, _ in clones):
            mount("tmpfs", root, "tmpfs", PLAIN, "mode=755,size=64k")
        for directory, fd in clones:
            _attach(fd, root, directory)


def _clones(seen: Layout, held: contextlib.ExitStack) -> Iterator[tuple[str, int]]:
    """For each hierarchy the directory below the root that it belongs on, "" for the root itself, and a mount of it."""
    places = {"": seen.unified} if seen.unified else v1_places(seen)
    for directory, point in places.items():
        try:
            fd = open_bind(point)
        except OSError as refused:
            log.warning("no control groups at %s: %s", point, refused.strerror)
            continue
        held.callback(os.close, fd)
        yield directory, fd


def v1_places(seen: Layout) -> dict[str, Path]:
    """Where each v1 hierarchy is mounted, by the directory that crun looks for it in: "memory", "cpu,cpuacct", "systemd"."""
    together: dict[Path, list[str]] = {}
    for controller, point in seen.controllers.items():
        together.setdefault(point, []).append(controller.removeprefix("name="))
    return {",".join(controllers): point for point, controllers in together.items()}


def _attach(fd: int, root: Path, directory: str) -> None:
    (root / directory).mkdir(exist_ok=True)
    forbid(fd, NO_MORE)
    attach(fd, root / directory)
    for controller in directory.split(",") if "," in directory else ():
        (root / controller).symlink_to(directory)
