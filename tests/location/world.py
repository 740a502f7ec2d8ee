"""A whole location in this process, with real sockets: clients that ask and fake nodes that answer.

The daemon is the one that ships; only time may be a clock that jumps. Nothing waits longer than `SOON`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import zmq
from msgspec.structs import replace

import tfcore
from tfcore import keys
from tfcore.clock import Clock, monotonic
from tfcore.errors import TfError
from tfcore.keys import KeyPair
from tfcore.rpc.dispatcher import Call, Dispatcher
from tfcore.rpc.link import Link
from tfcore.rpc.port import Frames, Port, dealer
from tfcore.rpc.streams import INPUT, OUTPUT
from tfcore.wire import containers as c
from tfcore.wire import images as i
from tfcore.wire import kept as k
from tfcore.wire import nodes as n
from tfcore.wire import sessions as s
from tfcore.wire import volumes as v
from tfcore.wire.header import Header, decode_header, encode_header
from tfcore.wire.message import Done, Event, decode, op_of
from tflocation.daemon import Daemon
from tflocation.directory import Directory
from tflocation.leases.machine import Terms
from tflocation.options import ConfigFile, Options, options_of

SOON = 20.0
"""Seconds after which a test that waits has failed. On a busy machine things take their time."""

T = TypeVar("T")
EventT = TypeVar("EventT", bound=Event)


def run(scenario: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a test's coroutine; it fails if it takes too long."""

    async def limited() -> T:
        async with asyncio.timeout(3 * SOON):
            return await scenario()

    return asyncio.run(limited())


async def until(condition: Callable[[], object]) -> None:
    """Let the loop go on until `condition` holds."""
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.002)


class Party:
    """Somebody with a key and a socket: frames in, frames out, a link on top."""

    def __init__(
        self, endpoint: str, server_key: bytes, pair: KeyPair, *, handlers: Any = None, identity: bytes = b""
    ) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.events: list[tuple[Header, bytes]] = []
        self.raw: list[list[bytes]] = []
        self.connection_events: list[int] = []
        self._arrived = asyncio.Event()
        self._endpoint, self._server_key, self._pair, self._identity = endpoint, server_key, pair, identity
        self.link = Link(self._send, dispatcher=Dispatcher(handlers or {}), on_event=self._on_event, peer=self)
        self._connect()

    def _connect(self) -> None:
        socket = dealer(self.context, self._pair, server_key=self._server_key, endpoint="inproc://nowhere")
        socket.disconnect("inproc://nowhere")
        if self._identity:
            socket.routing_id = self._identity
        self.monitor = Port(socket.get_monitor_socket(), self._on_connection)
        socket.connect(self._endpoint)
        self.port = Port(socket, self._on_message)

    def cut(self) -> None:
        """The connection is gone; nobody says goodbye."""
        self.port.socket.disable_monitor()
        self.monitor.close()
        self.port.close()

    def reconnect(self) -> None:
        """A new connection, and with it a new identity."""
        self._connect()

    def _send(self, header: Header, body: bytes | memoryview) -> None:
        self.port.send([encode_header(header), body])

    def send_raw(self, *frames: bytes) -> None:
        """Send whatever."""
        self.port.send(list(frames))

    def _on_message(self, frames: Frames) -> None:
        self.raw.append([frame.bytes for frame in frames])
        self._arrived.set()
        header = decode_header(frames[0].bytes)
        self.link.receive(header, frames[1].buffer)

    def _on_event(self, header: Header, body: bytes | memoryview) -> None:
        self.events.append((header, bytes(body)))

    def _on_connection(self, frames: Frames) -> None:
        self.connection_events.append(int.from_bytes(frames[0].bytes[:2], "little"))

    def told(self, event: type[EventT]) -> list[EventT]:
        """The events of a class so far."""
        return [decode(body, event) for header, body in self.events if header.op == op_of(event)]

    async def hears(self, event: type[EventT], *, that: Callable[[EventT], bool] = lambda _: True) -> EventT:
        """The first event of a class (that fits), now or soon."""
        await until(lambda: any(that(told) for told in self.told(event)))
        return next(told for told in self.told(event) if that(told))

    async def call(self, request: Any, *, target: str = "", timeout: float = SOON) -> Any:
        """Ask."""
        return await self.link.call(request, target=target, timeout=timeout)

    async def error_of(self, request: Any, *, target: str = "", timeout: float = SOON) -> TfError:
        """Ask for something that must fail."""
        try:
            reply = await self.call(request, target=target, timeout=timeout)
        except TfError as error:
            return error
        raise AssertionError(f"{op_of(request)} was answered by {reply}")

    async def close(self) -> None:
        """Leave without a word."""
        await self.link.close()
        self.cut()
        self.context.destroy(linger=0)


class Client(Party):
    """An account's client."""

    welcome: s.Welcome

    async def hello(self, **wishes: Any) -> s.Welcome:
        """Open a session, or take it up."""
        self.welcome = await self.call(s.OpenSession(version=tfcore.VERSION, program="a test", **wishes))
        self.link.session = self.welcome.session
        return self.welcome

    async def take_up(self) -> s.Welcome:
        """As the SDK does after a cut: hello again, then everything unanswered again."""
        welcome = await self.hello(session=self.link.session)
        self.link.replay()
        return welcome

    async def upload(self, name: str, image: tuple[bytes, str, bytes]) -> i.ImageFound:
        """Have an image in the location's cache."""
        config, diff_id, layer = image
        await self.call(i.OfferImage(name=name, config=config, diff_ids=(diff_id,)))
        sending = self.link.begin(i.PutLayer(diff_id=diff_id), timeout=SOON)
        await sending.stream.write(INPUT, layer)
        sending.stream.finish(INPUT)
        await sending.reply()
        found: i.ImageFound = await self.call(i.FinishImage(name=name, config=config, diff_ids=(diff_id,)))
        return found


class FakeNode(Party):
    """A node's side of the wire: believes everything, runs nothing, remembers what it was told."""

    def __init__(self, endpoint: str, server_key: bytes, pair: KeyPair, name: str) -> None:
        self.name = name
        self.incarnation = "life-1"
        self.containers: dict[str, n.BootContainer] = {}
        self.dormant: set[str] = set()
        self.volumes: dict[str, v.MakeVolume] = {}
        self.kept: set[str] = set()
        self.orders: list[Any] = []
        self.refusals: dict[type, TfError] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.gated: tuple[type, ...] = (object,)
        """What waits at the gate."""
        self.asked: list[tuple[str, Call]] = []
        handlers = {
            n.BootContainer: self._order, n.EndContainer: self._order, n.FreeSession: self._order,
            n.ConnectContainers: self._order, n.DisconnectContainers: self._order,
            v.MakeVolume: self._order, v.RemoveVolume: self._order, c.OpenConnection: self._order,
            k.KeepMoment: self._keep, k.DropKept: self._order,
            c.WaitReady: self._wait_ready, c.AskContainer: self._status,
            c.RollBackTogether: self._together, c.RunProcess: self._echo,
            c.RebootContainer: self._wait_ready, c.FetchFile: self._pour, v.SnapshotVolume: self._snapshot,
        }  # fmt: skip
        super().__init__(endpoint, server_key, pair, handlers=handlers)

    async def join(self) -> n.NodeWelcomed:
        """Say hello."""
        welcomed: n.NodeWelcomed = await self.call(
            n.JoinLocation(
                version=tfcore.VERSION,
                name=self.name,
                incarnation=self.incarnation,
                offer=self.offer(),
                inventory=n.Inventory(
                    containers=tuple(self.containers),
                    dormant=tuple(self.dormant),
                    volumes=tuple(self.volumes),
                    kept=tuple(self.kept),
                ),
            )
        )
        return welcomed

    async def rejoin(self) -> n.NodeWelcomed:
        """As the agent does after a cut."""
        welcomed = await self.join()
        self.link.replay()
        return welcomed

    def restart_agent(self) -> None:
        """A new life: volumes and snapshots are on disk, everything else is gone."""
        self.incarnation += "+"
        self.dormant |= set(self.containers)
        self.containers.clear()

    def offer(self, **fields: Any) -> s.NodeOffer:
        """What it has free."""
        base = s.NodeOffer(
            id="n-" + "0" * 22, name=self.name, cpu=0.9, cores=2, memory=1 << 30, memory_total=2 << 30, disk=1 << 40
        )
        return replace(base, containers=len(self.containers), **fields)

    def offers(self, **fields: Any) -> None:
        """Tell the location."""
        self.link.event(n.OfferChanged(offer=self.offer(**fields)))

    def ended(self, container: str, *, exit_code: int | None = 1) -> None:
        """A main process has ended."""
        self.link.event(c.ContainerEnded(container=container, reason="it ended", exit_code=exit_code, log="last words"))

    async def _order(self, call: Call, order: Any) -> Done:
        self.orders.append(order)
        self.asked.append((op_of(order), call))
        if isinstance(order, self.gated):
            await self.gate.wait()
        if type(order) in self.refusals:
            raise self.refusals[type(order)]
        match order:
            case n.BootContainer():
                self.containers[order.container] = order
                self.dormant.discard(order.container)
            case n.EndContainer():
                self.containers.pop(order.container, None)
                self.dormant.discard(order.container)
            case n.FreeSession():
                self.containers = {k: b for k, b in self.containers.items() if b.session != order.session}
                gone = [k for k, m in self.volumes.items() if m.session == order.session and not m.persistent]
                for volume in gone:
                    del self.volumes[volume]
            case v.MakeVolume():
                self.volumes[order.volume] = order
            case v.RemoveVolume():
                self.volumes.pop(order.volume, None)
            case k.DropKept():
                self.kept.discard(order.kept)
        return Done()

    async def _keep(self, call: Call, order: k.KeepMoment) -> k.MomentKept:
        """Ten MiB each, with all of its volumes that end with their session."""
        self.kept.add(order.kept)  # at once: the real one's inventory has what is under way
        try:
            await self._order(call, order)
        except TfError:
            self.kept.discard(order.kept)
            raise
        boot = self.containers[order.container]
        fleeting = tuple(m.volume for m in boot.wish.mounts if not self.volumes[m.volume].persistent)
        return k.MomentKept(
            size=10 << 20, wish=boot.wish, config=boot.config, layers=boot.layers, volumes=fleeting, fleeting=fleeting
        )

    def ordered(self, order: type[T]) -> list[T]:
        """The location's orders of a class so far."""
        return [given for given in self.orders if isinstance(given, order)]

    async def _wait_ready(self, call: Call, request: Any) -> c.ContainerReady:
        self.asked.append((op_of(request), call))
        await self.gate.wait()
        return c.ContainerReady(generation=1, seconds=0.1)

    async def _status(self, call: Call, request: Any) -> c.ContainerStatus:
        self.asked.append((op_of(request), call))
        return c.ContainerStatus(state="ready", generation=1)

    async def _together(self, call: Call, request: Any) -> c.RolledBackTogether:
        self.asked.append((op_of(request), call))
        rolled = c.RolledBack(generation=2, seconds=0.1, tier="cold")
        return c.RolledBackTogether(rollbacks=(rolled,) * len(request.containers))

    async def _snapshot(self, call: Call, request: Any) -> v.VolumeSnapshotted:
        self.asked.append((op_of(request), call))
        return v.VolumeSnapshotted(snapshot=request.name)

    async def _echo(self, call: Call, request: c.RunProcess) -> c.ProcessEnded:
        """What comes on stdin goes to stdout."""
        self.asked.append((op_of(request), call))
        async for chunk in call.stream.chunks(INPUT):
            await call.stream.write(OUTPUT, chunk)
        call.stream.finish(OUTPUT)
        return c.ProcessEnded(exit_code=0)

    async def _pour(self, call: Call, request: c.FetchFile) -> c.FileFetched:
        """A file of as many bytes as its path says."""
        self.asked.append((op_of(request), call))
        size = int(request.path.strip("/"))
        for start in range(0, size, 65536):
            await call.stream.write(OUTPUT, bytes(min(65536, size - start)))
        call.stream.finish(OUTPUT)
        return c.FileFetched(size=size)


@dataclass
class World:
    """A location, and everybody who has to do with it."""

    root: Path
    clock: Clock = monotonic
    wall: Clock = time.time
    kept_space: int = 10 << 30
    terms: Terms = field(default_factory=Terms)
    parties: list[Party] = field(default_factory=list)
    pairs: dict[str, KeyPair] = field(default_factory=dict)
    daemon: Daemon = field(init=False)

    @property
    def endpoint(self) -> str:
        return f"ipc://{self.root / 'run' / 'location.sock'}"

    @property
    def location(self) -> Any:
        return self.daemon.location

    @property
    def server_key(self) -> bytes:
        return self.daemon.location.server_key

    def options(self) -> Options:
        directory = Directory(self.root)
        if not directory.key.exists():
            directory.make(ConfigFile(name="test", address=self.endpoint, listen=()))
        config = ConfigFile(name="test", address=self.endpoint, listen=())
        made = options_of(config, directory=self.root, run=self.root / "run", ipc=(self.endpoint,))
        return Options(**{**made.__dict__, "terms": self.terms, "kept_space": self.kept_space})

    async def start(self) -> None:
        self.daemon = Daemon(self.options(), clock=self.clock, wall=self.wall)
        await self.daemon.start()

    async def stop(self) -> None:
        await self.daemon.stop()

    async def restart(self) -> None:
        """The daemon ends and another one takes over; nobody else is asked."""
        await self.stop()
        await self.start()

    def pair_of(self, role: Any, name: str) -> KeyPair:
        """The key pair of an account or node, which is admitted if it is new."""
        if name not in self.pairs:
            self.pairs[name] = keys.generate()
            self.location.accounts.add(role, name, self.pairs[name].public)
        return self.pairs[name]

    def party(self, pair: KeyPair, **options: Any) -> Client:
        """Somebody with this key, whom the location may or may not know."""
        server_key = options.pop("server_key", self.server_key)
        party = Client(self.endpoint, server_key, pair, **options)
        self.parties.append(party)
        return party

    async def client(self, name: str = "alice", **wishes: Any) -> Client:
        """A client with an open session."""
        client = self.party(self.pair_of("account", name))
        await client.hello(**wishes)
        return client

    async def node(self, name: str = "rack1") -> FakeNode:
        """A node that has joined."""
        node = FakeNode(self.endpoint, self.server_key, self.pair_of("node", name), name)
        self.parties.append(node)
        await node.join()
        return node

    def node_id(self, name: str = "rack1") -> str:
        return next(node.id for node in self.location.nodes if node.name == name)

    async def container(self, client: Client, *, name: str = "rack1", tag: str = "", **wish: Any) -> str:
        """Spawn one; returns its id."""
        if not any(image.name == "web" for image in (await client.call(i.ListImages())).images):
            await client.upload("web", an_image())
        spawn = c.SpawnContainer(node=self.node_id(name), wish=c.ContainerWish(image="web", **wish), tag=tag)
        return str((await client.call(spawn)).container)

    async def volume(self, client: Client, *, name: str = "rack1", **wish: Any) -> str:
        """Create one; returns its id."""
        return str((await client.call(v.CreateVolume(node=self.node_id(name), **wish))).volume)


@contextlib.asynccontextmanager
async def location(
    root: Path,
    *,
    clock: Clock = monotonic,
    wall: Clock = time.time,
    terms: Terms | None = None,
    kept_space: int = 10 << 30,
) -> AsyncIterator[World]:
    """A location that is up; afterwards everybody has left."""
    world = World(root, clock=clock, wall=wall, terms=terms or Terms(), kept_space=kept_space)
    await world.start()
    try:
        yield world
    finally:
        for party in world.parties:
            await party.close()
        await world.stop()


def an_image(content: bytes = b"hello\n") -> tuple[bytes, str, bytes]:
    """(config, diff_id, layer) of an image with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("greeting")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    layer = buffer.getvalue()
    diff_id = "sha256:" + hashlib.sha256(layer).hexdigest()
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    return json.dumps(config).encode(), diff_id, layer
