"""What the operator is draining: nodes, or the whole location, that go on with what they have and take nothing new on.

Looked up in the store each time, so that a command in another process holds at once, and a restart forgets nothing.
"""

from __future__ import annotations

import time

from tfcore.errors import NotFound, Unavailable
from tflocation.store.database import Database

EVERYTHING = ""
"""In the place of a node's id: the location itself."""


class Drains:
    """The drained of one location."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, node: str) -> None:
        """Nothing new for this node (its id), or for the location (`EVERYTHING`). Harmless to repeat."""
        self._database.execute("INSERT OR IGNORE INTO draining (node, since) VALUES (?, ?)", (node, time.time()))

    def end(self, node: str) -> None:
        """It takes new things on again.

        Raises:
            NotFound: it is not being drained.
        """
        if self._database.execute("DELETE FROM draining WHERE node=?", (node,)).rowcount == 0:
            what = f"node {node}" if node else "the location"
            raise NotFound(f"{what} is not being drained", hint="see what is: tf-location status")

    def since(self, node: str) -> float | None:
        """Seconds since the epoch, or None if it is not being drained."""
        row = self._database.execute("SELECT since FROM draining WHERE node=?", (node,)).fetchone()
        return None if row is None else float(row[0])

    def check_node(self, node: str, name: str) -> None:
        """Raise `Unavailable` if nothing new may be made on this node."""
        if self.since(node) is not None:
            raise Unavailable(
                f"node {name} is being drained and takes nothing new on",
                hint="use another node: location.node() does not choose this one",
                retryable=True,
            )

    def check_location(self, name: str) -> None:
        """Raise `Unavailable` if the location opens no new sessions."""
        if self.since(EVERYTHING) is not None:
            raise Unavailable(
                f"location {name} is being drained and opens no new sessions",
                hint="try again later; its operator ends it with: tf-location undrain",
                retryable=True,
            )
