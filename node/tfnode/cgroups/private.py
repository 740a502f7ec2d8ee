"""The agent's own mounts of the control group trees.

Called in the agent's mount namespace once, after /sys was mounted anew. Knows nothing of groups.
"""

from __future__ import annotations

import logging
from pathlib import Path

from tfnode.cgroups.layout import ROOT, see
from tfnode.kernel.mounts import MS_NODEV, MS_NOEXEC, MS_NOSUID, mount

log = logging.getLogger(__name__)

MEMBERSHIP = Path("/proc/self/cgroup")
PLAIN = MS_NOSUID | MS_NODEV | MS_NOEXEC


def mount_private_hierarchies(root: Path = ROOT) -> None:
    """Mount on `root` what the OCI runtime can work with: every v1 hierarchy and nothing else, or the v2 tree.

    Which of the two the machine has is read from our own membership (cgroups(7), /proc/PID/cgroup), as `root` may be
    empty or hold anything. On a v1 machine a `cgroup2` at its side is left out: crun 1.8 refuses the mixture. On a v2
    machine nothing happens if the tree is mounted already.

    Only for a private mount namespace. A hierarchy that the kernel does not let us mount (in a user namespace) is left
    out and logged; `open_node_group` then says what that means.
    """
    if hierarchies := v1_hierarchies(MEMBERSHIP.read_text()):
        mount("tmpfs", root, "tmpfs", PLAIN, "mode=755,size=64k")
        for hierarchy in hierarchies:
            _mount_v1(root, hierarchy)
    elif see(root).unified is None:
        _mount_or_log("cgroup2", root, "cgroup2", "")


def v1_hierarchies(membership: str) -> tuple[str, ...]:
    """The v1 hierarchies named in a /proc/PID/cgroup: "memory", "cpu,cpuacct", "name=systemd"."""
    fields = (line.split(":", 2)[1] for line in membership.splitlines())
    return tuple(hierarchy for hierarchy in fields if hierarchy)


def _mount_v1(root: Path, hierarchy: str) -> None:
    """Where distributions have them: by its controllers, with a link for each of several; named ones by name."""
    directory = root / hierarchy.removeprefix("name=")
    directory.mkdir()
    options = f"none,{hierarchy}" if hierarchy.startswith("name=") else hierarchy
    if not _mount_or_log("cgroup", directory, "cgroup", options):
        directory.rmdir()
        return
    for controller in hierarchy.split(",") if "," in hierarchy else ():
        (root / controller).symlink_to(directory.name)


def _mount_or_log(source: str, target: Path, fstype: str, options: str) -> bool:
    try:
        mount(source, target, fstype, PLAIN, options)
    except OSError as refused:
        log.warning("no control groups at %s: %s", target, refused.strerror)
        return False
    return True
