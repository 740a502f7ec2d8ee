"""Taking kept snapshots away: asked for, expired, evicted, given up, their account or node revoked. One path for all.

The record goes first; a node that could not be told then has a snapshot that is nobody's, and is told when it joins (`gc`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from tfcore.clock import Clock
from tfcore.errors import TfError
from tfcore.wire.kept import DropKept
from tflocation.background import Background
from tflocation.disk import Disk
from tflocation.holdings import Holdings
from tflocation.images.cache import ImageCache
from tflocation.kept.expiry import beyond, overdue
from tflocation.kept.shelf import Kept, KeptShelf
from tflocation.nodes import Nodes

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds a node has to remove one."""


class KeptCare:
    """Looks after them.

    Args:
        wall: tells the seconds since the epoch.
        limit: bytes an account may keep before its evictable ones go.
    """

    def __init__(
        self,
        shelf: KeptShelf,
        *,
        wall: Clock,
        limit: int,
        nodes: Nodes,
        holdings: Holdings,
        images: ImageCache,
        disk: Disk,
        background: Background,
    ) -> None:
        self.wall = wall
        self.limit = limit
        self._shelf = shelf
        self._nodes = nodes
        self._holdings = holdings
        self._images = images
        self._disk = disk
        self._background = background
        for kept in shelf:
            if kept.state == "kept":
                self.pin(kept)

    def pin(self, kept: Kept) -> None:
        """As long as it is kept, its image's layers stay in the cache."""
        self._images.pin(kept.id, [layer.diff_id for layer in kept.recipe.layers])

    # one

    async def forget(self, kept: Kept, reason: str) -> None:
        """It is nobody's from now on; when this returns its node has removed it, if it could be asked."""
        log.info("kept snapshot %s of %s goes: %s", kept.title, kept.account, reason)
        self.strike(kept.id)
        node = self._nodes.find(kept.node)
        if node is None or node.state != "joined":
            return
        try:
            await node.call(DropKept(kept=kept.id), timeout=PATIENCE)
        except TfError as error:
            log.warning("kept snapshot %s stays on node %s until that joins again: %s", kept.id, node.name, error)

    def forget_soon(self, kept: Kept, reason: str) -> None:
        """The same, in the background."""
        self._background.start(self.forget(kept, reason), name=f"forgetting {kept.id}")

    def strike(self, identifier: str) -> None:
        """Only the record: it is not on its node, or has never been."""
        wanted = any(container.kept == identifier for container in self._holdings.containers.values())
        self._shelf.forget(identifier, wanted=wanted)
        self._disk.later(self._images.unpin, identifier)

    # many

    def due(self, account: str = "") -> list[Kept]:
        """Which have to go by now; of one account, or of all."""
        mine = [kept for kept in self._shelf if account in ("", kept.account)]
        over = overdue(mine, self.wall(), under_way=self._shelf.under_way)
        gone = {kept.id for kept in over}
        rest = [kept for kept in mine if kept.id not in gone]
        for owner in {kept.account for kept in rest}:
            of_owner = [kept for kept in rest if kept.account == owner]
            over += beyond(of_owner, self.limit, used=self._shelf.used)
        return over

    def tick(self) -> None:
        """Forget what has to go by now, and records that no container needs any more."""
        for kept in self.due():
            self._strike_and_drop(kept, "its time is over, or its account keeps more than the limit")
        needed = {container.kept for container in self._holdings.containers.values()}
        for kept in list(self._shelf):
            if kept.state == "forgotten" and kept.id not in needed:
                self._shelf.forget(kept.id, wanted=False)

    def heed(self, accounts: Collection[str], nodes: Iterable[str]) -> None:
        """Only these accounts and nodes are left: what was kept for others, or on others, goes."""
        nodes = set(nodes)
        for kept in list(self._shelf):
            if kept.state != "forgotten" and (kept.account not in accounts or kept.node not in nodes):
                self._strike_and_drop(kept, "its account or its node was revoked")

    def _strike_and_drop(self, kept: Kept, reason: str) -> None:
        self.strike(kept.id)  # at once, so that the next look does not find it again
        self.forget_soon(kept, reason)
