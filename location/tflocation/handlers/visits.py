"""Visits: what an account has in all its sessions. What visitors may ask of it is `links.VISITS`'s affair."""

from __future__ import annotations

from tfcore.rpc.dispatcher import Call
from tfcore.wire.visits import ContainersListed, ContainerSummary, ListContainers
from tflocation.holdings import Container
from tflocation.location import Location


async def list_containers(location: Location, call: Call, _message: ListContainers) -> ContainersListed:
    """The account's, whichever of its sessions has them."""
    mine = [one for one in location.holdings.containers.values() if one.account == call.account]
    ordered = sorted(mine, key=lambda one: (one.created, one.id))
    return ContainersListed(containers=tuple(_summary(location, one) for one in ordered))


def _summary(location: Location, container: Container) -> ContainerSummary:
    session = location.sessions.get(container.session)
    return ContainerSummary(
        id=container.id,
        session=container.session,
        program=session.record.program if session else "",
        node=container.node,
        image=container.image,
        tag=container.tag,
        address=container.address,
        created=container.created,
        lost=container.id in location.holdings.ended,
    )
