"""The agent: builds the node's parts, joins the location, serves it. Nothing else constructs.

Runs as pid 1 of its own namespaces, in one event loop; drivers work in a bounded pool of threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tfcore import VERSION
from tfcore.errors import BadImage, CommandFailed, Exhausted, TfError
from tfcore.images.description import parse_config
from tfcore.rpc.dispatcher import Dispatcher
from tfcore.rpc.link import Link
from tfcore.rpc.port import Frames, Port, dealer
from tfcore.undo import Undo
from tfcore.wire import nodes as wire
from tfcore.wire.containers import ContainerEnded
from tfcore.wire.header import Header, decode_header, encode_header
from tfcore.wire.message import op_of
from tfnode import cgroups
from tfnode.config import Loaded
from tfnode.containers.ahead import Fellows
from tfnode.containers.company import reasons_against
from tfnode.containers.container import Container
from tfnode.containers.generations import MachineGenerations, Watch
from tfnode.containers.groups import Groups
from tfnode.containers.leftovers import remove_all_of, remove_leftovers
from tfnode.containers.life import FRESH, Birth, Generation, Moment
from tfnode.containers.output import Output
from tfnode.containers.processes import run_quietly
from tfnode.containers.room import Room
from tfnode.containers.sandbox import Sandbox, unite
from tfnode.containers.standing import DOWN, State
from tfnode.containers.table import Table, moments_on_disk
from tfnode.figures import Figures
from tfnode.handlers import HANDLERS
from tfnode.images.fetching import Fetching
from tfnode.images.layers import LayerStore
from tfnode.joining import Joining
from tfnode.kept.keeping import Keeping
from tfnode.kept.store import KeptStore
from tfnode.network.linux import LinuxNetwork
from tfnode.offer import Offers
from tfnode.outside import Outside
from tfnode.process.init import Orphans, reap_orphans
from tfnode.process.plan import Life
from tfnode.process.userns import container_ids, notes_about, surmise
from tfnode.runtime.crun import Crun
from tfnode.runtime.exits import ExitWatcher
from tfnode.runtime.interface import Command, Exit
from tfnode.runtime.stdio import Pipes
from tfnode.stage import make_stage
from tfnode.storage import drivers
from tfnode.storage.failures import FULL
from tfnode.tunnels.carried import Carried
from tfnode.tunnels.handover import HandOver
from tfnode.tunnels.relay import Relay
from tfnode.volumes.ledger import Ledger
from tfnode.volumes.volumes import Volume, Volumes

log = logging.getLogger(__name__)
T = TypeVar("T")

THREADS = 16
"""Driver calls at the same time."""

SWITCH = 0.0005
"""Seconds a thread may keep the interpreter: with Python's default of 5 ms a tunnel waits for a busy neighbour that long."""

OFFER_EVERY = 1.0


class Agent:
    """One life of the node's agent."""

    def __init__(self, loaded: Loaded, life: Life[Outside]) -> None:
        self.config = loaded.config
        self._loaded = loaded
        self._life = life
        self.executor = ThreadPoolExecutor(THREADS, thread_name_prefix="driver")
        self.ids = container_ids(self.config.uid_base)
        self.containers = Table()
        self.groups = Groups(self)
        self.carried = Carried()
        self.figures = Figures()
        self._closing = contextlib.ExitStack()
        self._boots: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._rejoining: asyncio.Task[None] | None = None
        self._build()

    def _build(self) -> None:
        root, run = self._loaded.root, self._life.run
        self.storage = drivers.choose(root / "storage", self.config.storage)
        ledger = Ledger(root / "volumes.json")
        remove_leftovers(self.storage, ledger.all())
        self._moments = moments_on_disk(self.storage.walk())
        self._layers = LayerStore(root / "layers", self.ids)
        self.kept = KeptStore(self.storage, self._layers)
        stage = make_stage(avoiding=(root, self._loaded.run, run, _socket_directory(self.config.endpoint)))
        self.volumes = Volumes(self.storage, stage / "volumes", ledger, self.ids.uid_base)
        self.group = cgroups.open_node_group(self._loaded.group)
        self.exits = ExitWatcher()
        self._closing.callback(self.exits.close)
        self.runtime = Crun(run / "crun", self.exits)
        self.network = LinuxNetwork()
        self.network.open()
        self._closing.callback(self.network.close)
        self.relay = Relay()
        self._closing.callback(self.relay.close)
        self._way_out = self._life.prepared.way_out(self.relay)
        self.hand_over = HandOver(self._loaded.run / "tunnels.sock", self.relay) if self.config.hand_over else None
        self.generations = MachineGenerations(
            storage=self.storage,
            runtime=self.runtime,
            volumes=self.volumes,
            group=self.group,
            stage=stage,
            ids=self.ids,
            users=self.users_of,
            watch=Watch(self._made, self._main_process_ended, self._buried),
            resolv_conf=self._life.prepared.resolv_conf(),
        )
        self.keeping = Keeping(self.kept, self.generations, self.volumes, self.executor)
        notes = (self._life.uplink, *notes_about(self.ids), *self.group.notes)
        self.offers = Offers(self.config.name, root, self.storage, notes)

    # serving

    async def serve(self) -> None:
        """Join the location and serve it until SIGTERM."""
        self._loop = asyncio.get_running_loop()
        self.room = Room()
        stop = asyncio.Event()
        self._loop.add_signal_handler(signal.SIGTERM, stop.set)
        self.link = Link(self._send, dispatcher=Dispatcher(HANDLERS), on_event=self._event, peer=self)
        self._joining = Joining(self.link, self._hello)
        self._fetching = Fetching(self.link, self._loop)
        self._port = Port(
            dealer(
                self._life.prepared.context,
                self._loaded.keys,
                server_key=self._loaded.server_key,
                endpoint=self.config.endpoint,
            ),
            self._receive,
        )
        if self.hand_over is not None:
            self.hand_over.open()
        if self._way_out is not None:
            await self._way_out.open()
        orphans = self._loop.create_task(reap_orphans(Orphans(self.exits.pids)))
        offering = self._loop.create_task(self._offer())
        await self._join()
        self._life.report_up()
        await stop.wait()
        for task in (offering, orphans):
            task.cancel()
        await self._close()

    async def _join(self) -> None:
        welcome = await self._joining.join()
        self.offers.identify(welcome.node)
        log.info("joined the location as %s (%s)", self.config.name, welcome.node)

    def _hello(self) -> wire.JoinLocation:
        return wire.JoinLocation(
            version=VERSION,
            name=self.config.name,
            incarnation=self._life.incarnation,
            offer=self.offers.now(len(self.containers)),
            inventory=self._inventory(),
        )

    def _inventory(self) -> wire.Inventory:
        here = tuple(container.id for container in self.containers)
        return wire.Inventory(
            containers=here,
            dormant=tuple(identifier for identifier in self._moments if identifier not in here),
            volumes=tuple(volume.id for volume in self.volumes.all()),
            kept=self.keeping.ids(),
        )

    async def _offer(self) -> None:
        while True:
            await asyncio.sleep(OFFER_EVERY)
            with contextlib.suppress(TfError):
                self.link.event(wire.OfferChanged(offer=await self.work(self.offers.now, len(self.containers))))

    def _send(self, header: Header, body: bytes | memoryview) -> None:
        self._port.send([encode_header(header), body])

    def _receive(self, frames: Frames) -> None:
        self.link.receive(decode_header(frames[0].bytes), frames[1].buffer if len(frames) > 1 else b"")

    def _event(self, header: Header, _body: bytes | memoryview) -> None:
        if header.op == op_of(wire.NodeLost) and self._joining.under_way:
            self._joining.unheard()
        elif header.op == op_of(wire.NodeLost) and (self._rejoining is None or self._rejoining.done()):
            self._rejoining = self._loop.create_task(self._rejoin())

    async def _rejoin(self) -> None:
        """After a cut, or a restart of the location: what was said meanwhile may not have been heard."""
        await self._join()
        self.link.replay()
        for container in self.containers:
            if container.state is State.ENDED:
                self.report_end(container, container.standing.ended.result(), container.standing.exit_code)

    async def _close(self) -> None:
        await self.link.close()
        if self.hand_over is not None:
            await self.hand_over.close()
        if self._way_out is not None:
            self._way_out.close()
        self._port.close()
        await self.work(self._layers.flush)
        await self.work(self._closing.close)
        self.storage.close()

    # what handlers ask for

    def work(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Run something synchronous in a driver thread."""
        return self._loop.run_in_executor(self.executor, function, *arguments)

    async def step(self, function: Callable[..., T], *arguments: Any) -> T:
        """As `work`; what the machine refuses becomes an error with a name."""
        try:
            return await self.work(function, *arguments)
        except OSError as error:
            kind = Exhausted if error.errno in FULL else CommandFailed
            raise kind(f"{getattr(function, '__name__', 'a step')}: {error}") from error

    def sweep(self) -> None:
        """Delete what nobody needs any more, and write down what had to wait for room."""
        self.storage.sweep()
        self.volumes.catch_up()

    def users_of(self, volume: Volume) -> dict[str, Generation]:
        """The living generations of the containers that have the volume mounted."""
        users = (self.containers.find(container) for container, _ in volume.users)
        return {
            user.id: user.generation
            for user in users
            if user is not None and user.generation is not None and user.state not in DOWN
        }

    async def boot(self, boot: wire.BootContainer) -> None:
        """Take a container on (or again), and let it boot."""
        async with self._boots[boot.container]:
            former = self.containers.find(boot.container)
            if former is not None:
                self._moments[boot.container] = dict(former.moments)
                await former.end()
                former.output.close()
                self.groups.forget(former.id)
                self._unpin(former.birth.boot)
                self.containers.remove(boot.container)
            birth = await self._birth(boot)
            try:
                moments = await self._moments_of(birth)
                sandbox = await self.work(Sandbox.alone, self.network, boot.address, self.ids)
            except TfError:
                self._unpin(boot)
                raise
            self._moments.pop(boot.container)
            container = Container(birth, sandbox, self, Output(self._loop), moments)
            self.containers.add(container)
            container.boot(boot.snapshot).add_done_callback(self.figures.booted)

    async def _birth(self, boot: wire.BootContainer) -> Birth:
        image = parse_config(boot.config)
        if len(image.diff_ids) != len(boot.layers):
            raise BadImage(f"image {boot.wish.image}: {len(boot.layers)} layers, but its config names another number")
        layers = await self._unpacked(boot)
        session_volumes = tuple(
            mount.volume for mount in boot.wish.mounts if not self.volumes.get(mount.volume).entry.persistent
        )
        return Birth(boot, image, layers, session_volumes)

    async def _moments_of(self, birth: Birth) -> dict[str, Moment]:
        """What is on the disk of it; for one from a kept snapshot that is more than nothing from now on."""
        moments = self._moments.setdefault(birth.id, {})
        if birth.boot.kept and FRESH not in moments:
            moments[FRESH] = await self.keeping.begin(birth)
        return moments

    def _unpin(self, boot: wire.BootContainer) -> None:
        for layer in boot.layers:
            self._layers.unpin(layer.diff_id)

    async def _unpacked(self, boot: wire.BootContainer) -> tuple[Path, ...]:
        """The image's layers on this node's disk, pinned until the container ends."""
        diff_ids = [layer.diff_id for layer in boot.layers]
        with Undo() as undo:
            for diff_id in diff_ids:
                self._layers.pin(diff_id)
                undo.push(self._layers.unpin, diff_id)
            distinct = {layer.diff_id: layer for layer in boot.layers}.values()
            await asyncio.gather(
                *(self.work(self._layers.ensure, layer.diff_id, self._fetching.opener(layer)) for layer in distinct)
            )
            stack = await self.work(self._layers.stack, diff_ids)
            undo.done()
        return tuple(stack)

    async def end(self, identifier: str) -> None:
        """Remove a container with its snapshots, also one that only exists on disk."""
        async with self._boots[identifier]:
            container = self.containers.find(identifier)
            if container is not None:
                if self.hand_over is not None:
                    self.hand_over.drop(identifier)
                await container.end()
                await container.forget_moments()
                container.output.close()
                self.groups.forget(identifier)
                self.containers.remove(identifier)
                self._unpin(container.birth.boot)
            for moment in reversed(list(self._moments.pop(identifier, {}).values())):
                await self.work(self.generations.forget, moment)
            await self.work(remove_all_of, self.storage, identifier)
            await self.work(self.sweep)
        self._boots.pop(identifier, None)

    async def free(self, session: str) -> None:
        """Remove everything of a session but persistent volumes."""
        self.link.end_session(session)
        if self.hand_over is not None:
            for container in self.containers.of_session(session):
                self.hand_over.drop(container.id)
        mine = [container.id for container in self.containers.of_session(session)]
        await asyncio.gather(*(self.end(identifier) for identifier in mine))
        for volume in self.volumes.all():
            if volume.entry.session == session and not volume.entry.persistent:
                await self.work(self.volumes.destroy, volume.id)
        await self.work(self.sweep)

    # what containers ask for

    def open_beside(self, address: str) -> Sandbox:
        """See `Surroundings`."""
        return Sandbox.beside(self.network, address, self.ids)

    def company(self, container: Container, fellows: Fellows) -> str:
        """See `Surroundings`."""
        return reasons_against(container, fellows, self.containers, self.volumes, self.network)

    def unite(self, sandboxes: Sequence[Sandbox]) -> None:
        """See `Surroundings`."""
        unite(sandboxes)

    async def part(self, container: Container) -> None:
        """See `Surroundings`."""
        await self.groups.part(container.id)

    def snapshot_taken(self, container: Container) -> None:
        """See `Surroundings`."""
        self.groups.kept(container.id)

    async def execute(self, generation: Generation, command: str | tuple[str, ...]) -> tuple[int, str]:
        """See `Surroundings`."""
        argv = ("/bin/sh", "-c", command) if isinstance(command, str) else command
        return await run_quietly(self.runtime, self.executor, generation, Command(argv=argv))

    def cut_connections(self, container: str) -> None:
        """See `Surroundings`."""
        self.relay.reset(container)
        self.carried.reset(container)

    def carries(self, container: str) -> bool:
        """See `Surroundings`."""
        return self.relay.carries(container) or self.carried.carries(container)

    def report_end(self, container: Container, reason: str, exit_code: int | None) -> None:
        """See `Surroundings`."""
        ended = ContainerEnded(
            container=container.id,
            reason=reason,
            exit_code=exit_code,
            log=container.output.tail(),
            session=container.birth.boot.session,
        )
        with contextlib.suppress(TfError):
            self.link.event(ended)

    # what generations tell, from threads

    def _made(self, birth: Birth, number: int, pipes: Pipes) -> None:
        def attach() -> None:
            container = self.containers.find(birth.id)
            if container is None:
                pipes.close()
            else:
                container.output.attach(number, pipes)

        self._loop.call_soon_threadsafe(attach)

    def _main_process_ended(self, birth: Birth, number: int, how: Exit) -> None:
        def tell() -> None:
            container = self.containers.find(birth.id)
            if container is not None:
                container.output.catch_up(number)
                container.main_process_ended(number, how.status, f"{how}{surmise(self.ids)}")

        with contextlib.suppress(RuntimeError):  # the loop is gone when the agent ends with its containers
            self._loop.call_soon_threadsafe(tell)

    def _buried(self, birth: Birth, number: int) -> None:
        def detach() -> None:
            container = self.containers.find(birth.id)
            if container is not None:
                container.output.detach(number)

        self._loop.call_soon_threadsafe(detach)


def _socket_directory(endpoint: str) -> Path:
    return Path(endpoint.removeprefix("ipc://")).parent if endpoint.startswith("ipc://") else Path("/run")


def agent_main(loaded: Loaded) -> Callable[[Life[Outside]], None]:
    """The function that the launcher runs as pid 1."""

    def main(life: Life[Outside]) -> None:
        sys.setswitchinterval(SWITCH)
        # A tunnel's connection has up to six descriptors; the usual soft limit of 1024 would be reached soon.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

        async def serve() -> None:
            await Agent(loaded, life).serve()

        asyncio.run(serve())

    return main
