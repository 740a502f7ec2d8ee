"""A node: what it has free, and the containers and volumes made on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from tfcore.errors import BadRequest
from tfcore.tags import check_tag
from tfcore.wire.containers import ContainerWish, Limits, Mount, Probe, SpawnContainer
from tfcore.wire.sessions import NodeOffer
from tfcore.wire.terminal import Terminal
from tfnz import arguments
from tfnz.container import Container
from tfnz.kept import Kept, spawn_request
from tfnz.volume import Volume

if TYPE_CHECKING:
    from tfnz.location import Location

Termination = Callable[..., object]
VolumeMounts = Mapping[str, Volume] | Sequence[tuple[Volume, str]] | None


class Stats(NamedTuple):
    """A node's resources: free share of its cpus (0–1), free memory (bytes), pages swapped per second, io (bytes/s), free
    disk (bytes), and how long this session's containers took to start there (seconds, on average; 0 before the first).

    `node.stats.cpu`; `node.stats["cpu"]` and `node.stats()["cpu"]` as in gen 2.
    """

    cpu: float
    memory: int
    paging: float
    io: float
    disk: int
    ave_start_time: float

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return tuple(self)[key]
        if key not in self._fields:
            raise KeyError(key)
        return getattr(self, key)

    def __call__(self) -> Stats:
        """Itself."""
        return self


class Node:
    """A machine of the location that runs containers. Made by the location, never by hand."""

    def __init__(self, location: Location, offer: NodeOffer) -> None:
        self.location = location
        self._offer = offer
        self._starts: dict[str, float] = {}

    @property
    def pk(self) -> str:
        """The node's id."""
        return self._offer.id

    @property
    def name(self) -> str:
        """The name its operator gave it."""
        return self._offer.name

    @property
    def draining(self) -> bool:
        """True while the location's operator lets it take nothing new on; what is there goes on."""
        return self._offer.draining

    @property
    def alive(self) -> bool:
        """False once the location has lost it."""
        return self._offer.alive

    @property
    def offer(self) -> NodeOffer:
        """All the location says about it, as last heard."""
        return self._offer

    @property
    def stats(self) -> Stats:
        """What is free, as last heard (kept current by the location)."""
        offer = self._offer
        starts = tuple(self._starts.values())
        return Stats(
            cpu=offer.cpu,
            memory=offer.memory,
            paging=offer.paging,
            io=offer.io,
            disk=offer.disk,
            ave_start_time=sum(starts) / len(starts) if starts else 0.0,
        )

    def rank(self, *, memory_weight: float = 1.0) -> float:
        """How good a choice this node is; higher is better."""
        memory = self._offer.memory / self._offer.memory_total if self._offer.memory_total else 0.0
        return self._offer.cpu + memory_weight * memory - 10.0 * self._offer.paging

    def note_start(self, container: str, seconds: float) -> None:
        """A container has taken so long to be ready (any thread)."""
        self._starts[container] = seconds

    def update(self, offer: NodeOffer) -> None:
        """The location has told news of this node."""
        self._offer = offer

    def spawn_container(
        self,
        image: str | Kept,
        *,
        env: arguments.Pairs = None,
        sleep: bool = False,
        volumes: VolumeMounts = None,
        pre_boot_files: arguments.Pairs = None,
        command: Sequence[str] | None = None,
        entrypoint: Sequence[str] | None = None,
        memory: int | str | None = None,
        cpus: float | None = None,
        pids: int | None = None,
        ready: Probe | None = None,
        before_snapshot: str = "",
        after_boot: str = "",
        clean_stop: bool = False,
        always_roll_back: bool = False,
        hostname: str = "",
        user: str = "",
        workdir: str = "",
        tag: str | None = None,
        no_image_check: bool = False,
        tty: bool | Terminal = False,
        stdout_callback: Callable[..., object] | None = None,
        termination_callback: Termination | None = None,
    ) -> Container:
        """Have a container booted here; returns at once, calls on the container wait for it (seed 001, Concurrent Booting).

        Args:
            image: see `Location.ensure_image_uploaded`, which this implies. Or a kept snapshot of this node: the container
                begins with its files and session volumes and all that was wished then, but for `ready`, `memory`, `cpus`,
                `pids`, `before_snapshot`, `after_boot` and `always_roll_back` if they are given here.
            env: over the image's own; a dict or (name, value) pairs.
            sleep: everything but the main process; `Container.start()` starts it.
            volumes: (volume, path) pairs, or {path: volume}.
            pre_boot_files: (path, content) pairs or a dict, written before the first process.
            command: instead of the image's Cmd.
            entrypoint: instead of the image's Entrypoint.
            memory: bytes, or "512m". cpus: cores, e.g. 1.5. pids: most processes.
            ready: a probe of `tfnz.ready`; default: the image's Healthcheck, else its first exposed port.
            before_snapshot: command run in the container before a snapshot, so that memory reaches the disk.
            after_boot: command run in the container after each boot, before it counts as ready.
            clean_stop: stop the service for a snapshot and boot it again from there; later boots are quicker.
            always_roll_back: also if nothing has happened to it since the snapshot, as far as the node can tell: for a
                service that changes its memory by itself.
            hostname, user, workdir: instead of the image's.
            tag: a name for people; 0-9 a-z - _ .
            no_image_check: the image is known to be cached (seed 001).
            tty: the main process has a terminal instead of pipes, or this terminal; `Container.attach` talks with it.
            stdout_callback: called with (container, bytes) as its main process writes to stdout, from the first byte on.
                The container waits for one that is slow.
            termination_callback: called with (container, exit code), or (container) if it takes no more, when its main
                process ends; with None when it is lost, with 0 when it is destroyed before that.

        Raises:
            BadRequest: an argument of the wrong shape; nothing was sent (as all these, a `ValueError`).
            ImageNotFound, BadImage, Exhausted, Refused, Unavailable: as they say.
        """
        if isinstance(image, Kept):
            request = spawn_request(
                self,
                image,
                ready=_probe(ready),
                limits=_limits(memory, cpus, pids),
                before_snapshot=before_snapshot,
                after_boot=after_boot,
                always_roll_back=bool(always_roll_back),
                tag=check_tag(tag or ""),
                refused={
                    "env": env, "sleep": sleep, "volumes": volumes, "pre_boot_files": pre_boot_files, "command": command,
                    "entrypoint": entrypoint, "clean_stop": clean_stop, "hostname": hostname, "user": user,
                    "workdir": workdir, "tty": tty,
                },
            )  # fmt: skip
            arguments.representable(request)
            return Container(self, request, stdout_callback=stdout_callback, termination_callback=termination_callback)
        wish = ContainerWish(
            image=image,
            env=arguments.environment(env),
            command=arguments.words(command, what="command"),
            entrypoint=None if entrypoint is None else arguments.words(entrypoint, what="entrypoint"),
            mounts=_mounts(volumes),
            pre_boot_files=arguments.files(pre_boot_files),
            sleep=bool(sleep),
            limits=_limits(memory, cpus, pids),
            ready=_probe(ready),
            before_snapshot=before_snapshot,
            after_boot=after_boot,
            clean_stop=bool(clean_stop),
            always_roll_back=bool(always_roll_back),
            hostname=hostname,
            user=user,
            workdir=workdir,
            terminal=(tty if isinstance(tty, Terminal) else Terminal()) if tty else None,
        )
        checked = SpawnContainer(node=self.pk, wish=wish, tag=check_tag(tag or ""))
        arguments.representable(checked)
        find = self.location._cached if no_image_check else self.location._image
        found = find(image, node=self)
        spawn = replace(checked, wish=replace(wish, image=found.name))
        return Container(
            self,
            spawn,
            config=found.config,
            stdout_callback=stdout_callback,
            termination_callback=termination_callback,
        )

    def spawn(
        self,
        image: str,
        env: arguments.Pairs = None,
        sleep: bool = False,
        pre_boot_files: arguments.Pairs = None,
        **more: Any,
    ) -> Container:
        """Gen 1's name for `spawn_container` (seed 001), with its order of arguments."""
        return self.spawn_container(image, env=env, sleep=sleep, pre_boot_files=pre_boot_files, **more)

    def all_containers(self) -> list[Container]:
        """The containers of this session on this node."""
        return [container for container in self.location.containers.values() if container.node.pk == self.pk]

    def destroy_container(self, container: Container) -> None:
        """`container.destroy()` (seed 002: the parent destroys its children)."""
        container.destroy()

    def create_volume(
        self,
        *,
        tag: str | None = None,
        persistent: bool | None = None,
        asynchronous: bool = True,
        termination_callback: Termination | None = None,
    ) -> Volume:
        """Make a volume on this node.

        Args:
            tag: a name for it, unique for the account at this location; 0-9 a-z - _ .
            persistent: it outlives the session and belongs to the account; otherwise it goes with the session. By default
                one with a tag is persistent: the tag is for finding it again.
            asynchronous: accepted for gen 2's programs; writes are always asynchronous here.
            termination_callback: called with (volume, 0), or (volume) if it takes no more, when it is destroyed or lost.

        Raises:
            BadTag: a tag outside the grammar; nothing was sent. Exhausted: the node's disk is full.
        """
        del asynchronous
        tag = check_tag(tag or "")
        lasting = bool(tag) if persistent is None else persistent
        volume = self.location._create_volume(self, tag=tag, persistent=lasting)
        volume.termination_callback = termination_callback
        return volume

    def __call__(self) -> Node:
        """Itself: gen 2 asks a container for its node by `container.node()`."""
        return self

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.pk} cpu={self._offer.cpu:.2f} memory={self._offer.memory >> 20} MiB free>"


def _mounts(volumes: VolumeMounts) -> tuple[Mount, ...]:
    if not volumes:
        return ()
    given = [(v, path) for path, v in volumes.items()] if isinstance(volumes, Mapping) else list(volumes)
    for pair in given:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], Volume):
            raise BadRequest("volumes is a list of (Volume, path) pairs or a dict {path: Volume}")
    for volume, _ in given:
        volume._check()
    mounts = tuple(Mount(volume=volume.uuid, path=arguments.inside(path)) for volume, path in given)
    arguments.mounts_apart([mount.path for mount in mounts])
    return mounts


def _limits(memory: int | str | None, cpus: float | None, pids: int | None) -> Limits:
    if cpus is not None and (isinstance(cpus, bool) or not isinstance(cpus, int | float) or cpus <= 0):
        raise BadRequest(f"cpus={cpus!r} is not a number of cores")
    if pids is not None and (isinstance(pids, bool) or not isinstance(pids, int) or pids <= 0):
        raise BadRequest(f"pids={pids!r} is not a number of processes")
    return Limits(memory=arguments.size(memory, what="memory"), cpus=float(cpus or 0), pids=pids or 0)


def _probe(ready: Probe | None) -> Probe:
    if ready is None:
        return Probe()
    if not isinstance(ready, Probe):
        raise BadRequest(f"ready={ready!r} is not a probe", hint="use tfnz.ready, e.g. ready.tcp(5432)")
    return ready
