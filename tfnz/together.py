"""Containers that roll back as one: snapshots of one instant, and back to them in one go.

Knows what is asked of the location, and what each container must learn of the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tfcore.errors import BadRequest
from tfcore.wire import containers as wire
from tfcore.wire.differences import LookFor
from tfnz.container import Container

if TYPE_CHECKING:
    from tfnz.location import Location


def snapshot(location: Location, containers: Iterable[Container], name: str, timeout: float) -> str:
    """See `Location.snapshot`."""
    members = _members(location, containers)
    request = wire.SnapshotTogether(containers=_ids(members), name=name)
    kept = location._call(request, target=members[0].uuid, timeout=timeout).snapshot
    for member in members:
        member._snapshot = kept
    return kept


def roll_back(
    location: Location,
    containers: Iterable[Container],
    snapshot: str | Mapping[Container, str],
    look_for: LookFor,
    timeout: float,
) -> dict[Container, wire.RolledBack]:
    """See `Location.rollback`."""
    members = _members(location, containers)
    names = tuple(_name(member, snapshot) for member in members)
    request = wire.RollBackTogether(containers=_ids(members), snapshots=names, look_for=look_for)
    with ExitStack() as booting:
        for member in members:
            booting.enter_context(member._booting())
        done = location._call(request, target=members[0].uuid, timeout=timeout)
    for member, name in zip(members, names, strict=True):
        member._snapshot = name
        member._drop_past_checkpoints()
    return dict(zip(members, done.rollbacks, strict=True))


def _members(location: Location, containers: Iterable[Container]) -> Sequence[Container]:
    """In the order in which they were spawned, in which they boot: a service that another one needs is there first."""
    wanted = list(containers)
    for one in wanted:
        if not isinstance(one, Container):
            raise BadRequest(f"{one!r} is not a Container")
    mine = list(location.containers.values())
    strangers = [one.uuid for one in wanted if one not in mine]
    if strangers or not wanted:
        whose = (
            f"{', '.join(strangers)}: not of this session, or destroyed" if strangers else "no containers were given"
        )
        raise BadRequest(whose, hint="give containers that were spawned through this Location")
    nodes = {one.node.pk: one.node for one in wanted}
    if len(nodes) > 1:
        raise BadRequest(
            f"the containers are on {len(nodes)} nodes ({', '.join(sorted(node.name for node in nodes.values()))})",
            hint="spawn what rolls back together on one node",
        )
    return [one for one in mine if one in wanted]


def _ids(members: Sequence[Container]) -> tuple[str, ...]:
    return tuple(member.uuid for member in members)


def _name(member: Container, snapshot: str | Mapping[Container, str]) -> str:
    name = snapshot if isinstance(snapshot, str) else snapshot.get(member, "")
    return name or member._snapshot
