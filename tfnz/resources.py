"""Volumes and external containers of a location, found by id or tag: mixed into `Location` (seed 002, Resource Offers)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfcore.errors import NotFound
from tfcore.wire import sessions, volumes
from tfnz.tagged import TaggedCollection

if TYPE_CHECKING:
    from tfnz.external import ExternalContainer
    from tfnz.location import Location
    from tfnz.node import Node, Termination
    from tfnz.volume import Volume


class Resources:
    """What the location offers beside nodes, kept current."""

    @property
    def user_pk(self: Location) -> str:  # type: ignore[misc]
        """What `TaggedCollection.get` wants to know whose objects are meant (seed 002): the account."""
        return self.account

    # volumes

    @property
    def volumes(self: Location) -> TaggedCollection[Volume]:  # type: ignore[misc]
        """The volumes this session may mount."""
        return TaggedCollection(self._offer.volumes, account=self.account, what="volume")

    def volume(self: Location, key: str | bytes) -> Volume:  # type: ignore[misc]
        """The volume with this id, tag, or `id:tag`.

        Raises:
            NotFound: there is none (a `ValueError`).
        """
        return self.volumes.find(key)

    def ensure_volume(self: Location, key: str | bytes) -> Volume:  # type: ignore[misc]
        """The volume with this id or tag; if there is none, a persistent one of that tag is made on the best node.

        Raises:
            BadTag: there is none, and the key is not a tag. Exhausted: there is no node, or its disk is full.
        """
        try:
            return self.volume(key)
        except NotFound:
            tag = key.decode() if isinstance(key, bytes) else key
            return self.node().create_volume(tag=tag, persistent=True)

    def create_volume(  # type: ignore[misc]
        self: Location,
        *,
        tag: str | None = None,
        asynchronous: bool = True,
        termination_callback: Termination | None = None,
    ) -> Volume:
        """A persistent volume on the best node (gen 2); `Node.create_volume` makes one on a node of choice, also for the
        session only. Arguments and errors as there."""
        return self.node().create_volume(
            tag=tag, persistent=True, asynchronous=asynchronous, termination_callback=termination_callback
        )

    def all_volumes(self: Location) -> list[Volume]:  # type: ignore[misc]
        """The volumes this session may mount."""
        return list(self.volumes.values())

    def destroy_volume(self, volume: Volume) -> None:
        """`volume.destroy()` (seed 002: the parent destroys its children)."""
        volume.destroy()

    def _create_volume(self: Location, node: Node, *, tag: str, persistent: bool) -> Volume:  # type: ignore[misc]
        made = self._call(volumes.CreateVolume(node=node.pk, tag=tag, persistent=persistent))
        return self._offer.add_volume(
            sessions.VolumeOffer(id=made.volume, node=made.node, tag=tag, persistent=persistent)
        )

    # external containers

    @property
    def externals(self: Location) -> TaggedCollection[ExternalContainer]:  # type: ignore[misc]
        """The containers with a tag of the account's other sessions."""
        return TaggedCollection(self._offer.externals, account=self.account, what="external container")

    def external_container(self: Location, key: str | bytes) -> ExternalContainer:  # type: ignore[misc]
        """The container of another session of this account with this id, tag or `id:tag`.

        Raises:
            NotFound: there is none (a `ValueError`).
        """
        return self.externals.find(key)
