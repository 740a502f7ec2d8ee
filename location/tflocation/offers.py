"""What the nodes offer, told to every session: at once when it matters, else every two seconds (seed 000, step 4)."""

from __future__ import annotations

from msgspec.structs import replace

from tfcore.clock import Clock
from tfcore.wire.sessions import ExternalOffer, ExternalUpdated, NodeOffer, NodeUpdated, VolumeOffer, VolumeUpdated
from tflocation.drains import Drains
from tflocation.holdings import Container, Volume
from tflocation.nodes import Node, Nodes
from tflocation.sessions import Session, Sessions

INTERVAL = 2.0
"""Seconds between small news of one node."""

NOTABLE = 0.1
"""A change of this share of a node's cpu or memory is worth telling at once."""


class Offers:
    """Tells the sessions."""

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock
        self._told: dict[str, tuple[float, NodeOffer]] = {}

    def update(self, node: Node, offer: NodeOffer) -> None:
        """The node has said what it has free."""
        node.offer = replace(
            offer, id=node.id, name=node.name, alive=node.state == "joined", draining=node.offer.draining
        )
        when, last = self._told.get(node.id, (float("-inf"), node.offer))
        if self._clock() - when >= INTERVAL or notable(last, node.offer):
            self._tell(node)

    def heed_drains(self, nodes: Nodes, drains: Drains) -> None:
        """The operator may have changed which nodes take new things on."""
        for node in nodes:
            draining = drains.since(node.id) is not None
            if draining != node.offer.draining:
                node.offer = replace(node.offer, draining=draining)
                self._tell(node)

    def lose(self, node: Node) -> None:
        """The node is lost: nothing can be had there."""
        node.offer = replace(node.offer, alive=False, cpu=0.0, memory=0, containers=0)
        self._tell(node)

    def _tell(self, node: Node) -> None:
        self._told[node.id] = (self._clock(), node.offer)
        for session in self._sessions:
            session.tell(NodeUpdated(node=node.offer))

    def container_made(self, container: Container) -> None:
        """One with a tag can be found by the account's other sessions."""
        self._tell_others(container, gone=False)

    def container_gone(self, container: Container) -> None:
        """It is destroyed, or its session has ended."""
        self._tell_others(container, gone=True)

    def _tell_others(self, container: Container, *, gone: bool) -> None:
        if container.tag:
            news = ExternalUpdated(external=external_of(container), gone=gone)
            for session in self._sessions:
                if session.account == container.account and session.id != container.session:
                    session.tell(news)

    def volume_made(self, volume: Volume, *, by: Session) -> None:
        """A persistent volume is there for the account's other sessions, too."""
        self._tell_account(volume, VolumeUpdated(volume=offer_of(volume)), but=by)

    def volume_gone(self, volume: Volume, *, by: Session) -> None:
        """It has been destroyed."""
        self._tell_account(volume, VolumeUpdated(volume=offer_of(volume), gone=True), but=by)

    def _tell_account(self, volume: Volume, news: VolumeUpdated, *, but: Session) -> None:
        if volume.persistent:
            for session in self._sessions:
                if session.account == volume.account and session is not but:
                    session.tell(news)


def notable(before: NodeOffer, now: NodeOffer) -> bool:
    """True if somebody choosing a node would want to know at once."""
    memory = abs(before.memory - now.memory) > NOTABLE * max(now.memory_total, 1)
    same = (before.alive, before.containers, before.notes) == (now.alive, now.containers, now.notes)
    return memory or not same or abs(before.cpu - now.cpu) > NOTABLE


def offer_of(volume: Volume) -> VolumeOffer:
    """A volume as sessions see it."""
    return VolumeOffer(id=volume.id, node=volume.node, tag=volume.tag, persistent=volume.persistent)


def external_of(container: Container) -> ExternalOffer:
    """A container with a tag as the account's other sessions see it."""
    return ExternalOffer(id=container.id, node=container.node, address=container.address, tag=container.tag)
