"""Tools of the tests of the whole line: locations and sessions that leave nothing, containers, what is asked of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.daemons import LEASE, PrivateLocation, RemoteLocation, until
from tests.support.outside import Holdings, files_of, holdings, new_in, no_more_than
from tests.support.scratch_disks import loop_mounted, roomy_memory
from tfnode.testing.trees import Manifest, assert_same
from tfnode.tunnels.splicing import SPARES
from tfnz.container import Container
from tfnz.location import Location

PORT = 7000
SECONDS = 20.0
"""What may never hang must have come to an end by then."""

SERVER = f"""
    $SIG{{CHLD}} = "IGNORE";
    socket(S, 2, 1, 0) && setsockopt(S, 1, 2, pack("i", 1)) && bind(S, pack("Sna4x8", 2, {PORT}, "\\0" x 4)) || die $!;
    listen(S, 64);
    for (;;) {{
        accept(C, S) || next;
        if (!fork) {{
            while (sysread(C, $_, 65536)) {{
                if (/^flood/) {{ 1 while syswrite(C, "x" x 65536) }}
                syswrite(C, $_);
            }}
            exit;
        }}
        close C;
    }}
"""
"""Echoes what it is told, to any number of clients; who says "flood" is flooded."""

KEPT = 2 * SPARES + 8
"""Descriptors that an agent may have more than at first: the relay's empty pipes, pyzmq's collector."""

DISK = 8 << 30
"""Bytes of a disk made for a node; they take room as they are used."""

COPIES = 6 << 30
"""Bytes that copies of an image may take."""

Spawn = Callable[..., Container]


@contextlib.contextmanager
def short_directory(parent: Path = Path("/tmp")) -> Iterator[Path]:
    """Sockets live below it, and a socket's path has room for 107 bytes: pytest's own directories are too deep."""
    path = Path(tempfile.mkdtemp(prefix="tf-", dir=parent))
    try:
        yield path
    finally:
        if os.geteuid() != 0:
            _erase_nodes(path)
        shutil.rmtree(path)


def _erase_nodes(path: Path) -> None:
    """What an ordinary user's containers have written is not the user's to delete."""
    for lock in list(path.glob("**/node.lock")):
        command = [sys.executable, "-m", "tfnode.cli", "erase", "--root", str(lock.parent)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=SECONDS)


@contextlib.contextmanager
def private_location(storage: str = "auto") -> Iterator[PrivateLocation]:
    """A private location for the length of a block; for `btrfs` on such a file system, made for it.

    One of `directory` is in memory where there is room: it copies an image for every container, snapshot and rollback.
    """
    parent = roomy_memory(COPIES) if storage == "directory" else None
    with short_directory(parent or Path("/tmp")) as directory, disk_for(storage, directory / "state"):
        place = PrivateLocation(directory, storage=storage)
        try:
            yield place
        finally:
            place.stop()


@contextlib.contextmanager
def disk_for(storage: str, point: Path) -> Iterator[None]:
    """What a storage driver needs mounted on the directory `point`; nothing for most."""
    if storage != "btrfs":
        yield
        return
    point.mkdir(mode=0o700)
    with loop_mounted(point, ["mkfs.btrfs", "-q"], size=DISK):
        point.chmod(0o700)
        yield


@contextlib.contextmanager
def remote_location(storage: str = "auto", *, lease: float = LEASE) -> Iterator[RemoteLocation]:
    """A location over TCP for the length of a block."""
    with short_directory() as directory:
        place = RemoteLocation(directory, storage=storage, name=f"whole-{os.getpid()}", lease=lease)
        try:
            yield place
        finally:
            place.stop()


@contextlib.contextmanager
def nothing_more(place: PrivateLocation | RemoteLocation) -> Iterator[None]:
    """After the block the node has what it had before; it may take a moment until it has cleared away the last session.

    If it has another agent by then, only what outlives agents is compared.
    """
    agent = place.node.agent
    before = after = _holdings(place, agent)
    first = place.kept.setdefault(agent, before.kept)
    yield

    def no_more() -> bool:
        nonlocal after
        after = _holdings(place, place.node.agent)
        if place.node.agent == agent:
            return no_more_than(before, after) and after.kept <= first + KEPT
        return after.trees <= before.trees and after.groups <= before.groups

    with contextlib.suppress(AssertionError):
        until(no_more, "the node to have no more than before", seconds=10)
        return
    words = [*new_in(before, after), f"pipes and such: {first} at first, {after.kept} now"]
    raise AssertionError("\n  ".join(["a session has left something on the node:", *words]))


def _holdings(place: PrivateLocation | RemoteLocation, agent: int) -> Holdings:
    return holdings(agent, name=place.node_name, root=place.node_directory)


@contextlib.contextmanager
def session_at(place: PrivateLocation | RemoteLocation) -> Iterator[Location]:
    """A session, after which the node has no more than before it."""
    with place.connect() as first:
        until(lambda: [node for node in first.nodes.values() if node.alive], "a node")
    with nothing_more(place), place.connect() as location:
        yield location


def assert_files(wanted: dict[str, Manifest], container: Container) -> None:
    """Fail unless the container's files are as `files_of` said."""
    got = files_of(container)
    for top, manifest in wanted.items():
        assert_same(manifest, got[top])


def sleeper(location: Location, image: str, **wish: object) -> Container:
    """A container that does nothing by itself."""
    return location.node().spawn_container(image, command=["sleep", "infinity"], **wish).wait_until_ready()


def said(container: Container, command: str) -> str:
    """What a command in it writes; it must succeed."""
    done = container.run_process(command)
    assert done.exit_code == 0, done
    return done.stdout.decode().strip()
