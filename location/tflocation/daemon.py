"""The location put together: builds the parts, joins them, starts and stops them. Nothing else constructs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import zmq

from tfcore.clock import Clock, monotonic
from tfcore.errors import BadRequest, WrongState
from tfcore.rpc.dispatcher import Dispatcher
from tfcore.rpc.port import Port, router
from tfcore.undo import Undo
from tfcore.wire.header import Header, shown
from tfcore.wire.message import decode, op_of
from tflocation import handlers
from tflocation.addresses import AddressBook
from tflocation.auth.accounts import Accounts
from tflocation.auth.invitations import Invitations
from tflocation.auth.zap import Doorkeeper
from tflocation.background import Background
from tflocation.broker import Broker
from tflocation.connections import INTERVAL, Connections
from tflocation.directory import Directory
from tflocation.disk import Disk
from tflocation.doorstep import Doorstep
from tflocation.drains import Drains
from tflocation.forwarding import Forwarding
from tflocation.freeing import Freeing
from tflocation.gc.sweep import Sweep
from tflocation.holdings import Holdings
from tflocation.images.cache import ImageCache
from tflocation.images.uploads import Uploads
from tflocation.kept.care import KeptCare
from tflocation.kept.shelf import KeptShelf
from tflocation.leases import events as e
from tflocation.leases.runner import TICK, LeaseRunner
from tflocation.liveness import Liveness
from tflocation.location import Location
from tflocation.metrics.tally import Tally
from tflocation.nodes import Node, Nodes
from tflocation.offers import Offers
from tflocation.options import Options
from tflocation.peers import Peers
from tflocation.quotas.book import QuotaBook
from tflocation.quotas.guard import Guard
from tflocation.sessions import Sessions
from tflocation.store.database import Database

if TYPE_CHECKING:
    from tflocation.metrics.server import MetricsServer

log = logging.getLogger(__name__)

IO_THREADS = 2
"""Of ZeroMQ: a stream from node to client is decrypted by one and encrypted by the other."""


class Daemon:
    """One life of a location. Make it and use it in one event loop."""

    def __init__(self, options: Options, *, clock: Clock = monotonic, wall: Clock = time.time) -> None:
        """Open the store and the image cache, and take up what they know; nobody can connect yet.

        Raises:
            NotFound: the directory holds no location.
            WrongState: another daemon serves it.
        """
        self._clock = clock
        self._wall = wall
        self._directory = Directory(options.directory)
        self._pair = self._directory.server_keys()
        self._port: Port | None = None
        self._metrics: MetricsServer | None = None
        with Undo() as undo:
            self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(IO_THREADS)
            undo.push(self._context.destroy, 0)
            self.location = self._build(options, undo)
            undo.done()

    def _build(self, options: Options, undo: Undo) -> Location:
        images = ImageCache(self._directory.images)  # first: its lock keeps a second daemon out
        undo.push(images.close)
        database = Database(self._directory.store)
        database.keep_headroom()
        undo.push(database.close)
        background, peers, disk, tally = Background(), Peers(), Disk(), Tally()
        connections = Connections(self._clock)
        accounts = Accounts(database)
        invitations = Invitations(database, accounts)
        holdings = Holdings(database)
        shelf = KeptShelf(database)
        sessions = Sessions(
            database, peers, Dispatcher(handlers.bound(handlers.FROM_CLIENTS, self._parts), observe=tally.answered)
        )
        nodes = Nodes(
            peers,
            Dispatcher(handlers.bound(handlers.FROM_NODES, self._parts), observe=tally.answered),
            self._node_event,
        )
        forwarding = Forwarding(peers, self._clock, observe=tally.answered)
        offers = Offers(sessions, self._clock)
        uploads = Uploads(images)
        addresses = _address_book(options, holdings)
        guard = Guard(
            book=QuotaBook(database), holdings=holdings, sessions=sessions, kept=shelf, forwarding=forwarding,
            images=images,
        )  # fmt: skip
        liveness = Liveness(options.run / "live.sock", may_hold=self._may_hold, on_gone=self._client_gone)
        freeing = Freeing(
            clock=self._clock, peers=peers, sessions=sessions, nodes=nodes, holdings=holdings, forwarding=forwarding,
            addresses=addresses, offers=offers, images=images, uploads=uploads, disk=disk, liveness=liveness,
        )  # fmt: skip
        care = KeptCare(
            shelf, wall=self._wall, limit=options.kept_space, nodes=nodes, holdings=holdings, images=images, disk=disk,
            background=background,
        )  # fmt: skip
        doorstep = Doorstep(
            peers,
            sessions,
            accounts,
            Dispatcher(handlers.bound(handlers.GREETINGS, self._parts), observe=tally.answered),
            clock=self._clock,
        )
        self._doorstep = doorstep
        return Location(
            options=options,
            clock=self._clock,
            server_key=self._pair.public,
            started=time.time(),
            background=background,
            database=database,
            accounts=accounts,
            invitations=invitations,
            drains=Drains(database),
            peers=peers,
            sessions=sessions,
            nodes=nodes,
            holdings=holdings,
            kept=shelf,
            care=care,
            forwarding=forwarding,
            leases=LeaseRunner(
                options.terms, clock=self._clock, background=background,
                free=freeing.session, lose=self._lose, seen=self._signs_of_life,
            ),
            freeing=freeing,
            sweep=Sweep(sessions, holdings, freeing, shelf, care),
            offers=offers,
            guard=guard,
            addresses=addresses,
            images=images,
            uploads=uploads,
            disk=disk,
            liveness=liveness,
            connections=connections,
            broker=Broker(
                connections=connections, peers=peers, nodes=nodes, holdings=holdings, forwarding=forwarding, guard=guard,
                doorstep=doorstep,
                greetings=frozenset(op_of(cls) for cls in handlers.GREETINGS), clock=self._clock,
            ),
            doorkeeper=Doorkeeper(self._context, self._admit, clock=self._clock),
            tally=tally,
        )  # fmt: skip

    def _parts(self) -> Location:
        return self.location

    # life

    async def start(self) -> None:
        """Let clients and nodes in.

        Raises:
            Unavailable: an endpoint cannot be listened on.
        """
        location = self.location
        self._take_up(self._clock())
        location.options.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        await location.liveness.open()
        self._port = Port(router(self._context, self._pair, location.options.endpoints), location.broker.receive)
        location.connections.watch(self._port.socket)
        location.peers.open(self._port)
        location.background.start(self._keep_looking(self.tick, TICK, "the clock"), name="the clock")
        location.background.start(
            self._keep_looking(self.location.connections.look, INTERVAL, "the connections"), name="the watch"
        )
        if location.options.metrics is not None:
            from tflocation.metrics.server import MetricsServer  # its library takes a while to load

            self._metrics = MetricsServer(location, location.options.metrics)
            self._metrics.open()
        log.info("location %s listens on %s", location.options.name, " ".join(location.options.endpoints))

    def _take_up(self, now: float) -> None:
        """What the store knows of the location's former life, and what was revoked since."""
        location = self.location
        location.sessions.restore(now=now)
        for session in location.sessions:
            location.leases.handle(e.SessionExpected(session.id, now, session.record.local))
        for node in location.accounts.living("node"):
            location.nodes.know(node)
            location.leases.handle(e.NodeExpected(node.id, now))
        for dismissed in location.holdings.nodes() - {node.id for node in location.nodes}:
            location.freeing.dismiss(dismissed)
        for left in location.sessions.left_over():
            location.leases.handle(e.SessionLeftOver(left, now))
        self._heed_revocations()
        location.offers.heed_drains(location.nodes, location.drains)

    async def stop(self) -> None:
        """Let nobody in any more and close everything. Sessions live on in the store: their clients will come back."""
        location = self.location
        if self._metrics is not None:
            await self._metrics.close()
        location.connections.close()
        if self._port is not None:
            self._port.close()
        location.doorkeeper.close()
        await location.liveness.close()
        await self._doorstep.close()
        for session in location.sessions:
            await session.link.close()
        for node in location.nodes:
            await node.link.close()
        await location.background.close()
        await asyncio.to_thread(location.disk.close)
        location.images.close()
        location.database.close()
        self._context.destroy(linger=200)

    async def _keep_looking(self, look: Callable[[], None], seconds: float, what: str) -> None:
        """Again and again, also after one has failed: nothing else would look."""
        while True:
            await asyncio.sleep(seconds)
            try:
                look()
            except Exception:
                log.exception("a look at %s failed; the next one may not", what)

    def tick(self) -> None:
        """What has to be looked at twice a second: the leases, stale requests, kept snapshots, the operator's changes."""
        self.location.leases.tick()
        self.location.forwarding.purge()
        self.location.care.tick()
        changed_here, self.location.accounts.replaced = self.location.accounts.replaced, False
        if self.location.database.changed_elsewhere() or changed_here:
            self._heed_revocations()
            self.location.offers.heed_drains(self.location.nodes, self.location.drains)

    def _heed_revocations(self) -> None:
        location = self.location
        for session in location.sessions:
            if location.accounts.by_text(session.principal) is None:
                location.leases.handle(e.SessionEnded(session.id, "the key of its account was revoked"))
        for owner in location.accounts.living("node"):
            if location.nodes.find(owner.id) is not None:
                location.nodes.know(owner)  # perhaps under another key than before
        for node in location.nodes:
            if location.accounts.by_text(node.principal) is None:
                location.leases.handle(e.NodeDismissed(node.id))
                location.freeing.dismiss(node.id)
        accounts = {account.name for account in location.accounts.living("account")}
        location.care.heed(accounts, (node.id for node in location.nodes))

    # what the parts ask for

    def _admit(self, key: bytes) -> str | None:
        """ZeroMQ asks whose key this is."""
        found = self.location.accounts.by_key(key) or self.location.invitations.by_key(key)
        return None if found is None else found.text

    def _signs_of_life(self) -> Iterator[e.SessionSeen | e.NodeSeen]:
        for session in self.location.sessions:
            yield e.SessionSeen(session.id, session.seen)
        for node in self.location.nodes:
            yield e.NodeSeen(node.id, node.seen)

    def _lose(self, identifier: str, reason: str) -> None:
        node = self.location.nodes.find(identifier)
        if node is not None:
            self.location.freeing.lose(node, reason)

    def _may_hold(self, session: str) -> bool:
        found = self.location.sessions.get(session)
        return found is not None and found.record.local

    def _client_gone(self, session: str) -> None:
        self.location.leases.handle(e.SessionEnded(session, "its client's process has ended"))

    def _node_event(self, node: Node, header: Header, body: bytes | memoryview) -> None:
        for cls, handler in handlers.NODE_EVENTS.items():
            if header.op == op_of(cls):
                handler(self.location, node, decode(body, cls))
                return
        log.info("node %s sent an event this version does not know: %s", node.name, shown(header))


def _address_book(options: Options, holdings: Holdings) -> AddressBook:
    try:
        return AddressBook(
            options.network, taken=[IPv4Address(container.address) for container in holdings.containers.values()]
        )
    except BadRequest as outside:
        raise WrongState(
            f"the network was changed to {options.network} while containers of the old one are known: {outside.message}",
            hint="put the old network back, end all sessions, then change it",
        ) from outside
