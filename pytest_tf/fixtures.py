"""The stock fixtures. The public ones are aliases of `tf_*` ones, and ours depend on the latter only: a suite may have a
fixture `location` or `volume` of its own, and our `container` goes on working.

Loaded in every pytest run: imports pytest only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.location import Location
    from tfnz.volume import Volume


@pytest.fixture(scope="session")
def tf_location(request: pytest.FixtureRequest) -> Location:
    """What `location` stands for."""
    from pytest_tf.opening import location_for

    return location_for(request)


@pytest.fixture(scope="session")
def tf_container(request: pytest.FixtureRequest, tf_location: Location) -> Iterator[Container]:  # noqa: ARG001 - it is set up first
    """What `container` stands for."""
    from pytest_tf.stock import container_for_stock

    yield from container_for_stock(request)


@pytest.fixture(scope="session")
def tf_volume(request: pytest.FixtureRequest, tf_location: Location) -> Iterator[Volume]:  # noqa: ARG001 - it is set up first
    """What `volume` stands for."""
    from pytest_tf.stock import volume_for_stock

    yield from volume_for_stock(request)


@pytest.fixture
def tf_make_container(request: pytest.FixtureRequest, tf_location: Location) -> Iterator[Callable[..., Container]]:  # noqa: ARG001 - it is set up first
    """What `make_container` stands for."""
    from pytest_tf.boot import maker_for

    yield from maker_for(request)


@pytest.fixture(scope="session")
def location(tf_location: Location) -> Location:
    """The location containers run at (--tf-location), a tfnz.Location: nodes, images, volumes.

    Containers spawned with it in a fixture of the session, a package, a module or a class are rolled back between tests
    as well."""
    return tf_location


@pytest.fixture(scope="session")
def container(tf_container: Container) -> Container:
    """A running container of the image named by @pytest.mark.tf(image=...), --tf-image or the ini option tf_image; at its
    baseline at the start of each test.

    A tfnz.Container: put, fetch, run_process, tunnel, http, logs, ip."""
    return tf_container


@pytest.fixture(scope="session")
def volume(tf_volume: Volume) -> Volume:
    """A volume of the session, a tfnz.Volume; the ini option tf_mount says where `container` has it mounted, and then it
    is rolled back with it."""
    return tf_volume


@pytest.fixture
def make_container(tf_make_container: Callable[..., Any]) -> Callable[..., Any]:
    """A function that makes a container for this test only: make_container("redis", env={...}) is ready when it returns.

    It takes the arguments of pytest_tf.container; `volumes` is {path: Volume}, `connects` a list of containers."""
    return tf_make_container
