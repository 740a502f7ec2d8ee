"""After a node has joined: make it and the store agree (`mark` says what about)."""

from __future__ import annotations

import asyncio
import logging

from tfcore.errors import TfError
from tfcore.wire.nodes import EndContainer, Inventory
from tflocation.freeing import PATIENCE, Freeing
from tflocation.gc.mark import Verdict, mark
from tflocation.holdings import Holdings
from tflocation.nodes import Node
from tflocation.sessions import Sessions

log = logging.getLogger(__name__)


class Sweep:
    """Reconciles nodes that join."""

    def __init__(self, sessions: Sessions, holdings: Holdings, freeing: Freeing) -> None:
        self._sessions = sessions
        self._holdings = holdings
        self._freeing = freeing
        self.unborn: set[str] = set()
        """Containers and volumes that a node is being asked to make."""

    def judge(self, node: Node, inventory: Inventory) -> Verdict:
        """What is to be done about this node."""
        return mark(
            self._holdings.containers_on(node.id),
            self._holdings.volumes_on(node.id),
            has_containers=frozenset(inventory.containers),
            has_dormant=frozenset(inventory.dormant),
            has_volumes=frozenset(inventory.volumes),
            open_sessions=frozenset(session.id for session in self._sessions),
            unborn=self.unborn,
        )

    def notify(self, node: Node, verdict: Verdict) -> None:
        """Tell owners what is gone; for the rest, take note."""
        self._holdings.ended.difference_update(verdict.back)
        self._freeing.ended_on(node, "the node's agent was restarted", list(verdict.gone))
        for volume in verdict.lost:
            self._freeing.volume_lost(volume, f"node {node.name} has it no more")
        for volume in verdict.strangers:
            log.warning("node %s has a volume nobody knows: %s; it is left alone", node.name, volume)

    async def clear(self, node: Node, verdict: Verdict) -> None:
        """End the containers nobody knows."""
        await asyncio.gather(*(self._end(node, container) for container in verdict.end))

    async def _end(self, node: Node, container: str) -> None:
        log.warning("node %s has a container nobody knows: %s; it is ended", node.name, container)
        try:
            await node.call(EndContainer(container=container), timeout=PATIENCE)
        except TfError as error:
            log.warning("container %s is still on node %s: %s", container, node.name, error)
