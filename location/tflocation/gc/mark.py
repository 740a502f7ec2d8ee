"""What a node should have, against what it says it has. Pure: sets in, verdict out.

Roots are the open sessions, persistent volumes, and kept snapshots. What they reach stays. Of the rest, what belongs to a
session that has ended is freed by that session's path; containers nobody knows are ended; kept snapshots nobody knows were
forgotten while the node was away, and go; volumes nobody knows are left alone, because data whose owner was forgotten cannot
be had back.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass

from tflocation.holdings import Container, Volume
from tflocation.kept.shelf import Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be done about one node.

    Attributes:
        end: ids of containers there that nobody knows, those included of which only the storage is left.
        gone: containers of open sessions that it has not.
        back: ids of containers of open sessions that it has.
        lost: ids of volumes that should be there and are not.
        strangers: ids of volumes there that nobody knows.
        owed: ids of ended sessions that still have something there.
        unkept: ids of kept snapshots that should be there and are not.
        unwanted: ids of kept snapshots there that nobody knows.
    """

    end: tuple[str, ...]
    gone: tuple[Container, ...]
    back: tuple[str, ...]
    lost: tuple[str, ...]
    strangers: tuple[str, ...]
    owed: tuple[str, ...]
    unkept: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()


def mark(
    containers: Collection[Container],
    volumes: Collection[Volume],
    *,
    has_containers: Set[str],
    has_dormant: Set[str] = frozenset(),
    has_volumes: Set[str],
    open_sessions: Set[str],
    unborn: Set[str] = frozenset(),
    kept: Collection[Kept] = (),
    has_kept: Set[str] = frozenset(),
) -> Verdict:
    """Compare.

    Args:
        containers, volumes, kept: what the location knows of this node; forgotten snapshots it does not.
        has_containers, has_dormant, has_volumes, has_kept: the node's inventory, ids; of the dormant only the storage is
            left.
        open_sessions: ids.
        unborn: containers the node has been asked to make and has not answered for yet.
    """
    known = {container.id for container in containers}
    alive = [container for container in containers if container.session in open_sessions]
    owners = [c.session for c in containers] + [v.session for v in volumes if not v.persistent]
    reachable = [volume for volume in volumes if volume.persistent or volume.session in open_sessions]
    return Verdict(
        end=tuple(sorted((has_containers | has_dormant) - known)),
        gone=tuple(c for c in alive if c.id not in has_containers and c.id not in unborn),
        back=tuple(c.id for c in alive if c.id in has_containers),
        lost=tuple(v.id for v in reachable if v.id not in has_volumes and v.id not in unborn),
        strangers=tuple(sorted(has_volumes - {volume.id for volume in volumes})),
        owed=tuple(owner for owner in dict.fromkeys(owners) if owner not in open_sessions),
        unkept=tuple(k.id for k in kept if k.state == "kept" and k.id not in has_kept),
        unwanted=tuple(sorted(has_kept - {k.id for k in kept})),
    )
