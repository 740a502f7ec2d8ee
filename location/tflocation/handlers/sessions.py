"""Sessions: opened, taken up again, renewed, closed; invitations accepted; the status told."""

from __future__ import annotations

import asyncio

import msgspec

import tfcore
from tfcore.errors import Refused, UnknownKey, VersionMismatch
from tfcore.rpc.dispatcher import Call
from tfcore.wire import sessions
from tfcore.wire.message import Done
from tfcore.wire.sessions import (
    AcceptInvitation,
    AskStatus,
    CloseSession,
    LocationStatus,
    OpenSession,
    RenewLease,
    Welcome,
)
from tflocation import status
from tflocation.auth.principals import Principal, Role
from tflocation.leases.events import SessionOpened
from tflocation.location import Location
from tflocation.offers import external_of, offer_of
from tflocation.sessions import Session


def principal_of(location: Location, call: Call, *, role: Role) -> Principal:
    """Who greets.

    Raises:
        UnknownKey: the key has been revoked since it connected.
        Refused: this kind of key may not do this.
    """
    found = location.accounts.by_text(call.peer.principal)
    if found is None:
        raise UnknownKey("this key has been revoked", hint="ask the location's operator for a new invitation")
    if found.role != role:
        raise Refused(f"this is for {role}s, and {found.name} is a {found.role}")
    return found


def spoken_version(lowest: int, highest: int, *, who: str) -> int:
    """The newest version of the protocol that both sides speak, of the range that `who` does.

    Raises:
        VersionMismatch: there is none; the message says which side is the older.
    """
    newest = min(highest, sessions.PROTOCOL)
    if newest >= max(lowest, sessions.OLDEST):
        return newest
    older, newer = (who, "the location") if highest < sessions.OLDEST else ("the location", who)
    raise VersionMismatch(
        f"the location speaks {_versions(sessions.OLDEST, sessions.PROTOCOL)} of the protocol, "
        f"and {who} {_versions(lowest, highest)}",
        hint=f"upgrade pytest-tf at {older}, which is older than {newer}",
    )


def _versions(lowest: int, highest: int) -> str:
    return f"version {lowest}" if lowest == highest else f"versions {lowest} to {highest}"


async def open_session(location: Location, call: Call, message: OpenSession) -> Welcome:
    """Open a session, or take up the one the client had before its connection was cut."""
    owner = principal_of(location, call, role="account")
    protocol = spoken_version(message.protocol_min, message.protocol_max, who="the client")
    now = location.clock()
    session = _known(location, owner, call, message)
    resumed = session is not None
    if session is None:
        if not owner.operator:
            location.drains.check_location(location.options.name)
        location.guard.session(owner.name)
        session = location.sessions.open(owner, program=message.program, local=message.local, request=call.id, now=now)
        location.leases.handle(SessionOpened(session.id, now))
    session.seen = now
    session.visiting = message.visiting
    location.peers.attach(session, call.peer.identity)
    # Runs when the welcome has been sent: a handler's return and the sending are one step of the loop.
    asyncio.get_running_loop().call_soon(_take_up, location, session)
    volumes = location.holdings.volumes_for(session=session.id, account=session.account)
    externals = location.holdings.externals_for(session=session.id, account=session.account)
    return Welcome(
        protocol=protocol,
        version=tfcore.VERSION,
        session=session.id,
        resumed=resumed,
        lease=location.options.terms.session,
        account=owner.name,
        nodes=location.nodes.offers(),
        volumes=tuple(offer_of(volume) for volume in volumes),
        externals=tuple(external_of(container) for container in externals),
        live=str(location.liveness.path) if message.local else "",
    )


def _known(location: Location, owner: Principal, call: Call, message: OpenSession) -> Session | None:
    """The session to take up: the one named if it is the owner's, or the one this very request has opened before."""
    named = location.sessions.get(message.session)
    if named is not None and named.principal == owner.text:
        return named
    return location.sessions.opened_by(owner.text, call.id)


def _take_up(location: Location, session: Session) -> None:
    """After the connection before was cut (nothing to do if there was none)."""
    session.repeat_endings(now=location.clock())


async def renew(_location: Location, _call: Call, _message: RenewLease) -> Done:
    """The client is alive, as every message says."""
    return Done()


async def close_session(location: Location, call: Call, _message: CloseSession) -> Done:
    """Free everything of the session named in the header; one that has ended already counts as freed."""
    owner = principal_of(location, call, role="account")
    session = location.sessions.get(call.session)
    if session is None:
        await location.leases.freed(call.session)
    elif session.principal == owner.text:
        location.peers.detach(session)  # it need not be told that its session has ended
        await location.leases.end(session.id, "closed by its client")
    return Done()


async def ask_status(location: Location, call: Call, _message: AskStatus) -> LocationStatus:
    """What there is: everything for the operator, an account's own for others."""
    owner = principal_of(location, call, role="account")
    usage = await location.disk.run(location.images.usage)
    told = status.report(location, usage, principal="" if owner.operator else owner.text)
    accounts = location.guard.book.all() if owner.operator else [owner.name]
    told["quotas"] = {name: await location.guard.report(name, location.disk) for name in accounts}
    return LocationStatus(report=msgspec.json.encode(told).decode())


async def accept_invitation(location: Location, call: Call, message: AcceptInvitation) -> Done:
    """Make the guest's own key the key of the account or node that the invitation is for."""
    location.invitations.accept(call.peer.principal, message.key)
    return Done()
