"""What can happen to a lease, and what is to be done about it: the machine's whole language.

Events are facts in the past tense, instructions imperatives. `at` is a time of the location's clock, in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A session is there."""

    session: str
    at: float


@dataclass(frozen=True, slots=True)
class SessionExpected:
    """The store knows this session, and its client has not come back since the location was started.

    One that is `local`, on the location's own machine, comes back soon or never.
    """

    session: str
    at: float
    local: bool = False


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """Its client was last heard of at that time."""

    session: str
    at: float


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """It is over before its lease: closed by its client, its client's process gone, its account revoked."""

    session: str
    reason: str


@dataclass(frozen=True, slots=True)
class SessionLeftOver:
    """The store knows a session that ended before the location was restarted, and was not freed to the end."""

    session: str
    at: float


@dataclass(frozen=True, slots=True)
class SessionFreed:
    """`FreeSession` has been tried: with `rest`, something could not be freed yet."""

    session: str
    at: float
    rest: bool = False


@dataclass(frozen=True, slots=True)
class NodeExpected:
    """The store knows this node, and it has not joined since the location was started."""

    node: str
    at: float


@dataclass(frozen=True, slots=True)
class NodeJoined:
    """It has said hello, for the first time or again; `owed` are sessions that ended and still have something there."""

    node: str
    at: float
    owed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """It was last heard of at that time."""

    node: str
    at: float


@dataclass(frozen=True, slots=True)
class NodeDismissed:
    """Its key was revoked."""

    node: str


@dataclass(frozen=True, slots=True)
class TimePassed:
    """It is now so late."""

    at: float


Event = (
    SessionOpened
    | SessionExpected
    | SessionSeen
    | SessionEnded
    | SessionLeftOver
    | SessionFreed
    | NodeExpected
    | NodeJoined
    | NodeSeen
    | NodeDismissed
    | TimePassed
)


@dataclass(frozen=True, slots=True)
class FreeSession:
    """Free everything of the session except persistent volumes, then say `SessionFreed`."""

    session: str
    reason: str


@dataclass(frozen=True, slots=True)
class LoseNode:
    """The node is lost: tell whom it concerns."""

    node: str
    reason: str


Instruction = FreeSession | LoseNode
