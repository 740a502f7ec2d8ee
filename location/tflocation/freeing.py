"""Taking things away: sessions, containers, nodes. One path for each, whatever the cause.

What a node that is away still has of an ended session stays in the store until the node has said that nothing is left.
"""

from __future__ import annotations

import asyncio
import logging
from ipaddress import IPv4Address

from tfcore.clock import Clock
from tfcore.errors import TfError, Unavailable
from tfcore.wire.containers import ContainerEnded
from tfcore.wire.nodes import DisconnectContainers, EndContainer, FreeSession
from tfcore.wire.sessions import SessionLost
from tfcore.wire.volumes import VolumeLost
from tflocation.addresses import AddressBook
from tflocation.disk import Disk
from tflocation.forwarding import Forwarding
from tflocation.holdings import Container, Holdings
from tflocation.images.cache import ImageCache
from tflocation.images.uploads import Uploads
from tflocation.liveness import Liveness
from tflocation.nodes import Node, Nodes
from tflocation.offers import Offers
from tflocation.peers import Peers
from tflocation.sessions import Session, Sessions

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds a node has to remove everything of a session, or a container."""


class Freeing:
    """Frees what sessions had."""

    def __init__(
        self,
        *,
        clock: Clock,
        peers: Peers,
        sessions: Sessions,
        nodes: Nodes,
        holdings: Holdings,
        forwarding: Forwarding,
        addresses: AddressBook,
        offers: Offers,
        images: ImageCache,
        uploads: Uploads,
        disk: Disk,
        liveness: Liveness,
    ) -> None:
        self._clock = clock
        self._peers = peers
        self._sessions = sessions
        self._nodes = nodes
        self._holdings = holdings
        self._forwarding = forwarding
        self._addresses = addresses
        self._offers = offers
        self._images = images
        self._uploads = uploads
        self._disk = disk
        self._liveness = liveness

    # a session

    async def session(self, identifier: str, reason: str) -> bool:
        """Free everything of a session except persistent volumes.

        Returns:
            True if nothing is left; False if a node could not be asked, and still has something.
        """
        session = self._sessions.end(identifier, reason)
        if session is not None:
            self._part(session, reason)
        for container in self._holdings.untag(identifier):
            self._offers.container_gone(container)
        nodes = self._holdings.nodes_of(identifier)
        await asyncio.gather(*(self._free_on(node, identifier) for node in nodes))
        if self._holdings.nodes_of(identifier):
            return False
        self._sessions.forget(identifier)
        return True

    def _part(self, session: Session, reason: str) -> None:
        """Nobody can use it any more, and its client knows."""
        session.tell(SessionLost(reason=reason, ended=True))
        self._peers.detach(session)
        self._forwarding.session_over(session)
        session.link.lost(Unavailable(f"the session has ended: {reason}"))
        self._liveness.release(session.id)
        self._disk.later(self._uploads.abandon, session.id)

    async def _free_on(self, identifier: str, session: str) -> None:
        node = self._nodes.find(identifier)
        if node is not None:
            dormant = [
                c for c in self._holdings.containers_of(session, node=identifier) if c.id in self._holdings.ended
            ]
            try:
                for container in dormant:  # the node does not count them as the session's: only their storage is left
                    await node.call(EndContainer(container=container.id), timeout=PATIENCE)
                await node.call(FreeSession(session=session), timeout=PATIENCE)
            except TfError as error:
                log.warning("node %s has not freed session %s yet: %s", node.name, session, error)
                return
        for container in self._holdings.containers_of(session, node=identifier):
            for friend in self._holdings.permitted(container):
                if friend.session != session:
                    await self._disconnect(container, friend)
        for container in self._holdings.drop_mortal(session, identifier):
            self._release(container)

    def _release(self, container: Container) -> None:
        self._offers.container_gone(container)
        self._addresses.release(IPv4Address(container.address))
        self._disk.later(self._images.unpin, container.id)

    # a container

    async def container(self, container: Container) -> None:
        """End a container and remove everything it has.

        Raises:
            TfError: the node could not do it; the container is still its session's.
        """
        node = self._nodes.get(container.node)
        await node.call(EndContainer(container=container.id), timeout=PATIENCE)
        for friend in self._holdings.permitted(container):
            await self._disconnect(container, friend)
        if container.id in self._holdings.containers:
            self._holdings.drop_container(container.id)
            self._release(container)

    async def _disconnect(self, container: Container, friend: Container) -> None:
        """Its address may soon be somebody else's: nodes other than its own must forget who might talk to it."""
        if friend.node == container.node:
            return
        try:
            news = DisconnectContainers(one=container.address, other=friend.address)
            await self._nodes.get(friend.node).call(news, timeout=PATIENCE)
        except TfError as error:
            log.warning("node %s was not told that %s is gone: %s", friend.node, container.id, error)

    # a node

    def lose(self, node: Node, reason: str) -> None:
        """The node is silent: everybody concerned is told. Its containers may be booted again when it is back."""
        node.lose()
        self._peers.detach(node)
        gone = Unavailable(f"node {node.name} was lost: {reason}", retryable=True)
        node.link.lost(gone)
        self._forwarding.node_gone(node, gone)
        self._offers.lose(node)
        self.ended_on(node, f"node {node.name} was lost: {reason}", self._holdings.containers_on(node.id))

    def ended_on(self, node: Node, reason: str, containers: list[Container]) -> None:
        """Containers the node has no more: their owners are told, once."""
        for container in containers:
            if container.id not in self._holdings.ended:
                self._holdings.ended.add(container.id)
                log.info("container %s ended with node %s: %s", container.id, node.id, reason)
                event = ContainerEnded(container=container.id, session=container.session, reason=reason)
                self._tell(container.session, event)

    def volume_lost(self, identifier: str, reason: str) -> None:
        """A volume is gone without having been destroyed."""
        volume = self._holdings.volumes[identifier]
        self._holdings.drop_volume(identifier)
        log.warning("volume %s is gone: %s", identifier, reason)
        for session in self._sessions:
            if session.id == volume.session or (volume.persistent and session.account == volume.account):
                self._tell(session.id, VolumeLost(volume=identifier, reason=reason))

    def _tell(self, identifier: str, event: ContainerEnded | VolumeLost) -> None:
        session = self._sessions.get(identifier)
        if session is not None:
            session.tell_ending(event, now=self._clock())

    def dismiss(self, node: str) -> None:
        """The node's key was revoked: after `lose`, what was on it is gone for good."""
        for container in self._holdings.containers_on(node):
            self._holdings.drop_container(container.id)
            self._release(container)
        for volume in self._holdings.volumes_on(node):
            self.volume_lost(volume.id, f"node {node} is not of this location any more")
        self._nodes.dismiss(node)
