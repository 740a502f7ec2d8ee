"""Containers: spawned, started, looked into, snapshot, rolled back, connected, destroyed."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from tfcore.wire.differences import Left, LookFor
from tfcore.wire.message import Done, Event, Reply, Request, carries_contents
from tfcore.wire.terminal import Terminal
from tfcore.wire.values import Address, Bytes, ImageName, Name, ObjectId, OptionalId, Path, Port, Seconds, Text


class Probe(Struct, frozen=True, kw_only=True):
    """When a container counts as ready. `all` needs every one of `parts`; `image` stands for the image's own wish:
    its Healthcheck, else its first exposed port, else running."""

    kind: Literal["image", "running", "tcp", "http", "exec", "log", "all"] = "image"
    port: int = 0
    path: str = "/"
    host: str = ""
    command: Text = ""
    pattern: Text = ""
    parts: tuple[Probe, ...] = ()


class Mount(Struct, frozen=True, kw_only=True):
    """A volume and where it appears in the container."""

    volume: ObjectId
    path: Path


class Limits(Struct, frozen=True, kw_only=True):
    """Zero means: the node's default."""

    memory: Bytes = 0
    cpus: float = 0.0
    pids: int = 0


PreBootFiles = Annotated[tuple[tuple[Path, bytes], ...], Meta(max_length=4096)]
"""(path, content) pairs."""


class ContainerWish(Struct, frozen=True, kw_only=True):
    """What the client asks for, the same on both links.

    Attributes:
        env: (name, value) pairs, over the image's own.
        command: instead of the image's Cmd; the Entrypoint stays (as `docker run image command`).
        entrypoint: instead of the image's Entrypoint, if not None.
        pre_boot_files: (path, content) written before the first process (seed 001, Pre-boot files).
        sleep: everything but the main process (seed 001, Launching Processes in Containers).
        ready: when it counts as ready, at every boot.
        before_snapshot: command run in the container before each snapshot, so that memory reaches the disk (D9.6).
        after_boot: command run after each boot before the container counts as ready (D9.6).
        clean_stop: stop the service before a snapshot and boot it again from the snapshot: quicker boots afterwards.
        always_roll_back: also if nobody has left a trace in it since it stood at the snapshot.
        terminal: what the main process has for its stdin and output, instead of pipes.
    """

    image: ImageName
    env: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    mounts: tuple[Mount, ...] = ()
    pre_boot_files: PreBootFiles = ()
    sleep: bool = False
    limits: Limits = Limits()
    ready: Probe = Probe()
    before_snapshot: Text = ""
    after_boot: Text = ""
    clean_stop: bool = False
    always_roll_back: bool = False
    hostname: Annotated[str, Meta(pattern=r"\A([0-9A-Za-z][0-9A-Za-z-]{0,62})?\Z")] = ""
    user: str = ""
    workdir: str = ""
    terminal: Terminal | None = None


class ContainerAccepted(Reply, frozen=True, kw_only=True, tag="container.accepted"):
    """The container has an id and an address and is being booted.

    Attributes:
        mounts: of one from a kept snapshot: where its volumes are, the new ones of this session included.
        config: of one from a kept snapshot: its image's config.
    """

    container: ObjectId
    address: Address
    mounts: tuple[Mount, ...] = ()
    config: bytes = b""


class SpawnContainer(Request[ContainerAccepted], frozen=True, kw_only=True, tag="container.spawn"):
    """Boot a container on `node` (to the location); answered before it has booted.

    With `again` it is not a new one: a container of this session that has ended, failed or was lost with its agent gets
    its id and address back and boots from `snapshot` (empty: from its image). Snapshots are on the node's disk and
    outlive agent and container until the session ends.

    With `kept` it begins with the files of a kept snapshot, and all of the wish is what was wished for the container that
    was taken of, but for `ready`, `limits`, `before_snapshot`, `after_boot` and `always_roll_back` where they are given.
    """

    node: ObjectId
    wish: ContainerWish
    tag: str = ""
    again: OptionalId = ""
    snapshot: str = ""
    kept: OptionalId = ""


class _WishContents(Struct):
    pre_boot_files: PreBootFiles = ()


class SpawnContents(Struct):
    """What of a `SpawnContainer` or a `BootContainer` are contents."""

    wish: _WishContents

    def size(self) -> int:
        """Their bytes."""
        return sum(len(content) for _, content in self.wish.pre_boot_files)


carries_contents(SpawnContainer, SpawnContents, SpawnContents.size)


class ContainerReady(Reply, frozen=True, kw_only=True, tag="container.ready"):
    """It runs and has passed its readiness probe. `seconds` is how long it took from spawn or last boot."""

    generation: int
    seconds: Seconds
    notes: tuple[str, ...] = ()


class WaitReady(Request[ContainerReady], frozen=True, kw_only=True, tag="container.wait-ready"):
    """Answer when the container has booted and is ready; its failure to do so is this request's failure."""


class StartContainer(Request[Done], frozen=True, kw_only=True, tag="container.start"):
    """Start the main process of a container spawned asleep."""


class RebootContainer(Request[ContainerReady], frozen=True, kw_only=True, tag="container.reboot"):
    """End all processes and boot again, in place: same address, tunnels stay usable.

    `fresh` puts the file system back to what it was after the pre-boot files (seed 002, Rebooting Containers).
    """

    fresh: bool = False


class DestroyContainer(Request[Done], frozen=True, kw_only=True, tag="container.destroy"):
    """End and remove the container (to the location, target names it)."""


class ContainerStatus(Reply, frozen=True, kw_only=True, tag="container.status"):
    """What the node knows of a container now.

    Attributes:
        notes: a sentence for each limit the node cannot enforce.
        spares: generations that wait to take over at the next rollback.
        troubles: a sentence for each limit it has run into: memory, processes, the disk of its node.
        cpu_seconds: processor time of its present generation, where the node accounts for it.
    """

    state: str
    generation: int
    processes: int = 0
    memory: Bytes = 0
    oom: bool = False
    exit_code: int | None = None
    notes: tuple[str, ...] = ()
    spares: int = 0
    cpu_seconds: float | None = None
    troubles: tuple[str, ...] = ()


class AskContainer(Request[ContainerStatus], frozen=True, kw_only=True, tag="container.ask"):
    """How are you?"""


class Snapshotted(Reply, frozen=True, kw_only=True, tag="container.snapshotted"):
    """The snapshot exists, container and session volumes at one instant."""

    snapshot: Name
    seconds: Seconds


class SnapshotContainer(Request[Snapshotted], frozen=True, kw_only=True, tag="container.snapshot"):
    """Take a snapshot. An empty name lets the node choose one."""

    name: str = ""


class RolledBack(Reply, frozen=True, kw_only=True, tag="container.rolled-back"):
    """The container is as in the snapshot, booted and ready.

    Attributes:
        tier: how: `clean` (nothing had happened since it stood there, so nothing was done), `spare` (a booted spare was
            swapped in), `booting` (so was one whose boot was under way), `created` (a spare that only had to be started),
            `cold`.
        log_mark: sequence number of the first log record that belongs to the time after it.
        left: what had been left in it, as far as the request asks for that.
        went_along: nothing had happened to this one; it went back because something had to one that goes back with it.
    """

    generation: int
    seconds: Seconds
    tier: Literal["clean", "spare", "booting", "created", "cold"]
    log_mark: int = 0
    left: Left = Left()
    went_along: bool = False


class RollBackContainer(Request[RolledBack], frozen=True, kw_only=True, tag="container.roll-back"):
    """Put the container and its session volumes back to a snapshot (empty: the newest). Answered when it is ready."""

    name: str = ""
    look_for: LookFor = "nothing"


Several = Annotated[tuple[ObjectId, ...], Meta(min_length=1, max_length=64)]
"""Containers of one node and one session, in the order in which they boot. The request's target is the first of them."""


class SnapshotTogether(Request[Snapshotted], frozen=True, kw_only=True, tag="container.snapshot-together"):
    """Take a snapshot of several containers at one instant, under one name (empty: the node chooses). Of all or of none."""

    containers: Several
    name: str = ""


class RolledBackTogether(Reply, frozen=True, kw_only=True, tag="container.rolled-back-together"):
    """All are as in their snapshots, booted and ready; `rollbacks` are in the order of the request's containers."""

    rollbacks: tuple[RolledBack, ...]


class RollBackTogether(Request[RolledBackTogether], frozen=True, kw_only=True, tag="container.roll-back-together"):
    """Put several containers back in one go. Answered when all are ready.

    Attributes:
        snapshots: one for each container (empty: the newest); none at all: the newest of each.
        look_for: what the answers are to tell that had been left.
    """

    containers: Several
    snapshots: tuple[str, ...] = ()
    look_for: LookFor = "nothing"


class DropSnapshot(Request[Done], frozen=True, kw_only=True, tag="container.drop-snapshot"):
    """Forget a snapshot."""

    name: Name


class ProcessEnded(Reply, frozen=True, kw_only=True, tag="container.process-ended"):
    """The process ended; its output went out on channels 1 (stdout) and 2 (stderr) before this.

    Attributes:
        exit_code: 128 + the signal's number if one killed it.
        signal: which; 0 for none.
        reason: why, if it ended with its container.
    """

    exit_code: int
    signal: int = 0
    reason: str = ""


class RunProcess(Request[ProcessEnded], frozen=True, kw_only=True, tag="container.run-process"):
    """Run a command by `/bin/sh -c` in the container; channel 0 is its stdin.

    `argv` instead of `command` runs without a shell.
    """

    command: Text = ""
    argv: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    workdir: str = ""


class PutFile(Request[Done], frozen=True, kw_only=True, tag="container.put-file"):
    """The file's bytes follow on channel 0; it appears under `path` when all have arrived. Directories are made."""

    path: Path
    mode: int | None = None


class FileFetched(Reply, frozen=True, kw_only=True, tag="container.file-fetched"):
    """All bytes went out on channel 1."""

    size: Bytes


class FetchFile(Request[FileFetched], frozen=True, kw_only=True, tag="container.fetch-file"):
    """Send the file on channel 1."""

    path: Path


class LogRecord(Struct, frozen=True, kw_only=True):
    """A piece of a container's output. `time` is seconds since the epoch."""

    seq: int
    time: float
    stream: Literal["stdout", "stderr"]
    generation: int
    data: bytes


class LogsFound(Reply, frozen=True, kw_only=True, tag="container.logs-found"):
    """Records from `since` on, at most about a megabyte; `next` is where to go on; `dropped` were lost to the limit.

    Attributes:
        ended: nothing runs in the container, and nothing comes after these unless it is booted again.
    """

    records: tuple[LogRecord, ...]
    next: int
    dropped: int = 0
    ended: bool = False


class GetLogs(Request[LogsFound], frozen=True, kw_only=True, tag="container.get-logs"):
    """The container's output from record `since` on.

    Attributes:
        wait: seconds to wait for a record if there is none yet and the container runs.
    """

    since: int = 0
    wait: Seconds = 0.0


class PortAnswered(Reply, frozen=True, kw_only=True, tag="container.port-answered"):
    """The port accepted a connection (and answered 200, for http)."""

    seconds: Seconds


class WaitTcp(Request[PortAnswered], frozen=True, kw_only=True, tag="container.wait-tcp"):
    """Poll from the node until the port accepts a connection."""

    port: Port


class WaitHttp(Request[PortAnswered], frozen=True, kw_only=True, tag="container.wait-http"):
    """Poll from the node until `GET path` with this Host header is answered by 200."""

    port: Port = 80
    path: str = "/"
    host: str = "localhost"


class OpenConnection(Request[Done], frozen=True, kw_only=True, tag="container.open-connection"):
    """One TCP connection of a tunnel: channel 0 to the container, channel 1 from it, half-close preserved.

    Answered when both directions have ended.
    """

    port: Port


class HandedOver(Reply, frozen=True, kw_only=True, tag="container.handed-over"):
    """Where a client on the same machine gives its listening socket: connect to the unix socket `path`, send `ticket`
    with the descriptor (SCM_RIGHTS). The tunnel lives as long as that connection."""

    path: str
    ticket: str


class HandOverTunnel(Request[HandedOver], frozen=True, kw_only=True, tag="container.hand-over-tunnel"):
    """May I hand you a listening socket for this port? Refused by a node that is not on the client's machine."""

    port: Port


class AllowConnection(Request[Done], frozen=True, kw_only=True, tag="container.allow"):
    """`target` may be connected to from `source` and the other way round (to the location)."""

    source: ObjectId


class DisallowConnection(Request[Done], frozen=True, kw_only=True, tag="container.disallow"):
    """Takes `AllowConnection` back; live connections between the two are cut."""

    source: ObjectId


class ContainerEnded(Event, frozen=True, kw_only=True, tag="container.ended"):
    """The container's main process ended, or it was destroyed, or its node was lost.

    `exit_code` is None where nobody knows; `log` holds the last lines.
    """

    container: ObjectId
    reason: str
    exit_code: int | None = None
    log: Text = ""
    session: OptionalId = ""
