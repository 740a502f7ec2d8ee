"""What a location has told this session: its nodes, its volumes, and what became of containers (seed 002, Resource Offers).

Kept current by the I/O thread, read by every thread. Makes no requests.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tfcore.wire import containers, sessions, volumes
from tfcore.wire.containers import Mount
from tfcore.wire.header import Header
from tfcore.wire.message import decode, op_of
from tfnz.callbacks import Callbacks
from tfnz.node import Node
from tfnz.volume import Volume

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.external import ExternalContainer
    from tfnz.location import Location

log = logging.getLogger(__name__)

UNCLAIMED = 256
"""Endings kept of containers nobody has asked for yet: one may end before the call that spawned it has returned."""

Body = bytes | memoryview


class Offer:
    """One session's nodes, volumes and containers."""

    def __init__(
        self, location: Location, callbacks: Callbacks, new_node_callback: Callable[[Node], object] | None
    ) -> None:
        self._location = location
        self._callbacks = callbacks
        self._new_node = new_node_callback
        self._lock = threading.Lock()
        self._nodes: dict[str, Node] = {}
        self._volumes: dict[str, Volume] = {}
        self._externals: dict[str, ExternalContainer] = {}
        self._containers: dict[str, Container] = {}
        self._unclaimed: OrderedDict[str, containers.ContainerEnded] = OrderedDict()
        self._early: list[tuple[Header, Body]] | None = []
        self._handlers: dict[str, Callable[[Body], None]] = {
            op_of(sessions.NodeUpdated): self._node_updated,
            op_of(sessions.VolumeUpdated): self._volume_updated,
            op_of(sessions.ExternalUpdated): self._external_updated,
            op_of(containers.ContainerEnded): self._container_ended,
            op_of(volumes.VolumeLost): self._volume_lost,
        }

    # read by anybody

    @property
    def nodes(self) -> dict[str, Node]:
        """The nodes by id."""
        with self._lock:
            return dict(self._nodes)

    @property
    def volumes(self) -> dict[str, Volume]:
        """The volumes by id."""
        with self._lock:
            return dict(self._volumes)

    @property
    def externals(self) -> dict[str, ExternalContainer]:
        """The tagged containers of the account's other sessions by id."""
        with self._lock:
            return dict(self._externals)

    @property
    def containers(self) -> dict[str, Container]:
        """The containers by id."""
        with self._lock:
            return dict(self._containers)

    def add_volume(self, offer: sessions.VolumeOffer) -> Volume:
        """The volume of this offer, which the location may have told of already."""
        with self._lock:
            return self._volumes.setdefault(offer.id, Volume(self._location, offer))

    def add_mounted(self, mounts: Sequence[Mount], *, node: Node) -> None:
        """Volumes a container was given on this node: those not known yet are this session's."""
        for mount in mounts:
            self.add_volume(sessions.VolumeOffer(id=mount.volume, node=node.pk))

    def replace_volume(self, old: Volume, new: Volume) -> None:
        """What is told of `new` from now on is told to `old`."""
        with self._lock:
            self._volumes.pop(old.uuid, None)
            self._volumes[new.uuid] = old

    def remove_volume(self, uuid: str) -> None:
        """It is destroyed."""
        with self._lock:
            self._volumes.pop(uuid, None)

    def add_container(self, container: Container) -> None:
        """From now on the container is told what becomes of it."""
        with self._lock:
            self._containers[container.uuid] = container
            ended = self._unclaimed.pop(container.uuid, None)
        if ended is not None:
            container.tell_end(ended)

    def remove_container(self, uuid: str) -> None:
        """It is destroyed."""
        with self._lock:
            self._containers.pop(uuid, None)

    # told by the location (I/O thread)

    def welcome(self, welcome: sessions.Welcome) -> None:
        """The first offer, or the state of things after a cut."""
        early, self._early = self._early, None
        for offer in welcome.nodes:
            self._update_node(offer, news=early is None)
        offered = {offer.id for offer in welcome.nodes}
        for node in self.nodes.values():
            if node.pk not in offered:
                node.update(replace(node.offer, alive=False))
        for volume in welcome.volumes:
            self.add_volume(volume)
        for uuid in set(self.volumes) - {volume.id for volume in welcome.volumes}:
            self._end_volume(uuid)
        for external in welcome.externals:
            self._add_external(external)
        for uuid in set(self.externals) - {external.id for external in welcome.externals}:
            self._end_external(uuid)
        for header, body in early or ():
            self.event(header, body)

    def event(self, header: Header, body: Body) -> None:
        """The location tells a fact."""
        handler = self._handlers.get(header.op)
        if self._early is not None:
            self._early.append((header, bytes(body)))
        elif handler is None:
            log.debug("an event this version does not know: %s", header.op)
        else:
            handler(body)

    def _node_updated(self, body: Body) -> None:
        self._update_node(decode(body, sessions.NodeUpdated).node, news=True)

    def _update_node(self, offer: sessions.NodeOffer, *, news: bool) -> None:
        with self._lock:
            node = self._nodes.get(offer.id)
            if node is None:
                self._nodes[offer.id] = fresh = Node(self._location, offer)
        if node is not None:
            node.update(offer)
        elif news:
            self._callbacks.post(self._new_node, fresh)

    def _volume_updated(self, body: Body) -> None:
        event = decode(body, sessions.VolumeUpdated)
        if event.gone:
            self._end_volume(event.volume.id)
        else:
            self.add_volume(event.volume)

    def _external_updated(self, body: Body) -> None:
        event = decode(body, sessions.ExternalUpdated)
        if event.gone:
            self._end_external(event.external.id)
        else:
            self._add_external(event.external)

    def _add_external(self, offer: sessions.ExternalOffer) -> None:
        from tfnz.external import ExternalContainer

        with self._lock:
            self._externals.setdefault(offer.id, ExternalContainer(self._location, offer))

    def _end_external(self, uuid: str) -> None:
        with self._lock:
            external = self._externals.pop(uuid, None)
        if external is not None:
            external.tell_end()

    def _volume_lost(self, body: Body) -> None:
        event = decode(body, volumes.VolumeLost)
        log.info("volume %s is gone: %s", event.volume, event.reason)
        self._end_volume(event.volume)

    def _end_volume(self, uuid: str) -> None:
        with self._lock:
            volume = self._volumes.pop(uuid, None)
        if volume is not None:
            volume.tell_end()

    def _container_ended(self, body: Body) -> None:
        event = decode(body, containers.ContainerEnded)
        with self._lock:
            container = self._containers.get(event.container)
            if container is None:
                self._unclaimed[event.container] = event
                while len(self._unclaimed) > UNCLAIMED:
                    self._unclaimed.popitem(last=False)
        if container is not None:
            container.tell_end(event)
