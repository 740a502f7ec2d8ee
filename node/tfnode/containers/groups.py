"""The groups of this node: which containers were asked to go back as one. Forgotten when one of them ends."""

from __future__ import annotations

from collections.abc import Sequence

from tfnode.containers.container import Container
from tfnode.containers.group import RollbackGroup
from tfnode.containers.surroundings import Surroundings


class Groups:
    """Who rolls back with whom. A container may have been asked for in several groups; each keeps its own spares."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._groups: dict[tuple[str, ...], RollbackGroup] = {}

    def of(self, members: Sequence[Container]) -> RollbackGroup:
        """The group of these containers, which boot in this order.

        Raises:
            BadRequest: they cannot be one; see `RollbackGroup`.
        """
        key = tuple(member.id for member in members)
        group = self._groups.get(key)
        if group is None or any(one is not other for one, other in zip(group.members, members, strict=True)):
            group = self._groups[key] = RollbackGroup(members, self._around)
        return group

    def spares_of(self, container: str) -> int:
        """How many generations of it wait to take over together with others."""
        return sum(group.spares for group in self._having(container))

    async def part(self, container: str) -> None:
        """Nothing is left of what was booted ahead of it together with others."""
        for group in self._having(container):
            await group.part()

    def kept(self, container: str) -> None:
        """It has a new snapshot: its groups go back to that next, and to the newest of each of the others."""
        for group in self._having(container):
            group.prepare()

    def may_talk_differently(self, *addresses: str) -> None:
        """Who may talk to whom has changed: what was booted ahead in the former circumstances is of no use."""
        for group in self._groups.values():
            if any(member.address in addresses for member in group.members):
                group.drop()

    def forget(self, container: str) -> None:
        """It has ended, and so have its groups."""
        for group in self._having(container):
            del self._groups[tuple(member.id for member in group.members)]

    def _having(self, container: str) -> list[RollbackGroup]:
        return [group for key, group in self._groups.items() if container in key]
