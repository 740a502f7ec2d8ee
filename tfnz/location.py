"""A location: the session with it, what it offers, images, and the objects made through it.

The entry point of the SDK (seed 001, Quickstart; seed 002, Connecting to Locations). Knows the wire only through its
messages; the I/O is `Connection`'s, what the location has told is `Offer`'s.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from tfcore.errors import Exhausted, SessionLost, Unavailable, WrongState
from tfcore.images.reference import parse_reference
from tfcore.wire import images, sessions
from tfcore.wire.message import ReplyT, Request
from tfnz import accounts, kept, switches
from tfnz.background import Background
from tfnz.callbacks import Callbacks
from tfnz.connection import Connection
from tfnz.functional import Functional
from tfnz.kept import Kept
from tfnz.node import Node
from tfnz.offer import Offer
from tfnz.portal import Portal
from tfnz.resources import Resources

if TYPE_CHECKING:
    from tfcore.wire.containers import RolledBack
    from tfcore.wire.differences import LookFor
    from tfnz.container import Container
    from tfnz.tunnel import Tunnel

log = logging.getLogger(__name__)

LOCAL_ATTEMPTS = 3
"""A private location may have gone idle between our finding it and our reaching it."""

Progress = Callable[[str, int, int], None]
"""(what, bytes done, bytes in all)"""


class Location(Functional, Resources):
    """A session with a location; everything made through it is freed when it ends, however it ends.

    Any number may be open at the same time, also with the same location: they do not see each other's containers. It
    belongs to the process that made it: a forked child makes its own.

    Args:
        location: the location's name; "local" for a private one on this machine; None for the default account's.
        location_ip: connect to this `host[:port]` instead of the location's own.
        debug_log: False sets up logging at level INFO, True at DEBUG, None leaves it alone (seed 001).
        quiet: gen 2's switch: True leaves logging alone, False sets it up at INFO unless `debug_log` says more; True
            together with `debug_log=True` is a `ValueError`.
        debug: seed 002's name for `debug_log`.
        new_node_callback: called with each `Node` that appears after the first offer.

    Attributes:
        name: the location's.
        account: the account's name there.
        session: the session's id.

    Raises:
        NotFound: no account for the location, or no default.
        UnknownKey, WrongServerKey, VersionMismatch, Unavailable: as they say.
        HostLacks: a local location cannot run on this machine.
    """

    _visiting = False

    def __init__(
        self,
        location: str | None = None,
        location_ip: str | None = None,
        debug_log: bool | None = None,
        *,
        quiet: bool | None = None,
        debug: bool | None = None,
        new_node_callback: Callable[[Node], object] | None = None,
    ) -> None:
        switches.set_logging(quiet=quiet, debug_log=debug if debug_log is None else debug_log)
        self._pid = os.getpid()
        self._lost: SessionLost | None = None
        self._background = Background()
        self._portal: Portal | None = None
        self._closing = threading.Lock()
        welcome = self._connect(location, location_ip, new_node_callback)
        self.account = welcome.account
        self.session = welcome.session
        atexit.register(self.disconnect)
        log.info("Location has sent resource offer")

    def _connect(
        self, location: str | None, address: str | None, new_node: Callable[[Node], object] | None
    ) -> sessions.Welcome:
        for attempt in range(1, LOCAL_ATTEMPTS + 1):
            account = accounts.resolve(location, address=address)
            log.info("Connecting to: %s", account.location)
            self.name = account.location
            self._callbacks = Callbacks(account.location, self._background.failed)
            self._offer = Offer(self, self._callbacks, new_node)
            try:
                return self._open(account)
            except Unavailable as gone:
                if not account.local or not gone.retryable or attempt == LOCAL_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _open(self, account: accounts.Account) -> sessions.Welcome:
        _check_name(account)
        portal = Portal(account.location)
        try:
            welcome = portal.call(self._start(account))
        except BaseException:
            portal.close()
            raise
        self._portal = portal
        return welcome

    async def _start(self, account: accounts.Account) -> sessions.Welcome:
        self._connection = Connection(
            account,
            on_welcome=self._offer.welcome,
            on_event=self._offer.event,
            on_lost=self._session_lost,
            visiting=self._visiting,
        )
        try:
            return await self._connection.open()
        except BaseException:
            await self._connection.close()
            raise

    # what is offered

    @property
    def nodes(self) -> dict[str, Node]:
        """The nodes by id, kept current."""
        return self._offer.nodes

    @property
    def containers(self) -> dict[str, Container]:
        """The containers of this session, by id."""
        return self._offer.containers

    @property
    def tunnels(self) -> list[Tunnel]:
        """All open tunnels of this session."""
        return [tunnel for container in self.containers.values() for tunnel in container.all_tunnels()]

    def ranked_nodes(self, bias_memory: bool = False) -> list[Node]:
        """The nodes that take something on, best first: free cpu plus free memory minus ten times paging (seed SDK, B4).

        Args:
            bias_memory: weigh memory ten times as much (seed 001).
        """
        weight = 10.0 if bias_memory else 1.0
        living = [node for node in self.nodes.values() if node.alive and not node.draining]
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
        self,
        docker_image_id: str,
        *,
        name: str = "",
        descr: object = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """Have the image in the location's cache, uploading from here what is missing.

        Args:
            docker_image_id: `nginx`, `repo/name:tag`, an image id, `.` for the newest local build, `oci:DIR[:TAG]`,
                `docker-archive:FILE`, `rootfs:TAR`.
            name: file it under this name, as `docker tag` would: `ensure_image_uploaded("oci:DIR", name="nginx")`, and
                from then on this account's `nginx` at this location is that image.
            descr: accepted and ignored (gen 2 passed the description of `docker inspect`).
            progress: called as layers travel; by default lines are logged.

        Returns:
            The layers' digests, bottom first.

        Raises:
            ImageNotFound: neither the cache nor the local Docker has it.
            BadImage: it cannot be used.
        """
        del descr
        return [layer.diff_id for layer in self._image(docker_image_id, name=name, progress=progress).layers]

    def image_identity(self, docker_image_id: str) -> str:
        """A digest that is the same as long as the image's layers and configuration are, whatever it is called.

        Args:
            docker_image_id: see `ensure_image_uploaded`, which this implies and whose errors it raises.
        """
        found = self._image(docker_image_id)
        layers = " ".join(layer.diff_id for layer in found.layers)
        return f"sha256:{hashlib.sha256(found.config + layers.encode()).hexdigest()}"

    def _image(
        self, reference: str, *, name: str = "", node: Node | None = None, progress: Progress | None = None
    ) -> images.ImageFound:
        from tfnz import upload  # the sources of images are loaded by those who need them

        ranked = self.ranked_nodes()
        where = node or (ranked[0] if ranked else None)
        architecture = where.offer.arch if where else ""
        return upload.ensure(self, reference, name=name, architecture=architecture, progress=progress)

    def _cached(self, reference: str, node: Node) -> images.ImageFound:
        """What the cache says of an image that was ensured before; nothing on this machine is looked at."""
        name = parse_reference(reference).cached_name
        if name is None:
            return self._image(reference, node=node)
        return self._call(images.FindImage(name=name))

    # kept snapshots

    def kept(self) -> list[Kept]:
        """The snapshots this account keeps here (`Container.keep`), oldest first, as of now."""
        return kept.all_of(self)

    def kept_snapshot(self, key: str) -> Kept:
        """The kept snapshot with this id or name.

        Raises:
            NotFound: there is none; it names those there are (a `ValueError`).
        """
        return kept.find(self, key)

    def resume(self, snapshot: Kept | str, **spawn_arguments: Any) -> Container:
        """A container from a kept snapshot, or from the one with this id or name, on its node.

        Args:
            spawn_arguments: of `Node.spawn_container`, those that make sense for one.

        Raises:
            NotFound: there is none. WrongState: it had a persistent volume mounted that is gone.
        """
        found = self.kept_snapshot(snapshot) if isinstance(snapshot, str) else snapshot
        return found.node.spawn_container(found, **spawn_arguments)

    # containers that roll back as one

    def snapshot(self, containers: Iterable[Container], name: str = "", *, timeout: float = 300.0) -> str:
        """Keep the state of several containers of one node, at one instant, under one name; of all of them or of none.

        Args:
            containers: of this session; in whichever order.
            name: up to 40 letters, digits, - and _; default: the node chooses one.
            timeout: seconds.

        Returns:
            the snapshot's name, which `rollback` and each container's own `rollback` take.

        Raises:
            BadRequest: they are not all of this session and of one node, two share a volume, or that is no name. WrongState:
                one does not run, or has a snapshot of that name.
        """
        from tfnz import together

        return together.snapshot(self, containers, name, timeout)

    def rollback(
        self,
        containers: Iterable[Container],
        snapshot: str | Mapping[Container, str] = "",
        *,
        timeout: float = 60.0,
        look_for: LookFor = "nothing",
    ) -> dict[Container, RolledBack]:
        """Put several containers of one node back in one go: none of them ever meets another one's former life.

        While they are used, their next lives boot among themselves where there is room, in the order in which the
        containers were spawned; those are swapped in together.

        Args:
            containers: of this session; in whichever order.
            snapshot: of all, or of each; default: those they were last taken as or put back to.
            timeout: seconds until all are ready.
            look_for: as of `Container.rollback`, for each.

        Returns:
            what became of each.

        Raises:
            BadRequest: as `snapshot`. NotFound: one has no such snapshot. ContainerDied, DeadlineExceeded: one did not come
                up again; the message says what state each is in.
        """
        from tfnz import together

        return together.roll_back(self, containers, snapshot, look_for, timeout)

    # life

    def run(self) -> None:
        """Block until the session ends (seed 002). Ctrl-C disconnects and returns.

        Raises:
            SessionLost: the location ended the session.
            Exception: the first thing a callback raised; the session is disconnected.
        """
        try:
            self._background.wait()
        except KeyboardInterrupt:
            self.disconnect()
        if self._background.failure is not None:
            self.disconnect()
            raise self._background.failure
        if self._lost is not None:
            raise self._lost

    def complete(self, container: object = None, returncode: int | None = 0) -> None:
        """Have `run` return: disconnects. Its arguments are those of a termination callback, and ignored."""
        self.disconnect(container, returncode)

    def disconnect(self, container: object = None, returncode: int | None = 0) -> None:
        """Free everything of this session, except persistent volumes, and close the connection.

        Safe to call twice, and without effect in a forked child, whose parent's session goes on. It can be a termination
        callback: its arguments are ignored.
        """
        del container, returncode
        atexit.unregister(self.disconnect)
        if os.getpid() != self._pid:
            return
        with self._closing:
            portal, self._portal = self._portal, None
        if portal is None:
            return
        try:
            for container in self.containers.values():
                container._close_ssh_servers()
            for tunnel in self.tunnels:
                tunnel.close_from(portal)
            portal.call(self._connection.close())
        finally:
            portal.close()
            self._background.over()
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
        if self._lost is not None:
            raise self._lost
        if self._portal is None:
            raise WrongState(f"location {self.name} is disconnected", hint="make a new Location")
        return self._portal

    def _call(self, request: Request[ReplyT], *, target: str = "", timeout: float = 60.0) -> ReplyT:
        """Send a request and wait for its reply; see `Connection.call`."""
        return self._io.call(self._connection.call(request, target=target, timeout=timeout))

    def _session_lost(self, error: SessionLost) -> None:
        """(I/O thread)"""
        log.warning("%s", error)
        self._lost = error
        self._background.over()


def _check_name(account: accounts.Account) -> None:
    """Say at once that a host's name means nothing here: libzmq would only try again and again."""
    parts = urlsplit(account.endpoint)
    if parts.scheme != "tcp" or parts.hostname is None:
        return
    try:
        socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unavailable(
            f"the address of location {account.location} is not known: {parts.hostname}: {error.strerror}",
            hint="give another with location_ip=HOST[:PORT], or check the network",
            retryable=True,
        ) from error


def last_image() -> str:
    """The id of the newest local Docker build (seed 001, My First Docker Workflow).

    Raises:
        ImageNotFound: the local Docker has no image, or there is no Docker.
    """
    from tfnz.images.docker_daemon import last_image as newest

    return newest()
