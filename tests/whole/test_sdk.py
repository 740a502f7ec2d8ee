"""Locations, nodes, images, containers and volumes by the SDK's calls, against a real location (seeds 001 and 002).

What is done inside a container is in test_sdk_inside.py.
"""

from __future__ import annotations

import contextlib
import shlex
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support import example_images
from tests.support.daemons import PrivateLocation
from tests.support.line import private_location, said, sleeper
from tfcore.errors import (
    CommandFailed,
    ContainerDied,
    DeadlineExceeded,
    ImageNotFound,
    NotFound,
    Refused,
    TfError,
    WrongState,
)
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location
from tfnz.node import Node

pytestmark = pytest.mark.leaks("module")

KNOCK = 'socket(S, 2, 1, 0); exit !connect(S, pack "Sna4x8", 2, $ARGV[1], pack "C4", split /[.]/, $ARGV[0])'
WELCOME = "/usr/share/nginx/html/index.html"


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    """One private location for all tests here."""
    with private_location() as made:
        yield made


@pytest.fixture(scope="module")
def session(place: PrivateLocation) -> Iterator[Location]:
    """A session for the containers that several tests use."""
    with place.connect() as location:
        location.ensure_image_uploaded(example_images.reference("nginx"), name="nginx")
        yield location


@pytest.fixture(scope="module")
def node(session: Location) -> Node:
    return session.node()


@pytest.fixture(scope="module")
def web(session: Location, node: Node) -> Container:
    """An nginx; tests may use it but leave it as it was."""
    return node.spawn_container("nginx").wait_until_ready()


# nodes


def test_nodes(session: Location) -> None:
    [node] = session.nodes.values()
    assert session.nodes[node.pk] is node
    assert session.node() is session.best_node() is node
    assert session.ranked_nodes() == session.ranked_nodes(bias_memory=True) == [node]
    assert node.alive
    assert 0 <= node.stats.cpu <= 1
    assert 0 < node.stats.memory <= node.offer.memory_total
    assert node.stats.disk > 0
    assert node.rank(memory_weight=10.0) > node.rank()


def test_what_a_session_has(session: Location, node: Node, web: Container) -> None:
    assert session.containers[web.uuid] is web
    assert web in node.all_containers()
    assert web.node is node
    assert web.location is session


# images


def test_an_image_is_uploaded_once(session: Location) -> None:
    told: list[str] = []
    layers = session.ensure_image_uploaded(
        example_images.reference("nginx"), descr=[], progress=lambda what, _done, _total: told.append(what)
    )
    assert layers
    assert all(layer.startswith("sha256:") for layer in layers)
    assert told == [], "nothing was missing"
    assert session.ensure_image_uploaded("nginx") == layers


def test_an_image_may_have_several_names(session: Location) -> None:
    layers = session.ensure_image_uploaded("nginx", name="team/web:1.2")
    assert session.ensure_image_uploaded("team/web:1.2") == layers
    with pytest.raises(ValueError, match="not the name of an image"):
        session.ensure_image_uploaded("nginx", name="Not A Name")


def test_an_image_nobody_has(session: Location, node: Node) -> None:
    with pytest.raises(ImageNotFound, match="no image nothing-of-this-name"):
        node.spawn_container("nothing-of-this-name")
    with pytest.raises(ValueError):
        node.spawn_container("nothing-of-this-name", no_image_check=True)


# spawning


def test_spawn_with_everything(session: Location, node: Node, tiny: str) -> None:
    volume = node.create_volume()
    container = node.spawn_container(
        tiny,
        env=[("A", "1"), ("B", "two words")],
        volumes=[(volume, "/data")],
        pre_boot_files=[("/etc/deep/er/file", b"bytes"), ("/etc/text", "text")],
        command=["sh", "-c", "echo out; echo err >&2; id -u; pwd; hostname; exec sleep infinity"],
        memory="64m",
        cpus=0.5,
        pids=50,
        hostname="somewhere",
        workdir="/etc",
        tag="everything",
        ready=ready.log("somewhere"),
    ).wait_until_ready()
    assert said(container, 'echo "$A/$B"; cat /etc/deep/er/file /etc/text') == "1/two words\nbytestext"
    assert said(container, "stat -c %m /data") == "/data"
    assert "".join(line["log"] for line in container.logs() if line["stream"] == "stdout").split() == [
        "out", "0", "/etc", "somewhere",
    ]  # fmt: skip
    assert container.tag == "everything"
    container.destroy()
    volume.destroy()


def test_gen_1_s_spawn(node: Node) -> None:
    container = node.spawn("nginx", {"A": "1"}, True, {WELCOME: "Hello"}, no_image_check=True)
    assert container.fetch(WELCOME) == b"Hello"
    container.destroy()


def test_an_image_s_entrypoint_may_be_replaced(node: Node, tiny: str) -> None:
    container = node.spawn_container(
        tiny, entrypoint=["sh", "-c"], command=["echo entered; sleep infinity"], ready=ready.log("entered")
    )
    container.wait_until_ready().destroy()


def test_asleep_and_started(node: Node) -> None:
    """Seed 001: everything but the main process; processes can be run in it."""
    container = node.spawn_container("nginx", sleep=True)
    assert "nginx: master" not in said(container, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert not container.is_ready()
    container.start()
    container.wait_until_ready()
    assert container.is_ready()
    assert requests.get(container.tunnel(80).url, timeout=30).status_code == 200
    with pytest.raises(WrongState):
        container.start()
    container.destroy()


def test_containers_boot_at_the_same_time(node: Node) -> None:
    containers = [node.spawn_container("nginx", no_image_check=True) for _ in range(4)]
    assert len({container.ip for container in containers}) == 4
    for container in containers:
        assert container.wait_until_ready() is container
    for container in containers:
        container.destroy()


def test_the_image_s_health_check_says_when_it_is_ready(session: Location, node: Node) -> None:
    container = node.spawn_container(example_images.reference("postgres"), env={"POSTGRES_PASSWORD": "secret"})
    container.wait_until_ready(timeout=90)
    done = container.run_process("psql -h 127.0.0.1 -U postgres -tAc 'select 6 * 7'", env={"PGPASSWORD": "secret"})
    assert (done.stdout, done.exit_code) == (b"42\n", 0)
    container.destroy()


def test_a_command_that_does_not_exist(node: Node, tiny: str) -> None:
    container = node.spawn_container(tiny, command=["/no/such/program"])
    with pytest.raises(CommandFailed, match="/no/such/program"):
        container.wait_until_ready()
    container.destroy()


def test_one_that_ends_before_it_is_ready(node: Node, tiny: str) -> None:
    container = node.spawn_container(tiny, command=["sh", "-c", "echo last words; exit 3"], ready=ready.tcp(9))
    with pytest.raises(ContainerDied, match="last words"):
        container.wait_until_ready()
    container.destroy()


def test_one_that_is_never_ready(node: Node, tiny: str) -> None:
    container = node.spawn_container(tiny, command=["sleep", "infinity"], ready=ready.tcp(9))
    assert not container.is_ready()
    with pytest.raises(DeadlineExceeded, match="9"):
        container.wait_until_ready(timeout=0.3)
    container.destroy()


def test_the_end_is_told_with_the_exit_code(node: Node, tiny: str) -> None:
    told: list[Any] = []
    ended = threading.Event()

    def end(*args: Any) -> None:
        told.extend(args)
        ended.set()

    container = node.spawn_container(tiny, command=["sh", "-c", "read _; exit 7"], termination_callback=end)
    container.wait_until_ready()
    assert container.end is None
    container.run_process("kill -9 1")  # pid 1 takes no signal from inside
    container.run_process("echo > /proc/1/fd/0")
    assert ended.wait(30)
    assert told == [container, 7]
    assert isinstance(container.end, ContainerDied)
    assert container.status().exit_code == 7
    container.destroy()


# life


def test_reboot_keeps_or_resets_the_files(node: Node) -> None:
    container = node.spawn_container("nginx", pre_boot_files={WELCOME: "preboot"}).wait_until_ready()
    ip, tunnel = container.ip, container.attach_tunnel(80)
    container.put(WELCOME, "changed")
    container.reboot()
    assert (container.ip, requests.get(tunnel.url, timeout=30).text) == (ip, "changed")
    container.reboot(reset_filesystem=True)
    assert (container.ip, requests.get(tunnel.url, timeout=30).text) == (ip, "preboot")
    container.destroy()


def test_snapshot_and_rollback(node: Node) -> None:
    container = node.spawn_container("nginx").wait_until_ready()
    tunnel = container.attach_tunnel(80)
    container.put(WELCOME, "one")
    first = container.snapshot("first")
    assert first == "first"
    container.put(WELCOME, "two")
    second = container.snapshot()
    container.put(WELCOME, "three")
    container.rollback()
    assert requests.get(tunnel.url, timeout=30).text == "two"
    container.rollback("first")
    assert requests.get(tunnel.url, timeout=30).text == "one"
    container.rollback(second)
    assert requests.get(tunnel.url, timeout=30).text == "two"
    with pytest.raises(NotFound, match="nothing"):
        container.rollback("nothing")
    container.destroy()


def test_connections_between_containers(node: Node, session: Location, web: Container, tiny: str) -> None:
    client = sleeper(session, tiny)
    command = shlex.join(["perl", "-e", KNOCK, web.ip, "80"])

    def reached() -> bool:
        return client.run_process(command).exit_code == 0

    assert not reached()
    web.allow_connection_from(client)
    assert reached()
    web.disallow_connection_from(client)
    assert not reached()
    with pytest.raises(ValueError, match="not a Container"):
        web.allow_connection_from(client.uuid)  # type: ignore[arg-type]
    client.destroy()


def test_what_is_destroyed_is_not_used(node: Node, session: Location) -> None:
    container = node.spawn_container("nginx").wait_until_ready()
    tunnel = container.attach_tunnel(80)
    node.destroy_container(container)
    assert container.uuid not in session.containers
    assert tunnel not in session.tunnels
    for use in (
        container.destroy,
        container.is_ready,
        container.wait_until_ready,
        container.logs,
        container.reboot,
        container.snapshot,
        container.rollback,
        lambda: container.run_process("true"),
        lambda: container.put("/x", b""),
        lambda: container.fetch("/x"),
        lambda: container.attach_tunnel(80),
        lambda: container.wait_http_200(),
    ):
        with pytest.raises(ValueError, match="destroyed"):
            use()


# volumes


def test_a_volume(node: Node, session: Location, tiny: str) -> None:
    volume = node.create_volume()
    assert (volume.tag, volume.persistent, volume.node) == ("", False, node)
    assert volume.display_name() == volume.uuid
    assert volume in session.all_volumes()
    container = sleeper(session, tiny, volumes={"/data": volume})
    container.put("/data/file", "one")
    assert volume.snapshot() == "baseline"
    container.put("/data/file", "two")
    volume.rollback()
    assert container.fetch("/data/file") == b"one"
    with pytest.raises(NotFound):
        volume.rollback("nothing")
    with pytest.raises(WrongState, match=container.uuid):
        volume.destroy()
    container.destroy()
    session.destroy_volume(volume)
    assert volume not in session.all_volumes()
    with pytest.raises(ValueError, match="destroyed"):
        volume.snapshot()


def test_two_containers_share_a_volume(node: Node, session: Location, tiny: str) -> None:
    volume = node.create_volume()
    one, other = (sleeper(session, tiny, volumes=[(volume, "/data")]) for _ in range(2))
    one.put("/data/file", "shared")
    assert other.fetch("/data/file") == b"shared"
    one.destroy()
    other.destroy()
    volume.destroy()


def test_a_persistent_volume_is_there_for_another_session(place: PrivateLocation, tiny: str) -> None:
    with place.connect() as first:
        volume = first.node().create_volume(tag="keep")
        assert volume.persistent
        sleeper(first, tiny, volumes={"/data": volume}).put("/data/file", "kept")
        with place.connect() as other:
            assert other.volume("keep").uuid == volume.uuid
    with place.connect() as second:
        found = second.volume("keep")
        assert second.ensure_volume("keep") is found is second.volume(found.uuid) is second.volume(found.display_name())
        assert sleeper(second, tiny, volumes={"/data": found}).fetch("/data/file") == b"kept"
        with pytest.raises(ValueError, match="keep"):
            second.node().create_volume(tag="keep")
        with pytest.raises(ValueError):
            found.destroy()
    with place.connect() as third:
        told = threading.Event()
        found = third.volume("keep")
        found.termination_callback = lambda _volume: told.set()
        found.destroy()
        assert told.wait(30)
        with pytest.raises(NotFound):
            third.volume("keep")


# sessions


def test_a_session_takes_everything_with_it(place: PrivateLocation, session: Location) -> None:
    other = place.connect()
    container = other.node().spawn_container("nginx").wait_until_ready()
    tunnel = container.attach_tunnel(80)
    volume = other.node().create_volume()
    address = tunnel.url
    other.disconnect()
    other.disconnect()
    with pytest.raises(requests.ConnectionError):
        requests.get(address, timeout=30)
    for use in (other.node().create_volume, container.logs, volume.snapshot):
        with pytest.raises(ValueError, match="disconnected"):
            use()
    assert not container.is_ready()


def test_sessions_do_not_see_each_other(place: PrivateLocation, session: Location, web: Container) -> None:
    with place.connect() as other:
        assert other.session != session.session
        assert other.containers == {}
        mine = other.node().spawn_container("nginx").wait_until_ready()
        with pytest.raises((NotFound, Refused)):
            mine.allow_connection_from(web)
    assert web.is_ready(), "the other's end is not ours"


def test_run_ends_with_the_session(place: PrivateLocation, session: Location) -> None:
    other = place.connect()
    container = other.node().spawn_container("nginx", termination_callback=other.complete).wait_until_ready()
    asker = threading.Thread(target=stop_nginx, args=(container,))
    asker.start()
    other.run()
    asker.join(30)
    assert other.containers == {} or container.end is not None


def stop_nginx(container: Container) -> None:
    with contextlib.suppress(TfError):  # container and session may be gone before the command has ended
        container.run_process("nginx -s stop")
