"""What pytest-tf may cost: the promises its design makes, each with the figure it is judged by.

docs/explain/performance.md says what is measured for each and how.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Bound(StrEnum):
    """Which side of the limit is good."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True)
class Budget:
    """A promise: `what` is `bound` `limit` `unit`, in the median."""

    what: str
    limit: float
    unit: str
    bound: Bound = Bound.AT_MOST

    def met_by(self, measured: float) -> bool:
        """True if a measured median keeps the promise."""
        return measured <= self.limit if self.bound is Bound.AT_MOST else measured >= self.limit

    def __str__(self) -> str:
        return f"{self.what}: {self.bound} {self.limit:g} {self.unit}"


ROLLBACK_NGINX = Budget("nginx rolled back to a booted spare", 5, "ms")
ROLLBACK_POSTGRES = Budget("PostgreSQL rolled back to a booted spare", 10, "ms")
ROLLBACK_NGINX_RATIO = Budget("testcontainers over nginx rolled back to a booted spare", 75, "×", Bound.AT_LEAST)
ROLLBACK_POSTGRES_RATIO = Budget(
    "testcontainers over PostgreSQL rolled back to a booted spare", 45, "×", Bound.AT_LEAST
)
ROLLBACK_FLAT = Budget("a rollback of a large database over one of a small one", 1.5, "×")
NO_SPARE_NGINX = Budget("nginx rolled back with no spare ready", 60, "ms")
NO_SPARE_POSTGRES = Budget("PostgreSQL rolled back with no spare ready", 150, "ms")
CLEAN = Budget("a rollback after a test that left no trace", 1, "ms")
SPAWN = Budget("spawn of a cached nginx to its first answer", 60, "ms")
SPAWN_TEN = Budget("Docker over pytest-tf, ten nginx in parallel", 5, "×", Bound.AT_LEAST)
PLUGIN_LOAD = Budget("the plugin in a run that does not use it", 5, "ms")
LOCAL_START = Budget("first local location: daemons up, session open", 1000, "ms")
ROUND_TRIP = Budget("a request's round trip, local", 1, "ms")
STREAMED_CONNECT = Budget("remote tunnel: connection and one round trip", 2, "ms")
STREAMED_BULK = Budget("remote tunnel over ssh -L, bulk", 0.7, "×", Bound.AT_LEAST)
HANDED_CONNECT = Budget("local tunnel: connection and one round trip", 0.5, "ms")
HANDED_BULK = Budget("local tunnel over docker-proxy, bulk", 1, "×", Bound.AT_LEAST)
CONTAINED = Budget("beside a container that misbehaves over a quiet machine", 2, "×")
LOCATION_MEMORY = Budget("memory of the location", 60, "MB")
NODE_MEMORY = Budget("memory of the node without containers", 60, "MB")
CONTAINER_MEMORY = Budget("memory the node takes per container", 1, "MB")
SDK_MEMORY = Budget("memory the SDK adds to a program", 20, "MB")
