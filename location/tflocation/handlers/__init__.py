"""The location's whole service on a page: which function answers which message.

Each is `async def name(location, call, message) -> reply`; errors are raised, never answered by hand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tfcore.rpc.dispatcher import Call, Handlers
from tfcore.wire import containers as c
from tfcore.wire import images as i
from tfcore.wire import kept as k
from tfcore.wire import nodes as n
from tfcore.wire import sessions as s
from tfcore.wire import visits as vi
from tfcore.wire import volumes as v
from tfcore.wire.message import Event, Reply, Request
from tflocation.handlers import containers, images, kept, nodes, sessions, visits, volumes
from tflocation.location import Location
from tflocation.nodes import Node

Handler = Callable[[Location, Call, Any], Awaitable[Reply]]
Table = Mapping[type[Request[Any]], Handler]

GREETINGS: Table = {
    s.OpenSession: sessions.open_session,
    s.CloseSession: sessions.close_session,
    s.AskStatus: sessions.ask_status,
    s.AcceptInvitation: sessions.accept_invitation,
    n.JoinLocation: nodes.join,
}
"""From any connection, whether it has said hello or not; `call.peer` is a `Visitor`."""

FROM_CLIENTS: Table = {
    s.RenewLease: sessions.renew,
    i.FindImage: images.find,
    i.ListImages: images.list_all,
    i.OfferImage: images.offer,
    i.ProveLayer: images.prove,
    i.PutLayer: images.put_layer,
    i.FinishImage: images.finish,
    i.RemoveImage: images.remove,
    c.SpawnContainer: containers.spawn,
    c.DestroyContainer: containers.destroy,
    c.AllowConnection: containers.allow,
    c.DisallowConnection: containers.disallow,
    v.CreateVolume: volumes.create,
    v.DestroyVolume: volumes.destroy,
    k.KeepSnapshot: kept.keep,
    k.ListKept: kept.list_all,
    k.ForgetKept: kept.forget,
    k.TidyKept: kept.tidy,
    vi.ListContainers: visits.list_containers,
}
"""From open sessions; `call.peer` is a `Session`."""

FROM_NODES: Table = {
    i.FetchLayer: images.fetch_layer,
}
"""From nodes that have joined; `call.peer` is a `Node`."""

NODE_EVENTS: Mapping[type[Event], Callable[[Location, Node, Any], None]] = {
    n.OfferChanged: nodes.offer_changed,
    c.ContainerEnded: nodes.container_ended,
}


def bound(table: Table, location: Callable[[], Location]) -> Handlers:
    """The table as a dispatcher wants it; `location()` is called when a message comes."""
    return {cls: _bind(handler, location) for cls, handler in table.items()}


def _bind(handler: Handler, location: Callable[[], Location]) -> Callable[[Call, Any], Awaitable[Reply]]:
    def answer(call: Call, message: Any) -> Awaitable[Reply]:
        return handler(location(), call, message)

    return answer
