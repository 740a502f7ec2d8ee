"""Locations, images and sessions for tests of the whole line, from the SDK's calls down to the kernel.

A location lives as long as a module's tests; each test has a session of its own, and at its end the node must have what it
had before: no mount, link, group, tree or descriptor more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation, RemoteLocation
from tests.support.line import PORT, SERVER, Spawn, private_location, session_at
from tests.support.rootfs import has_perl, rootfs_tar
from tests.support.runtime_machine import needs_crun
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Containers need root and an OCI runtime: without them every test here is skipped, with the reason."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            for mark in needs_crun:
                item.add_marker(mark)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with a shell, the usual programs and perl."""
    if not has_perl():
        pytest.skip("there is no perl on this machine for the containers to run")
    return f"rootfs:{rootfs_tar(tmp_path_factory.mktemp('image') / 'tiny.tar')}"


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
