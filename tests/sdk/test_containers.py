"""A container's object: what it keeps, what it asks, and what it says when its container is gone."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.sdk.fake_location import FakeLocation
from tests.sdk.fake_node import FakeNode
from tests.support.waiting import eventually
from tfcore.errors import BadRequest, ContainerDied, DeadlineExceeded, NotFound, Unavailable, WrongState
from tfcore.rpc.dispatcher import Call
from tfcore.wire import containers as wire
from tfcore.wire.message import Done
from tfnz.container import Container
from tfnz.location import Location


def ended(container: Container, reason: str = "exited with status 1") -> wire.ContainerEnded:
    return wire.ContainerEnded(container=container.uuid, reason=reason, exit_code=1, log="last words")


# identity and life


def test_what_is_known_at_once(container: Container, location: Location) -> None:
    assert container.uuid.startswith("c-")
    assert container.ip == container.ip() == container.private_ip() == "127.0.0.1"
    assert container.location is location
    assert container.node is location.node()
    assert location.containers == {container.uuid: container}
    assert container.node.all_containers() == [container]
    assert "nginx" in repr(container)


def test_calls_can_be_chained(location: Location) -> None:
    container = location.best_node().spawn("nginx", no_image_check=True).wait_until_ready()
    assert container.startup_notes == ("a note",)


def test_after_destroying_everything_is_refused(container: Container, location: Location, node: FakeNode) -> None:
    container.destroy()
    assert node.wishes == {}
    assert location.containers == {}
    for call in (
        container.destroy,
        container.wait_until_ready,
        container.is_ready,
        container.start,
        container.status,
        container.reboot,
        container.snapshot,
        container.rollback,
        container.rebuild,
        container.logs,
        lambda: container.run_process("date"),
        lambda: container.put("/a", b""),
        lambda: container.fetch("/a"),
        lambda: container.attach_tunnel(80),
        lambda: container.tunnel(80),
        lambda: container.wait_tcp(80),
        lambda: container.wait_http_200(),
        lambda: container.http.get("/"),
        lambda: container.allow_connection_from(container),
    ):
        with pytest.raises(ValueError, match="is destroyed"):
            call()


def test_a_parent_destroys_its_children(container: Container, node: FakeNode) -> None:
    container.node.destroy_container(container)
    assert node.wishes == {}


def test_destroying_what_is_gone_already(container: Container, node: FakeNode) -> None:
    node.end(container.uuid)
    container.destroy()
    with pytest.raises(WrongState):
        container.destroy()


def test_what_could_not_be_destroyed_is_still_there(container: Container, fake: FakeLocation) -> None:
    async def away(_call: Call, _message: wire.DestroyContainer) -> Done:
        raise Unavailable("the node is away")

    there = fake.handlers[wire.DestroyContainer]
    fake.handlers[wire.DestroyContainer] = away
    fake.forget()
    with pytest.raises(Unavailable):
        container.destroy()
    fake.handlers[wire.DestroyContainer] = there
    fake.forget()
    container.destroy()


# its end


def test_an_end_is_told_once(container: Container, fake: FakeLocation) -> None:
    told: list[Any] = []
    container.termination_callback = lambda *what: told.append(what)
    for _ in range(3):
        fake.tell(ended(container))
    eventually(lambda: told)
    container.location.disconnect()
    assert told == [(container, 1)]


@pytest.mark.parametrize("ended_before", [False, True])
def test_destroying_it_is_an_end_too(container: Container, fake: FakeLocation, ended_before: bool) -> None:
    told: list[Any] = []
    container.termination_callback = lambda *what: told.append(what)
    if ended_before:
        fake.tell(ended(container))
        eventually(lambda: told)
    container.destroy()
    container.location.disconnect()
    assert told == [(container, 1 if ended_before else 0)]


def test_a_gen_1_callback_is_told_of_the_object_alone(container: Container) -> None:
    told: list[Any] = []

    def terminated(obj: Any) -> None:
        told.append(obj)

    container.termination_callback = terminated
    container.destroy()
    container.location.disconnect()
    assert told == [container]


def test_why_it_ended(container: Container, fake: FakeLocation) -> None:
    assert container.end is None
    fake.tell(ended(container))
    eventually(lambda: container.end)
    assert isinstance(container.end, ContainerDied)
    assert "exited with status 1" in str(container.end)
    assert "last words" in str(container.end)


def test_an_end_that_comes_before_the_spawn_returns(location: Location, fake: FakeLocation, node: FakeNode) -> None:
    told = threading.Event()

    async def spawn(call: Call, message: wire.SpawnContainer) -> wire.ContainerAccepted:
        accepted = await node._spawn(call, message)
        event = wire.ContainerEnded(container=accepted.container, reason="at once", exit_code=7)
        for link in fake.sessions.values():
            link.event(event)
        return accepted

    fake.handlers[wire.SpawnContainer] = spawn
    fake.forget()
    container = location.node().spawn_container(
        "nginx", no_image_check=True, termination_callback=lambda _container, code: code == 7 and told.set()
    )
    assert told.wait(10)
    assert "at once" in str(container.end)


def test_a_boot_makes_an_end_old_news(container: Container, fake: FakeLocation) -> None:
    async def reboot(_call: Call, _message: wire.RebootContainer) -> wire.ContainerReady:
        return wire.ContainerReady(generation=2, seconds=0.1)

    fake.handlers[wire.RebootContainer] = reboot
    fake.forget()
    fake.tell(ended(container))
    eventually(lambda: container.end)
    container.reboot(reset_filesystem=True)
    assert container.end is None
    fake.tell(ended(container, "again"))
    eventually(lambda: container.end)
    assert "again" in str(container.end)


def test_a_boot_that_fails_does_not(container: Container, fake: FakeLocation) -> None:
    async def refuse(_call: Call, _message: wire.RollBackContainer) -> wire.RolledBack:
        raise NotFound("there is no snapshot")

    fake.handlers[wire.RollBackContainer] = refuse
    fake.forget()
    fake.tell(ended(container))
    eventually(lambda: container.end)
    with pytest.raises(NotFound):
        container.rollback("s1")
    assert container.end is not None


def test_rebuilding_keeps_the_identity(container: Container, fake: FakeLocation, node: FakeNode) -> None:
    async def snapshot(_call: Call, _message: wire.SnapshotContainer) -> wire.Snapshotted:
        return wire.Snapshotted(snapshot="s1", seconds=0.1)

    fake.handlers[wire.SnapshotContainer] = snapshot
    fake.forget()
    uuid, port = container.uuid, container.attach_tunnel(80).localport
    assert container.snapshot() == "s1"
    node.end(uuid)
    container.rebuild()
    assert (container.uuid, container.all_tunnels()[0].localport) == (uuid, port)
    assert (node.wishes[uuid].again, node.wishes[uuid].snapshot) == (uuid, "s1")


def test_what_a_rollback_without_a_name_goes_back_to(container: Container, fake: FakeLocation) -> None:
    """The snapshot that was last taken or gone back to; a checkpoint is neither, and is dropped once it can be."""
    names = iter(("s1", "s2", "c1"))
    asked: list[str] = []

    async def snapshot(_call: Call, _message: wire.SnapshotContainer) -> wire.Snapshotted:
        return wire.Snapshotted(snapshot=next(names), seconds=0.1)

    async def roll_back(_call: Call, message: wire.RollBackContainer) -> wire.RolledBack:
        asked.append(message.name)
        return wire.RolledBack(generation=2, seconds=0.1, tier="cold")

    async def drop(_call: Call, message: wire.DropSnapshot) -> Done:
        asked.append(f"drop {message.name}")
        if asked[-2] == message.name == "c1":
            raise WrongState("it is needed")
        return Done()

    fake.handlers |= {wire.SnapshotContainer: snapshot, wire.RollBackContainer: roll_back, wire.DropSnapshot: drop}
    fake.forget()
    assert (container.snapshot(), container.snapshot()) == ("s1", "s2")
    container.rollback()
    container.rollback("s1")
    with container.checkpoint() as name:
        assert name == "c1"
    container.rollback()
    container.rollback()
    assert asked == ["s2", "s1", "c1", "drop c1", "s1", "drop c1", "s1"]
    container.drop_snapshot("s1")
    container.rollback()
    assert asked[-1] == "", "whatever the node has"


def test_is_ready(container: Container, fake: FakeLocation) -> None:
    states = iter(("booting", "ready", "ended"))

    async def ask(_call: Call, _message: wire.AskContainer) -> wire.ContainerStatus:
        return wire.ContainerStatus(state=next(states), generation=1)

    fake.handlers[wire.AskContainer] = ask
    fake.forget()
    assert [container.is_ready() for _ in range(3)] == [False, True, False]
    assert container.is_ready() is False  # the location's defect is not ours


def test_a_wait_says_what_was_last_seen(container: Container, fake: FakeLocation) -> None:
    async def wait(call: Call, _message: wire.WaitTcp) -> wire.PortAnswered:
        call.seen = "port 80 refuses"
        await asyncio.sleep(3600)
        raise AssertionError

    fake.handlers[wire.WaitTcp] = wait
    fake.forget()
    with pytest.raises(DeadlineExceeded, match="last seen: port 80 refuses") as late:
        container.wait_tcp(80, timeout=0.05)
    assert isinstance(late.value, ValueError)
    assert isinstance(late.value, TimeoutError)


# connections


def test_only_containers_are_allowed(container: Container) -> None:
    for other in ("c-" + "1" * 22, None, 5):
        with pytest.raises(BadRequest, match="is not a Container"):
            container.allow_connection_from(other)  # type: ignore[arg-type]
        with pytest.raises(BadRequest, match="is not a Container"):
            container.disallow_connection_from(other)  # type: ignore[arg-type]
