"""Generations that boot ahead, by real containers: when a rollback finds one, what nobody must notice of it before that, and
what is left when the agent dies meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support import example_images
from tests.support.daemons import PrivateLocation, gone, until
from tests.support.line import PORT, Spawn, private_location, said, sleeper
from tests.support.outside import generation_processes, processes_of
from tests.support.tcp_clients import assert_reset_by_rollback, echoed, reached, sockaddr
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


def with_spare(container: Container) -> Container:
    """Leave a trace in it, and wait until a rollback would find one."""
    said(container, "true")
    until(lambda: container.status().spares, "a generation that was booted ahead")
    return container


def test_a_rollback_swaps_it_in(serve: Spawn) -> None:
    container = serve()
    tunnel = container.attach_tunnel(PORT)
    container.snapshot("base")
    before = str(container.ip), tunnel.localport
    for _ in range(5):
        said(container, "echo spoilt > /etc/passwd; touch /tmp/new")
        old = generation_processes(with_spare(container), container.status().generation)
        assert container.rollback("base").tier == "spare"
        for pid in old:
            gone(pid)
        assert said(container, "cat /etc/passwd; ls /tmp").count("new") == 0
        assert echoed(tunnel.localport)
    assert (str(container.ip), tunnel.localport) == before


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_connections_to_the_old_generation_are_reset(serve: Spawn, busy: bool) -> None:
    container = serve()
    port = container.attach_tunnel(PORT).localport
    container.snapshot()
    assert_reset_by_rollback(with_spare(container), port, busy=busy)


def test_it_stands_still_and_nobody_reaches_it(location: Location, tiny: str) -> None:
    """It writes the time to a file of its own: as long as it stands still, the file does not grow."""
    clock = "while :; do echo tick >> /tmp/clock; sleep 0.01; done"
    container = location.node().spawn_container(
        tiny, command=["sh", "-c", clock], ready=ready.exec("test -s /tmp/clock")
    )
    container.wait_until_ready().snapshot()
    with_spare(container)
    living = generation_processes(container, container.status().generation)
    spare = processes_of(container) - living
    clocks = [open(f"/proc/{pid}/root/tmp/clock") for pid in sorted(spare)[:1]]  # noqa: SIM115
    try:
        size = os.fstat(clocks[0].fileno()).st_size
        said(
            container, "n=$(wc -l < /tmp/clock); while test $(wc -l < /tmp/clock) -lt $((n + 10)); do sleep 0.01; done"
        )
        assert os.fstat(clocks[0].fileno()).st_size == size
        assert container.rollback().tier == "spare"
        until(lambda: os.fstat(clocks[0].fileno()).st_size > size, "its clock to go on")
    finally:
        clocks[0].close()


def test_what_it_writes_is_not_in_the_log_before(location: Location, tiny: str) -> None:
    container = location.node().spawn_container(
        tiny, command=["sh", "-c", "echo booted; exec sleep infinity"], ready=ready.log("booted")
    )
    container.wait_until_ready().snapshot()
    with_spare(container)
    assert [line["log"] for line in container.logs()] == ["booted\n"]
    done = container.rollback()
    assert done.tier == "spare"
    assert [line["log"] for line in container.logs(since=done.log_mark)] == ["booted\n"]


def test_commands_at_the_boot_have_been_run(location: Location) -> None:
    redis = location.node().spawn_container(
        example_images.reference("redis"), pre_boot_files={"/seed": "SET one 1\n"}, after_boot="redis-cli < /seed"
    )
    redis.wait_until_ready().snapshot()
    said(redis, "redis-cli flushall")
    assert with_spare(redis).rollback().tier == "spare"
    assert said(redis, "redis-cli get one") == "1"


def test_one_that_talks_to_a_container_that_stays_is_served_by_it(serve: Spawn, location: Location, tiny: str) -> None:
    """It asks the other at its boot, and keeps the connection it made then."""
    backend = serve()
    asks = f"""
        socket(S, 2, 1, 0); connect(S, {sockaddr(backend)}) || die "connect: $!";
        for (;;) {{ syswrite(S, "hello"); sysread(S, $_, 5) || die; open F, ">>/tmp/heard"; print F; close F; sleep 1 }}
    """
    # It may only talk once it is allowed to: so it sleeps until then.
    front = location.node().spawn_container(
        tiny, command=["perl", "-e", asks], ready=ready.exec("grep -q hello /tmp/heard"), sleep=True
    )
    front.wait_until_ready()
    backend.allow_connection_from(front)
    front.start()
    front.snapshot()
    assert with_spare(front).rollback().tier == "spare"
    said(front, "n=$(wc -c < /tmp/heard); while test $(wc -c < /tmp/heard) -le $n; do sleep 0.05; done")


def test_one_that_talks_to_a_container_that_rolls_back_is_not_booted_ahead(serve: Spawn) -> None:
    one, other = serve(), serve()
    other.allow_connection_from(one)
    other.snapshot()
    one.snapshot()
    said(one, "true")
    assert one.rollback().tier in ("created", "cold")
    assert reached(one, other) == "echo"
    assert one.status().spares <= 1


def test_one_with_a_persistent_volume_is_not_booted_ahead(location: Location, tiny: str) -> None:
    volume = location.node().create_volume(tag=f"spares-{os.getpid()}")
    try:
        container = sleeper(location, tiny, volumes={"/data": volume})
        container.snapshot()
        said(container, "true")
        assert container.rollback().tier in ("created", "cold")
        container.destroy()
    finally:
        location.destroy_volume(volume)


def test_a_session_volume_comes_back_with_it(location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    container = sleeper(location, tiny, volumes={"/data": volume})
    said(container, "echo kept > /data/file")
    container.snapshot()
    for _ in range(3):
        said(container, "echo spoilt > /data/file; touch /data/new")
        assert with_spare(container).rollback().tier == "spare"
        assert said(container, "cat /data/*") == "kept"


def test_the_agent_dies_while_one_stands_still(place: PrivateLocation, serve: Spawn) -> None:
    """A frozen process does not die with its pid namespace in cgroup v1: somebody has to thaw it."""
    container = serve()
    container.snapshot("base")
    living = processes_of(with_spare(container))
    assert len(living) >= 2
    place.node.kill_agent()
    for pid in living:
        gone(pid)
    until(lambda: container.end is not None, "its owner to be told")
    container.rebuild("base")
    assert said(container, "echo back") == "back"
