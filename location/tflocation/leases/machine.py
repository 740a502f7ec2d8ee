"""Who is alive and who is not: events in, instructions out. No clock, no sockets, no asyncio.

A session is `open` until its client closes it, dies, is revoked, or is silent for longer than its lease. Then it is
`freeing`, once, whatever else happens; if something of it could not be freed, because its node is away, it is `owing` and
tried again. A node is known while it has been heard of within its own, shorter lease.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, assert_never

from tflocation.leases import events as e

STORY = 200
"""Events and instructions remembered for `tf-location status` and for bug reports; signs of life are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Seconds: how long a silent session or node is kept, and how long to wait before freeing is tried again.

    Attributes:
        returning: for a client on this machine to come back after a restart of the location: it gives up then.
    """

    session: float = 120.0
    returning: float = 10.0
    node: float = 10.0
    retry: float = 30.0


@dataclass(slots=True)
class Lease:
    """One session's. `due` is when it expires, or when freeing is tried again; of no meaning while `freeing`.

    Attributes:
        patience: seconds its client may be silent.
        since: only what is heard of its client later than that is news.
        reason: why it has ended.
    """

    state: Literal["open", "freeing", "owing"]
    due: float
    patience: float = 0.0
    since: float = 0.0
    reason: str = ""


class LeaseMachine:
    """All leases of a location."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.sessions: dict[str, Lease] = {}
        self.nodes: dict[str, float] = {}
        """When each known node expires."""
        self.story: deque[e.Event | e.Instruction] = deque(maxlen=STORY)

    def handle(self, event: e.Event) -> list[e.Instruction]:
        """Take note of what happened; what is to be done now."""
        if not isinstance(event, e.SessionSeen | e.NodeSeen | e.TimePassed):
            self.story.append(event)
        instructions = self._decide(event)
        self.story.extend(instructions)
        return instructions

    def _decide(self, event: e.Event) -> list[e.Instruction]:
        match event:
            case e.SessionOpened() | e.SessionExpected() | e.SessionLeftOver():
                self._begin(event)
                return []
            case e.SessionSeen() | e.SessionEnded() | e.SessionFreed():
                return self._session(event)
            case e.NodeExpected() | e.NodeJoined() | e.NodeSeen() | e.NodeDismissed():
                return self._node(event)
            case e.TimePassed(at):
                return [*self._expired_sessions(at), *self._expired_nodes(at)]
        assert_never(event)

    def _begin(self, event: e.SessionOpened | e.SessionExpected | e.SessionLeftOver) -> None:
        match event:
            case e.SessionOpened(session, at):
                lease = Lease("open", at + self.terms.session, self.terms.session, at)
            case e.SessionExpected(session, at, local):
                patience = min(self.terms.returning, self.terms.session) if local else self.terms.session
                lease = Lease("open", at + patience, patience, at)
            case e.SessionLeftOver(session, at):
                lease = Lease("owing", at, reason="it ended before the location was restarted")
            case _:
                assert_never(event)
        self.sessions.setdefault(session, lease)

    def _session(self, event: e.SessionSeen | e.SessionEnded | e.SessionFreed) -> list[e.Instruction]:
        match event:
            case e.SessionSeen(session, at):
                self._renew(session, at)
            case e.SessionEnded(session, reason):
                return self._end(session, reason)
            case e.SessionFreed(session, at, rest):
                self._freed(session, at, rest=rest)
            case _:
                assert_never(event)
        return []

    def _renew(self, session: str, at: float) -> None:
        lease = self.sessions.get(session)
        if lease is not None and lease.state == "open" and at > lease.since:
            lease.patience = self.terms.session
            lease.due = max(lease.due, at + lease.patience)

    def _end(self, session: str, reason: str) -> list[e.Instruction]:
        lease = self.sessions.get(session)
        if lease is None or lease.state != "open":
            return []
        return [self._free(session, lease, reason)]

    def _free(self, session: str, lease: Lease, reason: str) -> e.Instruction:
        lease.state, lease.reason = "freeing", reason
        return e.FreeSession(session, reason)

    def _freed(self, session: str, at: float, *, rest: bool) -> None:
        lease = self.sessions.get(session)
        if lease is None or lease.state != "freeing":
            return
        if rest:
            lease.state, lease.due = "owing", at + self.terms.retry
        else:
            del self.sessions[session]

    def _node(self, event: e.NodeExpected | e.NodeJoined | e.NodeSeen | e.NodeDismissed) -> list[e.Instruction]:
        match event:
            case e.NodeExpected(node, at):
                self.nodes[node] = at + self.terms.node
            case e.NodeJoined(node, at, owed):
                self.nodes[node] = at + self.terms.node
                return self._retry(owed)
            case e.NodeSeen(node, at):
                if node in self.nodes:
                    self.nodes[node] = max(self.nodes[node], at + self.terms.node)
            case e.NodeDismissed(node):
                if self.nodes.pop(node, None) is not None:
                    return [e.LoseNode(node, "its key was revoked")]
            case _:
                assert_never(event)
        return []

    def _retry(self, owed: tuple[str, ...]) -> list[e.Instruction]:
        leases = [(session, self.sessions.get(session)) for session in owed]
        return [
            self._free(s, lease, lease.reason) for s, lease in leases if lease is not None and lease.state == "owing"
        ]

    def _expired_sessions(self, at: float) -> list[e.Instruction]:
        return [
            self._free(session, lease, lease.reason or f"its client was not heard of for {lease.patience:g} s")
            for session, lease in self.sessions.items()
            if lease.state != "freeing" and lease.due <= at
        ]

    def _expired_nodes(self, at: float) -> list[e.Instruction]:
        lost = [node for node, due in self.nodes.items() if due <= at]
        for node in lost:
            del self.nodes[node]
        return [e.LoseNode(node, f"it was not heard of for {self.terms.node:g} s") for node in lost]

    def validate(self) -> None:
        """Walk all invariants; for tests, after every event.

        Raises:
            AssertionError: one does not hold.
        """
        for session, lease in self.sessions.items():
            assert lease.state in ("open", "freeing", "owing"), (session, lease)
            assert (lease.state == "open") == (lease.reason == ""), f"only what has ended has a reason: {session}"
        freeing = [i.session for i in self.story if isinstance(i, e.FreeSession)]
        for session in set(freeing) - set(self.sessions):
            assert any(isinstance(i, e.SessionFreed) and i.session == session for i in self.story), (
                f"{session} was forgotten before it was freed"
            )
