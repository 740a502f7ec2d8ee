"""A location: the session with it, what it offers, images, and the objects made through it.

The entry point of the SDK (seed 001, Quickstart; seed 002, Connecting to Locations). Knows the wire only through its
messages; the I/O is `Connection`'s.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tfcore.errors import Exhausted, NotFound, SessionLost, TfError, Unavailable, WrongState
from tfcore.images.reference import parse_reference
from tfcore.wire import containers as wire
from tfcore.wire import images, sessions, volumes
from tfcore.wire.header import Header
from tfcore.wire.message import ReplyT, Request, decode, op_of
from tfnz import accounts, switches
from tfnz.connection import Connection
from tfnz.node import Node
from tfnz.portal import Callbacks, Portal
from tfnz.volume import Volume

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.tunnel import Tunnel

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""(what, bytes done, bytes in all)"""


class Location:
    """A session with a location; everything made through it is freed when it ends, however it ends.

    Args:
        location: the location's name; "local" for a private one on this machine; None for the default account's.
        location_ip: connect to this `host[:port]` instead of the location's own.
        quiet: leave the logging configuration alone (as does `debug_log=None`); with `debug_log` a `ValueError`.
        debug_log: False sets up logging at level INFO, True at DEBUG (seed 001).
        new_node_callback: called with each `Node` that appears after the first offer.

    Raises:
        NotFound: no account for the location, or no default.
        UnknownKey, WrongServerKey, VersionMismatch, Unavailable: as they say.
        HostLacks: a local location cannot run on this machine.
    """

    def __init__(
        self,
        location: str | None = None,
        location_ip: str | None = None,
        debug_log: bool | None = None,
        *,
        quiet: bool = False,
        new_node_callback: Callable[[Node], object] | None = None,
    ) -> None:
        switches.set_logging(quiet=quiet, debug_log=debug_log)
        self._new_node = new_node_callback
        self._lock = threading.Lock()
        self._nodes: dict[str, Node] = {}
        self._volumes: dict[str, Volume] = {}
        self._containers: dict[str, Container] = {}
        self._error: TfError | None = None
        self._over = threading.Event()
        self._portal: Portal | None = None
        self._connect(location, location_ip)

    def _connect(self, location: str | None, location_ip: str | None) -> None:
        for attempt in range(3):
            account = accounts.resolve(location, address=location_ip)
            log.info("Connecting to: %s", account.location)
            self.name = account.location
            self._portal = Portal(account.location)
            self._callbacks = Callbacks(account.location)
            try:
                self._connection, welcome = self._portal.call(self._open(account))
            except BaseException as error:
                self._portal.close()
                # A private location may have gone idle between finding and reaching it.
                if account.local and attempt < 2 and isinstance(error, Unavailable):
                    continue
                raise
            break
        self.account = welcome.account
        self.session = welcome.session
        atexit.register(self.disconnect)
        log.info("Location has sent resource offer")

    async def _open(self, account: accounts.Account) -> tuple[Connection, sessions.Welcome]:
        connection = Connection(account, self._event, self._lost)
        try:
            welcome = await connection.open()
        except BaseException:
            await connection.close()
            raise
        for offer in welcome.nodes:
            self._nodes[offer.id] = Node(self, offer)
        for volume in welcome.volumes:
            self._volumes[volume.id] = Volume(self, volume)
        return connection, welcome

    # what is offered

    @property
    def nodes(self) -> dict[str, Node]:
        """The nodes by id, kept current."""
        with self._lock:
            return dict(self._nodes)

    @property
    def volumes(self) -> dict[str, Volume]:
        """The volumes this session may mount, by id, kept current."""
        with self._lock:
            return dict(self._volumes)

    @property
    def containers(self) -> dict[str, Container]:
        """The containers of this session, by id."""
        with self._lock:
            return dict(self._containers)

    @property
    def tunnels(self) -> list[Tunnel]:
        """All open tunnels of this session."""
        return [tunnel for container in self.containers.values() for tunnel in container.all_tunnels()]

    def ranked_nodes(self, bias_memory: bool = False) -> list[Node]:
        """The living nodes, best first: free cpu plus free memory minus ten times paging (seed SDK, B4).

        Args:
            bias_memory: weigh memory ten times as much (seed 001).
        """
        weight = 10.0 if bias_memory else 1.0
        living = [node for node in self.nodes.values() if node.alive]
        return sorted(living, key=lambda node: node.rank(memory_weight=weight), reverse=True)

    def node(self) -> Node:
        """The best node.

        Raises:
            Exhausted: the location has no node at the moment (a `ValueError`).
        """
        ranked = self.ranked_nodes()
        if not ranked:
            raise Exhausted(f"location {self.name} has no node", hint="its operator can look: tf-location status")
        return ranked[0]

    best_node = node
    """Gen 1's name for `node` (seed 001)."""

    # images

    def ensure_image_uploaded(
        self, docker_image_id: str, *, descr: object = None, progress: Progress | None = None
    ) -> list[str]:
        """Have the image in the location's cache, uploading from here what is missing.

        Args:
            docker_image_id: `nginx`, `repo/name:tag`, an image id, `.` for the newest local build, `oci:DIR[:TAG]`,
                `docker-archive:FILE`, `rootfs:TAR`.
            descr: accepted and ignored (gen 2 passed the description of `docker inspect`).
            progress: called as layers travel; by default lines are logged.

        Returns:
            The layers' digests, bottom first.

        Raises:
            ImageNotFound: neither the cache nor the local Docker has it.
            BadImage: it cannot be used.
        """
        del descr
        return [layer.diff_id for layer in self._image(docker_image_id, progress=progress).layers]

    def _image(self, reference: str, *, progress: Progress | None = None) -> images.ImageFound:
        from tfnz import upload  # the sources of images are loaded by those who need them

        return upload.ensure(self, reference, progress=progress)

    def _cached(self, reference: str) -> images.ImageFound:
        """What the cache says of an image that was ensured before; nothing on this machine is looked at."""
        name = parse_reference(reference).cached_name
        if name is None:
            return self._image(reference)
        return self._call(images.FindImage(name=name))

    # volumes

    def volume(self, key: str) -> Volume:
        """The volume with this id or tag.

        Raises:
            NotFound: there is none.
        """
        found = [v for v in self.volumes.values() if key in (v.uuid, v.tag, v.display_name())]
        if not found:
            raise NotFound(f"there is no volume {key!r} at {self.name}")
        return found[0]

    def _create_volume(self, node: Node, *, tag: str | None, persistent: bool) -> Volume:
        wish = volumes.CreateVolume(node=node.pk, tag=tag or "", persistent=persistent)
        made = self._call(wish)
        offer = sessions.VolumeOffer(id=made.volume, node=made.node, tag=tag or "", persistent=persistent)
        with self._lock:
            return self._volumes.setdefault(made.volume, Volume(self, offer))

    # life

    def run(self) -> None:
        """Block until the session ends (seed 002). Ctrl-C disconnects and returns.

        Raises:
            SessionLost: the location ended the session.
        """
        try:
            while not self._over.wait(3600):
                pass
        except KeyboardInterrupt:
            self.disconnect()
        if self._error is not None:
            raise self._error

    def disconnect(self) -> None:
        """Free everything of this session, except persistent volumes, and close the connection. Safe to call twice."""
        atexit.unregister(self.disconnect)
        portal, self._portal = self._portal, None
        if portal is None:
            return
        try:
            for tunnel in self.tunnels:
                tunnel.close_from(portal)
            portal.call(self._connection.close())
        finally:
            portal.close()
            self._over.set()
            self._callbacks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.disconnect()

    def __repr__(self) -> str:
        return f"<Location {self.name} account={self.account} session={self.session}>"

    # for the other objects of this package

    @property
    def _io(self) -> Portal:
        if self._error is not None:
            raise self._error
        if self._portal is None:
            raise WrongState(f"location {self.name} is disconnected", hint="make a new Location")
        return self._portal

    def _call(self, request: Request[ReplyT], *, target: str = "", timeout: float = 60.0) -> ReplyT:
        """Send a request and wait for its reply; see `Link.call`."""
        return self._io.call(self._connection.link.call(request, target=target, timeout=timeout))

    def _add(self, container: Container) -> None:
        with self._lock:
            self._containers[container.uuid] = container

    def _remove(self, uuid: str) -> None:
        with self._lock:
            self._containers.pop(uuid, None)
            self._volumes.pop(uuid, None)

    # what the location tells (I/O thread)

    def _event(self, header: Header, body: bytes | memoryview) -> None:
        handlers: dict[str, Callable[[bytes | memoryview], None]] = {
            op_of(sessions.NodeUpdated): self._node_updated,
            op_of(sessions.VolumeUpdated): self._volume_updated,
            op_of(wire.ContainerEnded): self._container_ended,
            op_of(volumes.VolumeLost): self._volume_lost,
        }
        handler = handlers.get(header.op)
        if handler is None:
            log.debug("an event this version does not know: %s", header.op)
        else:
            handler(body)

    def _node_updated(self, body: bytes | memoryview) -> None:
        offer = decode(body, sessions.NodeUpdated).node
        with self._lock:
            node = self._nodes.get(offer.id)
            if node is not None:
                node.update(offer)
                return
            node = self._nodes[offer.id] = Node(self, offer)
        self._callbacks.post(self._new_node, node)

    def _volume_updated(self, body: bytes | memoryview) -> None:
        event = decode(body, sessions.VolumeUpdated)
        with self._lock:
            if event.gone:
                self._volumes.pop(event.volume.id, None)
            elif event.volume.id not in self._volumes:
                self._volumes[event.volume.id] = Volume(self, event.volume)

    def _container_ended(self, body: bytes | memoryview) -> None:
        event = decode(body, wire.ContainerEnded)
        container = self.containers.get(event.container)
        if container is not None:
            self._callbacks.post(container.ended, event)

    def _volume_lost(self, body: bytes | memoryview) -> None:
        self._remove(decode(body, volumes.VolumeLost).volume)

    def _lost(self, error: TfError) -> None:
        self._error = error if isinstance(error, SessionLost) else SessionLost(str(error))
        self._over.set()


def last_image() -> str:
    """The id of the newest local Docker build (seed 001, My First Docker Workflow).

    Raises:
        ImageNotFound: the local Docker has no image, or there is no Docker.
    """
    from tfnz.images.docker_daemon import last_image as newest

    return newest()
