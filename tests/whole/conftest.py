"""Locations, images and sessions for tests of the whole line, from the SDK's calls down to the kernel.

A location lives as long as a module's tests; each test has a session of its own, and at its end the node must have what it
had before: no mount, link, group, tree or descriptor more.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation, RemoteLocation, until
from tests.support.outside import Holdings, files_of, holdings
from tests.support.rootfs import has_perl, rootfs_tar
from tests.support.runtime_machine import needs_crun
from tfnode.testing.trees import Manifest, assert_same
from tfnz import ready
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

Spawn = Callable[..., Container]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Containers need root and an OCI runtime: without them every test here is skipped, with the reason."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            for mark in needs_crun:
                item.add_marker(mark)


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """Sockets live below it, and a socket's path has room for 107 bytes: pytest's own directories are too deep."""
    path = Path(tempfile.mkdtemp(prefix="tf-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with a shell, the usual programs and perl."""
    if not has_perl():
        pytest.skip("there is no perl on this machine for the containers to run")
    return f"rootfs:{rootfs_tar(tmp_path_factory.mktemp('image') / 'tiny.tar')}"


@contextlib.contextmanager
def private_location(storage: str = "auto") -> Iterator[PrivateLocation]:
    """A private location for the length of a block."""
    with short_directory() as directory:
        place = PrivateLocation(directory, storage=storage)
        try:
            yield place
        finally:
            place.stop()


@contextlib.contextmanager
def remote_location(storage: str = "auto") -> Iterator[RemoteLocation]:
    """A location over TCP for the length of a block."""
    with short_directory() as directory:
        place = RemoteLocation(directory, storage=storage, name=f"whole-{os.getpid()}")
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
    yield

    def no_more() -> bool:
        nonlocal after
        after = _holdings(place, place.node.agent)
        if place.node.agent == agent:
            return after == before
        return after.trees <= before.trees and after.groups <= before.groups

    try:
        until(no_more, "the node to have no more than before", seconds=10)
    except AssertionError:
        assert after == before, "a session has left something on the node"


def _holdings(place: PrivateLocation | RemoteLocation, agent: int) -> Holdings:
    return holdings(agent, name=place.node_name, root=place.node_directory)


@contextlib.contextmanager
def session_at(place: PrivateLocation | RemoteLocation) -> Iterator[Location]:
    """A session, after which the node has no more than before it."""
    with place.connect() as first:
        until(lambda: [node for node in first.nodes.values() if node.alive], "a node")
    with nothing_more(place), place.connect() as location:
        yield location


@pytest.fixture(scope="module", params=["overlay", "directory"])
def place(request: pytest.FixtureRequest) -> Iterator[PrivateLocation]:
    """A private location with each of the storage drivers."""
    with private_location(request.param) as made:
        yield made


@pytest.fixture
def location(place: PrivateLocation | RemoteLocation) -> Iterator[Location]:
    """A session there."""
    with session_at(place) as session:
        yield session


@pytest.fixture
def serve(location: Location, tiny: str) -> Spawn:
    """Spawns a container that echoes on `PORT`."""

    def spawn(**wish: object) -> Container:
        wish = {"command": ["perl", "-e", SERVER], "ready": ready.tcp(PORT), "no_image_check": False, **wish}
        return location.node().spawn_container(tiny, **wish).wait_until_ready()

    return spawn


def assert_files(wanted: dict[str, Manifest], container: Container) -> None:
    """Fail unless the container's files are as `files_of` said."""
    got = files_of(container)
    for top, manifest in wanted.items():
        assert_same(manifest, got[top])
