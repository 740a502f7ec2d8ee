"""Kept snapshots: taken, listed, forgotten. What is spawned from them is `resuming`'s affair."""

from __future__ import annotations

from tfcore.errors import BadRequest
from tfcore.ids import is_id, new_id
from tfcore.rpc.dispatcher import Call
from tfcore.undo import Undo
from tfcore.wire.kept import (
    ForgetKept,
    KeepMoment,
    KeepSnapshot,
    KeptListed,
    KeptTidied,
    ListKept,
    SnapshotKept,
    TidyKept,
)
from tfcore.wire.message import Done
from tflocation.holdings import Container
from tflocation.kept.shelf import Kept, refuse_taken
from tflocation.location import Location
from tflocation.sessions import Session

LABELS = 64
LABEL_LENGTH = 1000
"""Most characters of a label's name or value."""

KEEP_TIMEOUT = 300.0
"""Seconds a node has if the client does not say: as for a snapshot."""


async def keep(location: Location, call: Call, message: KeepSnapshot) -> SnapshotKept:
    """Keep a container's state for its account."""
    session: Session = call.peer
    container = location.holdings.container(call.target, session=session.id)
    _check(message)
    known = location.kept.asked(session.account, call.id)
    if known is not None and known.state == "kept":
        return SnapshotKept(kept=known.offer())
    node = location.nodes.get(container.node)
    node.check()
    await _require_room(location, session.account)
    kept = known or _begun(location, call, message, container)
    order = KeepMoment(container=container.id, session=session.id, kept=kept.id, snapshot=message.snapshot)
    location.kept.under_way.add(kept.id)
    with location.guard.meter(call.account) as meter, Undo() as undo:
        undo.push(location.care.forget_soon, kept, "it could not be kept")
        try:
            moment = await node.call(order, timeout=call.timeout or KEEP_TIMEOUT)
        finally:
            location.kept.under_way.discard(kept.id)
        await location.disk.run(meter.count, moment.size)
        expires = None if message.seconds is None else location.care.wall() + message.seconds
        done, before = location.kept.finish(kept.id, moment, expires=expires)
        undo.done()
    location.care.pin(done)
    if before is not None:
        location.care.forget_soon(before, f"it was replaced by {done.id}")
    return SnapshotKept(kept=done.offer())


async def _require_room(location: Location, account: str) -> None:
    """Nobody knows how large it will be; a byte there must be."""
    with location.guard.meter(account) as meter:
        await location.disk.run(meter.count, 1)


def _check(message: KeepSnapshot) -> None:
    if is_id(message.name):
        raise BadRequest(f"{message.name!r} cannot be a name: it is shaped like an id")
    if len(message.labels) > LABELS or any(
        len(text) > LABEL_LENGTH for pair in message.labels.items() for text in pair
    ):
        raise BadRequest(f"a kept snapshot has at most {LABELS} labels of {LABEL_LENGTH} characters")


def _begun(location: Location, call: Call, message: KeepSnapshot, container: Container) -> Kept:
    """Written down before anybody is asked to make it."""
    refuse_taken(location.kept.named(call.account, message.name), replaced=message.replace)
    return location.kept.begin(
        Kept(
            id=new_id("x"),
            account=call.account,
            node=container.node,
            image=container.image,
            created=location.care.wall(),
            name=message.name,
            evictable=message.evictable,
            labels=message.labels,
            request=call.id,
        )
    )


async def list_all(location: Location, call: Call, _message: ListKept) -> KeptListed:
    """The account's."""
    return KeptListed(kept=tuple(kept.offer() for kept in location.kept.of(call.account)))


async def forget(location: Location, call: Call, message: ForgetKept) -> Done:
    """Forget one of the account's."""
    await location.care.forget(location.kept.get(message.kept, account=call.account), "its account has no use for it")
    return Done()


async def tidy(location: Location, call: Call, _message: TidyKept) -> KeptTidied:
    """Forget now what the next tick would."""
    going = location.care.due(call.account)
    for kept in going:
        await location.care.forget(kept, "its account tidies up")
    size = sum(kept.size for kept in location.kept.of(call.account))
    gone = tuple(kept.offer() for kept in going if kept.state == "kept")
    return KeptTidied(gone=gone, size=size, limit=location.care.limit)
