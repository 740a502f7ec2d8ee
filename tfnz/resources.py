"""What a location has beside its nodes, as the parent of it: mixed into `Location` (seed 002, Resource Offers).

Volumes and external containers, found by id or tag; gen 2's ways to a container, which are methods of containers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfcore.errors import BadRequest, NotFound
from tfcore.wire import sessions, volumes
from tfnz import accounts
from tfnz.tagged import TaggedCollection

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.external import ExternalContainer
    from tfnz.location import Location
    from tfnz.node import Node, Termination
    from tfnz.tunnel import Tunnel
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
        """`volume.destroy()` (seed 002: the parent destroys its children).

        Raises:
            BadRequest: that is no volume of this location. As `Volume.destroy`.
        """
        if getattr(volume, "location", None) is not self:
            raise BadRequest(f"{volume!r} is not a volume of {self!r}")
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

    def external_container(  # type: ignore[misc]
        self: Location, key: str | bytes, *, termination_callback: Termination | None = None
    ) -> ExternalContainer:
        """The container of another session of this account with this id, tag or `id:tag`.

        Args:
            termination_callback: see `ExternalContainer`; what was set before stays if this is None.

        Raises:
            NotFound: there is none (a `ValueError`).
        """
        found = self.externals.find(key)
        found.termination_callback = termination_callback or found.termination_callback
        return found

    # gen 2's ways to a container

    def tunnel_onto(
        self, container: Container, port: int, localport: int | None = None, bind: str | None = None
    ) -> Tunnel:
        """`container.attach_tunnel(port, localport, bind)`."""
        return container.attach_tunnel(port, localport, bind)

    def destroy_tunnel(self, tunnel: Tunnel, container: Container | None = None) -> None:
        """`container.destroy_tunnel(tunnel)`; the container need not be named."""
        (container or tunnel.container).destroy_tunnel(tunnel)

    def wait_tcp(self, container: Container, dest_port: int) -> None:
        """`container.wait_tcp(dest_port)`."""
        container.wait_tcp(dest_port)

    def wait_http_200(
        self,
        container: Container,
        dest_port: int = 80,
        fqdn: str = "localhost",
        path: str = "",
        localport: int | None = None,
    ) -> Tunnel:
        """`container.wait_http_200(dest_port, fqdn, path, localport)`."""
        return container.wait_http_200(dest_port, fqdn, path, localport)

    def wait_until_ready(self: Location, timeout: float = 60.0) -> Location:  # type: ignore[misc]
        """Returns itself: a location is ready as soon as there is an object of it (gen 2: `Waitable`)."""
        del timeout
        return self

    def is_ready(self: Location) -> bool:  # type: ignore[misc]
        """True until the session has ended."""
        return self._portal is not None and self._lost is None

    @staticmethod
    def all_locations() -> list[str]:
        """The names of the locations this user has an account for."""
        return accounts.known()
