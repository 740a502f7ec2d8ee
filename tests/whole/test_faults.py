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
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import ACCOUNTS, PrivateLocation, RemoteLocation, gone, until
from tests.support.line import (
    PORT,
    SECONDS,
    private_location,
    remote_location,
    said,
    session_at,
    short_directory,
    sleeper,
)
from tests.support.moments import MOMENTS, Client, Moment, held, let_go, processes_of, reach, under_way
from tests.support.outside import groups_named, holdings
from tests.support.tcp import ask, client_of, read
from tfcore.errors import TfError
from tfcore.rpc.channels import WINDOW
from tflocation.directory import Directory
from tflocation.operator import ask_status
from tfnz.container import Container
from tfnz.location import Location
from tfnz.volume import Volume

pytestmark = pytest.mark.leaks("module")

LEASE = 15.0
"""Seconds a distant client may be silent: a busy machine needs some to start a location again."""

FAR = 8 * WINDOW
"""Bytes: more than all that hold some of a stream together."""

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
def transfer(moment: str, port: int, *, goes_on: bool = False) -> Iterator[None]:
    """For the length of the block a transfer runs through a tunnel, if that is the moment.

    It must come to an end then, or go on: further than what was on its way before.
    """
    if moment != "transferring":
        yield
        return
    with client_of(port) as client:
        client.sendall(b"flood")
        assert read(client, 1 << 20)
        yield
        if goes_on:
            assert read(client, FAR) == b"x" * FAR
            return
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


# --- a private location


@each_moment
def test_a_private_location_that_is_killed_is_started_again_by_the_next_run(
    place: PrivateLocation, tiny: str, moment: str
) -> None:
    with place.connect() as earlier:
        until(lambda: any(node.alive for node in earlier.nodes.values()), "a node")
    with nothing_left_of(place), place.connect() as location:
        volume = location.node().create_volume(persistent=True)
        reached = reach(moment, location, tiny, volume)
        said(reached.container, "echo 1 > /kept/file")
        tunnel = reached.container.attach_tunnel(PORT)
        with transfer(moment, tunnel.localport):
            processes = processes_of(reached.container.uuid)
            place.kill()
            for process in processes:
                gone(process)
        with place.connect() as next_run:
            container = sleeper(next_run, tiny, volumes={"/kept": next_run.volume(volume.uuid)})
            assert said(container, "cat /kept/file") == "1"
            container.destroy()
            next_run.volume(volume.uuid).destroy()
        if reached.call is not None:
            assert isinstance(reached.call.exception(SECONDS), TfError)


@contextlib.contextmanager
def nothing_left_of(place: PrivateLocation) -> Iterator[None]:
    """After the block the node that lives then has what the one before it had, apart from what is numbered anew."""
    before = after = _lasting(place)
    yield

    def as_before() -> bool:
        nonlocal after
        after = _lasting(place)
        return after[:-1] == before[:-1] and after[-1] <= before[-1]

    with contextlib.suppress(AssertionError):
        until(as_before, "the node to have what it had", seconds=10)
    assert as_before(), (before, after)


def _lasting(place: PrivateLocation) -> tuple[Any, ...]:
    """The number of mounts comes last: of those the agent was started with some may go."""
    found = holdings(place.node.agent, name=place.node_name, root=place.node_directory)
    return found.trees, found.groups, len(found.links), found.processes, len(found.mounts)


def test_it_outlives_who_started_it_and_leaves_nothing_when_nobody_uses_it(tiny: str) -> None:
    """Links and rules have no name by which their node can be told: those are compared around the module."""
    with short_directory() as directory:
        place = PrivateLocation(directory)
        place.environment["TF_LOCAL_IDLE"] = "0.5"
        with Client("idle", tiny, location="local", environment=place.environment) as first:
            with place.connect() as location:
                container = sleeper(location, tiny)
                daemon, agent = place.pid, place.node.agent
                assert daemon is not None
                assert container.uuid in containers_at(place)
                first.kill()
                until(lambda: containers_at(place) == {container.uuid}, "the first client's container to go")
                assert said(container, "echo here") == "here"
                assert (place.pid, place.node.agent) == (daemon, agent)
                name = place.node_name
            gone(daemon)
        gone(agent)
        assert list(Path("/sys/fs/cgroup").glob(f"**/pytest-tf-{name}-*")) == []
        assert str(directory) not in Path("/proc/self/mountinfo").read_text()


def test_a_client_that_dies_with_its_location_leaves_nothing_to_the_next_run(place: PrivateLocation, tiny: str) -> None:
    with place.connect() as earlier:
        until(lambda: any(node.alive for node in earlier.nodes.values()), "a node")
    with nothing_left_of(place), Client("idle", tiny, location="local", environment=place.environment) as client:
        place.kill()
        client.kill()
        with place.connect() as next_run:
            assert said(sleeper(next_run, tiny), "echo here") == "here"
            until(lambda: client.container not in containers_at(place), "the location to forget the container")


# --- a location over TCP


@pytest.fixture(scope="module")
def remote() -> Iterator[RemoteLocation]:
    with remote_location(lease=LEASE) as made:
        yield made


@pytest.fixture
def session(remote: RemoteLocation) -> Iterator[Location]:
    with session_at(remote) as made:
        yield made


@each_moment
def test_a_location_that_is_restarted_loses_nothing(
    remote: RemoteLocation, session: Location, tiny: str, moment: str
) -> None:
    told: queue.Queue[Container] = queue.Queue()
    volume = session.node().create_volume()
    reached = reach(moment, session, tiny, volume, termination_callback=lambda one, *_: told.put(one))
    container = reached.container
    tunnel = container.attach_tunnel(PORT)
    processes = processes_of(container.uuid)
    with transfer(moment, tunnel.localport, goes_on=True):
        remote.kill("location")
        meanwhile = under_way(session.node().create_volume)
        remote.start_location()
    let_go(container)
    if reached.call is not None:
        reached.call.result(2 * SECONDS)
    other = meanwhile.result(2 * SECONDS)
    assert set(session.volumes.values()) == {volume, other}
    assert session.containers == {container.uuid: container}
    assert container.wait_until_ready().end is None
    # Its first process lives on; a probe's processes come and go. Two of the moments end in another generation.
    assert min(processes) in processes_of(container.uuid) or moment in ("taking a snapshot", "rolling back")
    assert echoes(tunnel.localport)
    assert said(container, "echo here") == "here"
    assert told.empty()


def test_distant_clients_that_are_killed_leave_nothing_after_their_lease(
    remote: RemoteLocation, session: Location, tiny: str
) -> None:
    home = {"TF_HOME": str(remote.directory / ACCOUNTS[0])}
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(Client(moment, tiny, location=remote.name, environment=home))
            for moment in ("rolling back", "transferring")
        ]
        processes = [processes_of(client.container) for client in clients]
        assert all(processes)
        for client in clients:
            client.kill()
        until(lambda: remote.status()["containers"] == [], "the location to forget the containers")
        for process in set().union(*processes):
            gone(process)
        assert [groups_named(client.container) for client in clients] == [[], []]
