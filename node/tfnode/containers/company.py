"""Whether a container may have a second generation that boots in the middle of a test, in view of who else is there.

Pure but for looking things up.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from tfnode.containers.ahead import Fellows
from tfnode.containers.container import Container
from tfnode.containers.life import FRESH
from tfnode.containers.table import Table
from tfnode.network.linux import LinuxNetwork
from tfnode.volumes.volumes import Volumes


def reasons_against(
    container: Container, fellows: Fellows, table: Table, volumes: Volumes, network: LinuxNetwork
) -> str:
    """Why not; "" if nothing speaks against it.

    Args:
        fellows: those that roll back as one with it: their generations boot among themselves.

    A volume that another container has mounted as well is one for both: a generation that writes to a tree of its own
    would part them. A container that may be talked to and has snapshots of its own rolls back as well: what a spare
    said to it in the middle of a test would be seen in that test, or be forgotten with it; unless it says that to the
    other's spare.
    """
    for mount in container.wish.mounts:
        others = {user for user, _ in volumes.get(mount.volume).users} - {container.id}
        if others:
            return f"volume {mount.volume} is shared with {', '.join(sorted(others))}"
    partners = network.partners(IPv4Address(container.address))
    for other in table:
        rolls_back = other.id not in fellows and bool(other.moments.keys() - {FRESH})
        if rolls_back and IPv4Address(other.address) in partners:
            return f"it may talk to {other.id}, which rolls back as well"
    return ""
