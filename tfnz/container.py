"""A container: boots by itself in the background; calls on it wait until it runs.

Keeps what was asked for, so that it can be built again under the same id and address. The wire's messages are used
here; the I/O is the location's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from tfcore.errors import BadRequest, ContainerDied, NotFound, TfError, WrongState
from tfcore.wire import containers as wire
from tfcore.wire.differences import LookFor
from tfcore.wire.message import ReplyT, Request
from tfnz import arguments, callbacks, logs, transfer
from tfnz.difference import Difference
from tfnz.external import ExternalContainer
from tfnz.files import Files
from tfnz.imaged import Imaged
from tfnz.lasting import Lasting
from tfnz.logs import LogLine
from tfnz.processes import Processes
from tfnz.ssh.access import Ssh
from tfnz.tagged import Taggable
from tfnz.tunnel import Tunnel, Tunnels
from tfnz.web import Web

if TYPE_CHECKING:
    from tfnz.location import Location
    from tfnz.node import Node
    from tfnz.process import Process
    from tfnz.volume import Volume

log = logging.getLogger(__name__)

BOOT_TIMEOUT = 60.0
"""Seconds a container may take until it is ready (seed SDK: wait_until_ready(timeout=60))."""


class Container(Files, Imaged, Lasting, Processes, Ssh, Web, Taggable):
    """Made by `Node.spawn_container`, never by hand."""

    def __init__(
        self,
        node: Node,
        spawn: wire.SpawnContainer,
        *,
        config: bytes = b"",
        stdout_callback: Callable[..., object] | None = None,
        termination_callback: Callable[..., object] | None = None,
    ) -> None:
        self.node = node
        self.location: Location = node.location
        self.tag = spawn.tag
        self.stdout_callback = stdout_callback
        self.termination_callback = termination_callback
        self._processes: dict[str, Process] = {}
        self._spawn = spawn
        self._tunnels = Tunnels(self)
        self._ssh_servers = []
        self._lock = threading.Lock()
        self._end: wire.ContainerEnded | None = None
        self._destroyed = False
        self._snapshot = ""
        self._past_checkpoints: list[str] = []
        self._partners: set[Container] = set()
        self.startup_notes: tuple[str, ...] = ()
        accepted = self._begun()
        self.uuid: str = accepted.container
        self.ip = arguments.Address(accepted.address)
        self._config = accepted.config or config
        self._mounts = accepted.mounts or spawn.wish.mounts
        self._enlist(accepted)

    def _begun(self) -> wire.ContainerAccepted:
        return self.location._call(self._spawn)

    def _enlist(self, accepted: wire.ContainerAccepted) -> None:
        self.location._offer.add_mounted(accepted.mounts, node=self.node)
        self.location._offer.add_container(self)
        log.info("Spawning container: %s", self.uuid)
        self._listen()

    @property
    def volumes(self) -> dict[str, Volume]:
        """Its volumes that have not been destroyed, by the path each is mounted on."""
        present = self.location.volumes
        return {mount.path: present[mount.volume] for mount in self._mounts if mount.volume in present}

    # boot

    def wait_until_ready(self, timeout: float = BOOT_TIMEOUT) -> Container:
        """Block until it runs and has passed its readiness probe; returns itself, for chaining.

        Raises:
            DeadlineExceeded: not within `timeout` seconds; the message says what was last seen.
            ContainerDied: its main process ended; the message carries its last output.
        """
        ready = self._ask(wire.WaitReady(), timeout=timeout)
        self.startup_notes = ready.notes
        self.node.note_start(self.uuid, ready.seconds)
        log.info("Container is running: %s", self.uuid)
        return self

    def is_ready(self) -> bool:
        """True if `wait_until_ready` would return at once; False if it boots, sleeps, has ended or cannot be reached."""
        self._check()
        try:
            return self._ask(wire.AskContainer(), timeout=10).state == "ready"
        except TfError:
            return False

    def start(self) -> None:
        """Start the main process of a container spawned with `sleep=True`.

        Raises:
            WrongState: it runs already.
        """
        self._boot(wire.StartContainer(), BOOT_TIMEOUT)

    def status(self) -> wire.ContainerStatus:
        """State, generation, number of processes, memory, exit code, as the node sees them now."""
        return self._ask(wire.AskContainer(), timeout=10)

    def private_ip(self) -> str:
        """Gen 2's name for `.ip`."""
        return str(self.ip)

    # state

    def reboot(self, *, reset_filesystem: bool = False, timeout: float = BOOT_TIMEOUT) -> None:
        """End all processes and boot again: same address, tunnels stay usable (seed 002, Rebooting Containers).

        Args:
            reset_filesystem: back to how it was after the pre-boot files.
        """
        self._boot(wire.RebootContainer(fresh=reset_filesystem), timeout)

    def snapshot(self, name: str = "", *, timeout: float = 300.0) -> str:
        """Keep the state of its disk and its session volumes, at one instant; returns the snapshot's name.

        Memory is not part of it: see `before_snapshot=` and `after_boot=` of `spawn_container` (DESIGN D9.6). There may be
        any number, and each stays valid whatever the container is put back to meanwhile: they make a tree.

        Raises:
            BadRequest: no name for a snapshot. WrongState: it does not run, or has a snapshot of that name.
        """
        self._snapshot = self._ask(wire.SnapshotContainer(name=name), timeout=timeout).snapshot
        return self._snapshot

    def rollback(
        self, snapshot: str = "", *, timeout: float = BOOT_TIMEOUT, look_for: LookFor = "nothing"
    ) -> wire.RolledBack:
        """Put disk and session volumes back to a snapshot, boot, wait until ready.

        Args:
            snapshot: default the one it was last taken as or put back to.
            look_for: what to tell in `.left` of what it does away with: `processes` that are not the service's own, new
                `files` in /tmp, /var/tmp and /dev/shm, `all` of that, or `nothing`.

        Its address, firewall rules and tunnels' local ports stay; connections to its former life are reset.

        Raises:
            NotFound: no such snapshot. ContainerDied, DeadlineExceeded: it did not come up again.
        """
        rolled = self._boot(wire.RollBackContainer(name=snapshot or self._snapshot, look_for=look_for), timeout)
        self._snapshot = snapshot or self._snapshot
        self._drop_past_checkpoints()
        return rolled

    def diff(self, snapshot: str = "", *, to: str = "", most: int = 100, timeout: float = 15.0) -> Difference:
        """What has changed since a snapshot: files, processes, connections; it leaves no trace.

        Args:
            snapshot: default the one it was last taken as or put back to, else the newest, else its image.
            to: until another snapshot, instead of until now; then it tells files on disk only.
            most: entries of each kind, 1 to 1000; the rest is counted.
            timeout: seconds; when they are nearly over, what was found by then is told, with a note.

        Raises:
            NotFound: no such snapshot. WrongState: it has not booted, or is destroyed. BadRequest: as `most` says.
        """
        request = Difference.request(snapshot or self._snapshot, to, most, timeout)
        return Difference.of(self._ask(request, timeout=timeout))

    def drop_snapshot(self, snapshot: str) -> None:
        """Forget a snapshot and free its space.

        Raises:
            NotFound: no such snapshot. WrongState: the container as it is now, or another snapshot, grew from it.
        """
        self._ask(wire.DropSnapshot(name=snapshot))
        if self._snapshot == snapshot:
            self._snapshot = ""

    @contextmanager
    def checkpoint(self) -> Iterator[str]:
        """What happens to disk and session volumes inside the `with` is undone at its end, also when it ends with an error;
        gives the name of the snapshot it goes back to. Checkpoints may lie inside one another.

        Raises:
            As `snapshot` and `rollback`.
        """
        before = self._snapshot
        snapshot = self.snapshot()
        try:
            yield snapshot
        finally:
            if not self._destroyed:
                self._past_checkpoints.append(snapshot)
                self.rollback(snapshot)
                self._snapshot = before

    def _drop_past_checkpoints(self) -> None:
        """Right after a checkpoint the container's files stand on its snapshot: it can go when they stand on another."""
        for snapshot in self._past_checkpoints[::-1]:
            try:
                self.drop_snapshot(snapshot)
            except TfError as error:
                log.info("the snapshot of a past checkpoint of %s stays for now: %s", self.uuid, error)
                return
            self._past_checkpoints.remove(snapshot)

    def rebuild(self, snapshot: str = "", *, timeout: float = BOOT_TIMEOUT) -> None:
        """Boot it again after it ended, failed or was lost with its node's agent: same id, address and tunnels.

        Args:
            snapshot: what to boot from; default the one it was last taken as or put back to, else the image.
        """
        self._check()
        wish = msgspec.structs.replace(self._spawn, again=self.uuid, snapshot=snapshot or self._snapshot)
        accepted = self._boot(wish, BOOT_TIMEOUT, target="")
        self.ip = arguments.Address(accepted.address)
        self.wait_until_ready(timeout)
        self._snapshot = wish.snapshot
        self._tunnels.renew()
        self._listen()

    def destroy(self) -> None:
        """Remove it with everything it has; its tunnels are closed. Use after that is a `ValueError`.

        If it had not ended, its termination callback is called with the return code 0, as in gen 2.
        """
        self._check()
        self._close_ssh_servers()
        for tunnel in self.all_tunnels():
            self.destroy_tunnel(tunnel)
        try:
            self.location._call(wire.DestroyContainer(), target=self.uuid)
        except NotFound:
            log.info("container %s was gone already", self.uuid)
        with self._lock:
            ended, self._destroyed = self._end is not None, True
        self.location._offer.remove_container(self.uuid)
        if not ended:
            self._tell_callback(0)

    # output

    def logs(self, since: int = 0) -> list[LogLine]:
        """Its output so far (seed 001, Some Logs).

        Args:
            since: a number from `log_mark()`: only what came after it.
        """
        return logs.read(self._page, since)

    def stream_logs(self, since: int = 0) -> Iterator[LogLine]:
        """Its output so far and from now on, as it is written, until it has ended or is removed.

        It goes on over rollbacks and reboots; whoever takes it slowly may miss some, and holds nobody up.

        Args:
            since: as of `logs`.
        """
        try:
            yield from logs.texts(logs.follow(self._page, since))
        except (NotFound, WrongState):
            if not self._destroyed and self.uuid in self.location.containers:
                raise

    def log_mark(self) -> int:
        """The number the next piece of output will have."""
        return logs.next_record(self._page)

    def _page(self, request: wire.GetLogs) -> wire.LogsFound:
        return self._ask(request, timeout=30)

    # network

    def attach_tunnel(self, dest_port: int, localport: int | None = None, bind: str | None = None) -> Tunnel:
        """Listen here and connect each client to the container's port (seed 001, Creating TCP Tunnels).

        Args:
            localport: the port to listen on; None chooses a free one.
            bind: the address to listen on, 127.0.0.1 unless given.

        Raises:
            WrongState: the local port is taken.
        """
        self._check()
        return self._tunnels.attach(dest_port, localport, bind or "127.0.0.1")

    def tunnel(self, dest_port: int) -> Tunnel:
        """The tunnel onto a port, attached at the first call and the same one ever after."""
        self._check()
        return self._tunnels.onto(dest_port)

    def destroy_tunnel(self, tunnel: Tunnel) -> None:
        """Stop listening and cut the tunnel's connections.

        Raises:
            WrongState: it is not one of this container's, or destroyed already.
        """
        self._tunnels.destroy(tunnel)

    def all_tunnels(self) -> list[Tunnel]:
        """The tunnels that are open."""
        return self._tunnels.all()

    def wait_tcp(self, dest_port: int, timeout: float = BOOT_TIMEOUT) -> None:
        """Block until the port accepts a connection; the node polls."""
        self._ask(wire.WaitTcp(port=arguments.port(dest_port)), timeout=timeout)

    def allow_connection_from(self, container: Container | ExternalContainer) -> None:
        """Let another container connect to this one, and this one to it (seed SDK: bidirectional)."""
        self._ask(wire.AllowConnection(source=_uuid(container)))
        if isinstance(container, Container):
            self._partners.add(container)
            container._partners.add(self)

    def disallow_connection_from(self, container: Container | ExternalContainer) -> None:
        """Take `allow_connection_from` back; live connections between the two are cut."""
        self._ask(wire.DisallowConnection(source=_uuid(container)))
        if isinstance(container, Container):
            self._partners.discard(container)
            container._partners.discard(self)

    @property
    def partners(self) -> frozenset[Container]:
        """The containers it may talk to, which may talk to it."""
        return frozenset(self._partners)

    # the end, and what the location tells of it

    @property
    def end(self) -> ContainerDied | None:
        """Why its main process ended, if the location has told so."""
        event = self._end
        if event is None:
            return None
        return ContainerDied(f"container {self.uuid} ended: {event.reason}\n{event.log}".rstrip())

    def tell_end(self, event: wire.ContainerEnded) -> None:
        """Its main process ended, or its node was lost (I/O thread). After a cut the location may say so twice."""
        with self._lock:
            if self._end is not None or self._destroyed:
                return
            self._end = event
        log.info("Container %s ended: %s", self.uuid, event.reason)
        self._tell_callback(event.exit_code)

    def _tell_callback(self, code: int | None) -> None:
        told = callbacks.fitting(self.termination_callback, self, code)
        self.location._callbacks.post(told, lane=self)

    def _check(self) -> None:
        if self._destroyed:
            raise WrongState(f"container {self.uuid} is destroyed")

    def _ask(self, request: Request[ReplyT], *, timeout: float = 60.0) -> ReplyT:
        self._check()
        return self.location._call(request, target=self.uuid, timeout=timeout)

    def _boot(self, request: Request[ReplyT], timeout: float, *, target: str | None = None) -> ReplyT:
        with self._booting():
            return self.location._call(request, target=self.uuid if target is None else target, timeout=timeout)

    @contextmanager
    def _booting(self) -> Iterator[None]:
        """It is booted anew: what was said of its end before is no news then, unless that fails."""
        self._check()
        with self._lock:
            before, self._end = self._end, None
        try:
            yield
        except BaseException:
            with self._lock:
                self._end = self._end or before
            raise

    def _errand(self, request: Request[Any], timeout: float) -> transfer.Errand:
        self._check()
        return transfer.Errand(self.location._connection, request, target=self.uuid, timeout=timeout)

    def __repr__(self) -> str:
        return f"<Container {self.uuid} {self._spawn.wish.image} {self.ip}>"


def _uuid(container: Container | ExternalContainer) -> str:
    if not isinstance(container, Container | ExternalContainer):
        raise BadRequest(f"{container!r} is not a Container")
    container._check()
    return container.uuid
