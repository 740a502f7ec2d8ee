"""Who has not said hello: the few requests anybody with a key may make, and the word that hello must be said first.

Opening and closing a session, joining as a node, accepting an invitation and asking for the status belong to no session's
link: they are answered to the connection they came by. Knows no meaning of messages but whether they are greetings.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

from tfcore.clock import Clock
from tfcore.errors import Unavailable
from tfcore.rpc.dispatcher import Dispatcher
from tfcore.rpc.link import Link
from tfcore.wire.header import Header, shown
from tfcore.wire.message import Event, encode, op_of
from tfcore.wire.nodes import NodeLost
from tfcore.wire.sessions import SessionLost
from tflocation.auth.accounts import Accounts
from tflocation.auth.principals import parse
from tflocation.peers import Peers
from tflocation.sessions import Sessions
from tflocation.throttle import Throttle

log = logging.getLogger(__name__)

VISITORS = 256
"""Connections whose greetings are remembered; a replay on a connection forgotten since is done again, which is harmless."""

ONE_NOTICE = 1.0
"""Seconds in which a connection is told once to say hello, however much it sends."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A connection, and whose key opened it: what a greeting's handler finds as its peer."""

    identity: bytes
    principal: str


class Doorstep:
    """Greets and turns away."""

    def __init__(
        self, peers: Peers, sessions: Sessions, accounts: Accounts, dispatcher: Dispatcher, *, clock: Clock
    ) -> None:
        self._peers = peers
        self._sessions = sessions
        self._accounts = accounts
        self._dispatcher = dispatcher
        self._notices = Throttle(clock, seconds=ONE_NOTICE)
        self._links: OrderedDict[Visitor, Link] = OrderedDict()

    def greet(self, visitor: Visitor, header: Header, body: bytes | memoryview) -> None:
        """Serve a greeting."""
        link = self._links.get(visitor)
        if link is None:
            link = self._links[visitor] = Link(
                partial(self._peers.send_to, visitor.identity),
                dispatcher=self._dispatcher,
                on_event=_ignore,
                peer=visitor,
            )
        self._links.move_to_end(visitor)
        while len(self._links) > VISITORS:
            self._links.popitem(last=False)
        link.receive(header, body)

    def turn_away(self, visitor: Visitor, header: Header) -> None:
        """Tell somebody unknown to say hello, or that it would be of no use."""
        if not self._notices.lets(visitor.identity):
            return
        log.info("%s has to say hello before %s", visitor.principal, shown(header))
        notice = self._notice(visitor, header.session)
        if notice is None:
            return
        answer = Header(kind="event", id="", op=op_of(notice), session=header.session)
        try:
            self._peers.send_to(visitor.identity, answer, encode(notice))
        except Unavailable as gone:
            log.debug("%s has gone already: %s", visitor.principal, gone)

    def _notice(self, visitor: Visitor, session: str) -> Event | None:
        parsed = parse(visitor.principal)
        role = parsed[0] if parsed else ""
        living = self._accounts.by_text(visitor.principal) is not None
        if role == "node":
            return NodeLost(reason="say hello first" if living else "this node's key was revoked")
        if role != "account":
            return None
        if not living:
            return SessionLost(reason="this account's key was revoked", ended=True)
        known = self._sessions.get(session)
        if session and (known is None or known.principal != visitor.principal):
            return SessionLost(reason="the session has ended, and all it had is gone", ended=True)
        return SessionLost(reason="say hello first")

    async def close(self) -> None:
        """End what is being served."""
        links, self._links = list(self._links.values()), OrderedDict()
        for link in links:
            await link.close()


def _ignore(header: Header, _body: bytes | memoryview) -> None:
    log.debug("a visitor sent the event %s", shown(header))
