"""After a node has joined: make it and the store agree (`mark` says what about)."""

from __future__ import annotations

import asyncio
import logging

from tfcore.errors import TfError
from tfcore.wire.kept import DropKept
from tfcore.wire.nodes import EndContainer, Inventory
from tflocation.freeing import PATIENCE, Freeing
from tflocation.gc.mark import Verdict, mark
from tflocation.holdings import Holdings
from tflocation.kept.care import KeptCare
from tflocation.kept.shelf import KeptShelf
from tflocation.nodes import Node
from tflocation.sessions import Sessions

log = logging.getLogger(__name__)


class Sweep:
    """Reconciles nodes that join."""

    def __init__(
        self, sessions: Sessions, holdings: Holdings, freeing: Freeing, shelf: KeptShelf, care: KeptCare
    ) -> None:
        self._sessions = sessions
        self._shelf = shelf
        self._care = care
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
            kept=self._shelf.on(node.id),
            has_kept=frozenset(inventory.kept),
        )

    def notify(self, node: Node, verdict: Verdict) -> None:
        """Tell owners what is gone; for the rest, take note."""
        self._holdings.ended.difference_update(verdict.back)
        self._freeing.ended_on(node, "the node's agent was restarted", list(verdict.gone))
        for volume in verdict.lost:
            self._freeing.volume_lost(volume, f"node {node.name} has it no more")
        for volume in verdict.strangers:
            log.warning("node %s has a volume nobody knows: %s; it is left alone", node.name, volume)

        for kept in verdict.unkept:
            log.warning("kept snapshot %s is gone: node %s has it no more", kept, node.name)
            self._care.strike(kept)

    async def clear(self, node: Node, verdict: Verdict) -> None:
        """End the containers nobody knows, and remove the kept snapshots nobody knows."""
        orders: list[EndContainer | DropKept] = [EndContainer(container=container) for container in verdict.end]
        orders += [DropKept(kept=kept) for kept in verdict.unwanted]
        await asyncio.gather(*(self._remove(node, order) for order in orders))

    async def _remove(self, node: Node, order: EndContainer | DropKept) -> None:
        what = order.container if isinstance(order, EndContainer) else order.kept
        log.warning("node %s has %s, which nobody knows; it is removed", node.name, what)
        try:
            await node.call(order, timeout=PATIENCE)
        except TfError as error:
            log.warning("%s is still on node %s: %s", what, node.name, error)
