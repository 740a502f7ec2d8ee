"""Sessions: one client's conversation with the location, over as many connections as it takes.

Knows who has a session and how to reach them; when a session ends is the leases' affair, what it owns `Holdings`'.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from tfcore.errors import TfError
from tfcore.ids import new_id
from tfcore.rpc.dispatcher import Dispatcher
from tfcore.rpc.link import Link
from tfcore.wire.containers import ContainerEnded
from tfcore.wire.header import Header, shown
from tfcore.wire.message import Event
from tfcore.wire.volumes import VolumeLost
from tflocation.auth.principals import Principal
from tflocation.peers import Body, Peers
from tflocation.store.database import Database

log = logging.getLogger(__name__)

LAST_WORDS = 256
"""Endings of containers and volumes kept for a client that comes back from a cut."""

REPEATED = 60.0
"""Seconds after which an ending has surely been heard: heartbeats notice a dead connection long before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """What the store knows of a session.

    Attributes:
        principal: the User-Id of its client's messages.
        program: what the client says it is, for people.
        local: the client says it runs on this machine.
        request: id of the request that opened it: the same request again means the same session.
        opened: seconds since the epoch.
    """

    id: str
    account: str
    principal: str
    program: str = ""
    local: bool = False
    request: str = ""
    opened: float = field(default_factory=time.time)


class Session:
    """A session that is open. Its link outlives its connections."""

    def __init__(self, record: SessionRecord, peers: Peers, dispatcher: Dispatcher, *, seen: float) -> None:
        self.record = record
        self.id = record.id
        self.account = record.account
        self.principal = record.principal
        self.identity = b""
        self.visiting = False
        """Its client is here to look into its account's other sessions; it says so at every hello."""
        self.seen = seen
        """When its client was last heard of, by the location's clock."""
        self._endings: deque[tuple[float, ContainerEnded | VolumeLost]] = deque(maxlen=LAST_WORDS)
        self._peers = peers
        self.link = Link(self._send, dispatcher=dispatcher, on_event=_ignore, peer=self, session=record.id)

    def _send(self, header: Header, body: Body) -> None:
        self._peers.send(self, header, body)

    def tell(self, event: Event) -> None:
        """Send an event, if the client is there."""
        try:
            self.link.event(event, session=self.id)
        except TfError as gone:
            log.debug("session %s was not told: %s", self.id, gone)

    def tell_ending(self, event: ContainerEnded | VolumeLost, *, now: float) -> None:
        """Send an event that must not be missed: it is sent again if the client comes back from a cut soon after."""
        self._endings.append((now, event))
        self.tell(event)

    def repeat_endings(self, *, now: float) -> None:
        """The client has come back: nobody knows which of the last endings were lost with its connection."""
        for told, event in self._endings:
            if now - told < REPEATED:
                self.tell(event)

    def revived(self, container: str) -> None:
        """The client boots a container anew: that it ended before is no news any more."""
        if self._endings:
            kept = [
                (at, e) for at, e in self._endings if not (isinstance(e, ContainerEnded) and e.container == container)
            ]
            self._endings = deque(kept, maxlen=LAST_WORDS)


def _ignore(header: Header, _body: bytes | memoryview) -> None:
    log.debug("a client sent the event %s", shown(header))


class Sessions:
    """The open sessions of a location, and what the store has of those that ended but were not freed to the end."""

    def __init__(self, database: Database, peers: Peers, dispatcher: Dispatcher) -> None:
        self._database = database
        self._peers = peers
        self._dispatcher = dispatcher
        self._open: dict[str, Session] = {}

    def restore(self, *, now: float) -> None:
        """Take up the sessions of the location's former life; their clients will come back."""
        for record in self._stored("ending=''"):
            self._open[record.id] = Session(record, self._peers, self._dispatcher, seen=now)

    def left_over(self) -> list[str]:
        """Sessions that have ended and are not freed to the end."""
        return [record.id for record in self._stored("ending<>''")]

    def _stored(self, where: str) -> list[SessionRecord]:
        rows = self._database.execute(
            "SELECT session.id, account, role || ':' || name || '#' || number, program, local, request, opened"
            f" FROM session JOIN principal ON number=principal WHERE {where}"
        )
        return [
            SessionRecord(
                id=identifier, account=account, principal=principal, program=program,
                local=bool(local), request=request, opened=opened,
            )
            for identifier, account, principal, program, local, request, opened in rows
        ]  # fmt: skip

    def open(self, owner: Principal, *, program: str, local: bool, request: str, now: float) -> Session:
        """A new session for `owner`, without a connection yet."""
        record = SessionRecord(
            id=new_id("s"), account=owner.name, principal=owner.text, program=program, local=local, request=request
        )
        self._database.execute(
            "INSERT INTO session (id, account, principal, program, local, request, opened) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (record.id, record.account, owner.number, program, local, request, record.opened),
        )
        session = self._open[record.id] = Session(record, self._peers, self._dispatcher, seen=now)
        return session

    def get(self, identifier: str) -> Session | None:
        """The open session of that id."""
        return self._open.get(identifier)

    def opened_by(self, principal: str, request: str) -> Session | None:
        """The session this request has opened already."""
        return next((s for s in self if s.principal == principal and s.record.request == request), None)

    def of(self, principal: str) -> list[Session]:
        """The sessions of a principal."""
        return [session for session in self if session.principal == principal]

    def end(self, identifier: str, reason: str) -> Session | None:
        """From now on nobody can use it; what it owns is still there. Returns it if it was open."""
        self._database.execute("UPDATE session SET ending=? WHERE id=?", (reason, identifier))
        return self._open.pop(identifier, None)

    def forget(self, identifier: str) -> None:
        """Nothing of it is left."""
        self._database.execute("DELETE FROM session WHERE id=?", (identifier,))

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)
