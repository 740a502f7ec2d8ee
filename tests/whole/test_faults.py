"""What must be true when a part is killed in the middle of something: client, agent, launcher, location.

Each is killed at every moment; what goes on then is held there by a gate in the container.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
from collections.abc import Iterator

import pytest

from tests.support.daemons import PrivateLocation, gone, until
from tests.support.line import PORT, SECONDS, private_location, said, sleeper
from tests.support.moments import MOMENTS, Client, Moment, held, let_go, processes_of, reach, under_way
from tests.support.outside import groups_named
from tests.support.tcp import ask, client_of, read
from tfcore.errors import TfError
from tflocation.directory import Directory
from tflocation.operator import ask_status
from tfnz.container import Container
from tfnz.location import Location
from tfnz.volume import Volume

pytestmark = pytest.mark.leaks("module")

each_moment = pytest.mark.parametrize("moment", MOMENTS)


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


@pytest.fixture
def volume(location: Location) -> Iterator[Volume]:
    """A persistent one, which goes with the test nevertheless."""
    made = location.node().create_volume(persistent=True)
    yield made
    for container in list(location.containers.values()):
        container.destroy()
    made.destroy()


def containers_at(place: PrivateLocation) -> set[str]:
    """Those the location knows."""
    directory = Directory(place.directory / "state")
    return {container["id"] for container in json.loads(ask_status(directory, place.run))["containers"]}


@contextlib.contextmanager
def transfer(moment: str, port: int) -> Iterator[None]:
    """For the length of the block a transfer runs through a tunnel, if that is the moment; it must come to an end then."""
    if moment != "transferring":
        yield
        return
    with client_of(port) as client:
        client.sendall(b"flood")
        assert read(client, 1 << 20)
        yield
        with contextlib.suppress(ConnectionResetError):
            while client.recv(1 << 20):
                pass


def echoes(port: int) -> bool:
    """True if the server behind a local port answers; what was on its way there may be reset."""
    try:
        with client_of(port) as client:
            return ask(client, b"hello") == b"hello"
    except ConnectionError:
        return False


# --- the client


@each_moment
def test_a_client_that_is_killed_leaves_nothing(
    place: PrivateLocation, location: Location, volume: Volume, tiny: str, moment: str
) -> None:
    other = sleeper(location, tiny, volumes={"/kept": volume})
    said(other, "echo 1 > /kept/file")
    with (
        Client(moment, tiny, location="local", volume=volume.uuid, environment=place.environment) as client,
        transfer(moment, client.localport),
    ):
        assert containers_at(place) == {client.container, other.uuid}
        processes = processes_of(client.container)
        assert processes
        client.kill()
        until(lambda: containers_at(place) == {other.uuid}, "the location to forget the container")
        for process in processes:
            gone(process)
        assert groups_named(client.container) == []
    assert said(other, "cat /kept/file") == "1"


# --- the node


@pytest.mark.parametrize("victim", ["agent", "launcher"])
@each_moment
def test_what_a_node_lost_is_built_again(
    place: PrivateLocation, location: Location, volume: Volume, tiny: str, moment: str, victim: str
) -> None:
    told: queue.Queue[Container] = queue.Queue()
    reached = reach(moment, location, tiny, volume, termination_callback=lambda one, *_: told.put(one))
    container = reached.container
    said(container, "echo 1 > /kept/file")
    tunnel = container.attach_tunnel(PORT)
    identity = container.uuid, str(container.ip), int(tunnel.localport)
    with transfer(moment, tunnel.localport):
        processes = processes_of(container.uuid) | {place.node.agent}
        os.kill(getattr(place.node, victim), signal.SIGKILL)
        for process in processes:
            gone(process)
    assert told.get(timeout=SECONDS) is container
    assert container.end is not None
    if reached.call is not None:
        assert isinstance(reached.call.exception(SECONDS), TfError)
    build_again(reached)
    assert (container.uuid, str(container.ip), int(tunnel.localport)) == identity
    assert container.end is None
    assert echoes(tunnel.localport)
    assert said(container, "cat /kept/file") == "1"
    assert told.empty()


def build_again(reached: Moment) -> None:
    """What boots for the first time is held once more; what has a baseline comes back as it was there."""
    container = reached.container
    if not reached.baseline:
        rebuilding = under_way(container.rebuild)
        held(Moment(container, "", rebuilding))
        let_go(container)
        rebuilding.result(SECONDS)
        return
    container.rebuild(reached.baseline)
    assert said(container, "cat /state") == "base"
