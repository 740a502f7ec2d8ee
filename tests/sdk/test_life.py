"""Threads, signals, forks, exits and callbacks: the SDK in the middle of a user's program."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

import pytest

from tests.sdk.asking import NODE, WISH, Slow, asked
from tests.sdk.conftest import Connect, MakeFake
from tests.sdk.fake_location import FakeLocation
from tests.support.waiting import eventually
from tfcore.errors import WrongState
from tfcore.keys import save
from tfcore.wire import volumes
from tfcore.wire.containers import ContainerEnded
from tfcore.wire.sessions import NodeOffer, NodeUpdated, VolumeOffer, VolumeUpdated
from tfcore.wire.volumes import VolumeLost
from tfnz import accounts, forks
from tfnz.callbacks import Callbacks
from tfnz.location import Location
from tfnz.portal import Portal
from tfnz.volume import Volume


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def fake(make_fake: MakeFake, slow: Slow) -> FakeLocation:
    return make_fake({volumes.CreateVolume: slow})


# calls


def interrupt_once_waiting_in(function: FunctionType, ready: Callable[[], bool] = lambda: True) -> None:
    """Have this thread interrupted as soon as it waits in a call of `function`, and `ready()`."""
    main = threading.main_thread().ident or 0

    def waits() -> bool:
        frames = [frame for frame, _ in traceback.walk_stack(sys._current_frames()[main])]
        return frames[0].f_code.co_name == "wait" and any(frame.f_code is function.__code__ for frame in frames)

    def interrupt() -> None:
        eventually(lambda: waits() and ready())
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()


def test_ctrl_c_ends_a_call_here_and_there(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    location = connect(fake)
    interrupt_once_waiting_in(Location._call, slow.begun.is_set)
    with pytest.raises(KeyboardInterrupt):
        location._call(WISH)
    eventually(lambda: not fake.sessions[location.session]._served)
    eventually(lambda: not location._connection.link._calls)
    slow.may_end.set()
    assert location._call(WISH).node == NODE


def test_disconnecting_ends_the_calls_of_other_threads(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    location = connect(fake)
    answer = asked(location)
    slow.begun.wait(10)
    location.disconnect()
    with pytest.raises(WrongState, match="disconnected during the call"):
        answer.result(10)


def test_after_the_end_nothing_is_asked(fake: FakeLocation, connect: Connect) -> None:
    location = connect(fake)
    location.disconnect()
    with pytest.raises(WrongState, match="is disconnected"):
        location._call(WISH)
    with pytest.raises(ValueError, match="make a new Location"):
        location._call(WISH)


def test_many_threads_ask_at_once(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    slow.may_end.set()
    location = connect(fake)
    answers = [asked(location) for _ in range(50)]
    assert {answer.result(10).node for answer in answers} == {NODE}


def test_run_returns_when_the_session_is_closed(fake: FakeLocation, connect: Connect) -> None:
    location = connect(fake)
    threading.Timer(0.05, location.complete).start()
    location.run()
    assert fake.closed == [location.session]


def test_ctrl_c_ends_run_in_order(fake: FakeLocation, connect: Connect) -> None:
    location = connect(fake)
    interrupt_once_waiting_in(Location.run)
    location.run()
    assert fake.closed == [location.session]


# the portal


def test_a_portal_does_not_wait_for_itself() -> None:
    portal = Portal("test")

    async def inner() -> None:
        async def nothing() -> None:
            raise AssertionError

        portal.call(nothing())

    with pytest.raises(WrongState, match="cannot wait for itself"):
        portal.call(inner())
    portal.close()
    portal.close()


def test_a_closed_portal_refuses(recwarn: pytest.WarningsRecorder) -> None:
    portal = Portal("test")
    portal.close()

    async def nothing() -> None:
        raise AssertionError

    with pytest.raises(WrongState, match="disconnected"):
        portal.call(nothing())
    assert not recwarn  # "coroutine was never awaited"


def test_closing_and_calling_at_once_never_hangs() -> None:
    async def briefly() -> int:
        return 1

    for _ in range(50):
        portal = Portal("test")
        outcomes: list[object] = []

        def call(portal: Portal = portal, outcomes: list[object] = outcomes) -> None:
            try:
                while True:
                    portal.call(briefly())
            except WrongState as closed:
                outcomes.append(closed)

        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        portal.close()
        for thread in threads:
            thread.join(10)
        assert len(outcomes) == 3


# forks


def in_child(work: Callable[[], object]) -> int:
    """The exit status of a forked child: 0 if `work` returned something true."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_child_cannot_use_its_parents_session(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    slow.may_end.set()
    location = connect(fake)

    def refused() -> bool:
        try:
            location._call(WISH)
        except WrongState as mine:
            return "belongs to the process that made it" in str(mine)
        return False

    assert in_child(refused) == 0
    assert location._call(WISH).node == NODE


@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_end_its_parents_session(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    slow.may_end.set()
    location = connect(fake)
    assert in_child(lambda: location.disconnect() is None) == 0
    assert location._call(WISH).node == NODE
    assert fake.closed == []


@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_child_keeps_no_end_of_ours() -> None:
    """The other side must see us go although a child of ours lives on."""
    ours, theirs = socket.socketpair()
    forks.close_in_children(ours)
    goes_on, ends = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ends)
        os.read(goes_on, 1)
        os._exit(0)
    ours.close()
    theirs.settimeout(10)
    assert theirs.recv(1) == b""
    for fd in (goes_on, ends):
        os.close(fd)
    os.waitpid(child, 0)
    theirs.close()


# ends of programs

PROGRAM = """
import logging, sys
logging.getLogger("asyncio").setLevel(logging.ERROR)  # -X dev has it warn of every step that a busy machine made slow
from tfnz.location import Location
location = Location("fake.test", debug_log=False)
print(location.session, flush=True)
"""


@pytest.fixture
def home(fake: FakeLocation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs find the account of the fake."""
    monkeypatch.setenv("TF_HOME", str(tmp_path))
    tmp_path.chmod(0o700)
    save(tmp_path / "fake.test", fake.account)
    accounts.store("fake.test", keys=fake.account, address=fake.endpoint, server_key=fake.keys.public)
    return tmp_path


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "end",
    [
        pytest.param("", id="falls off its end"),
        pytest.param("sys.exit(0)", id="exits"),
        pytest.param("raise SystemExit(0)", id="raises"),
        pytest.param("del location", id="forgets"),
        pytest.param("location.disconnect()", id="disconnects"),
    ],
)
def test_a_program_that_ends_frees_everything(end: str, fake: FakeLocation) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM + end], capture_output=True, text=True, check=False
    )
    session = done.stdout.strip()
    assert done.returncode == 0, done.stderr
    assert fake.closed == [session]
    assert [line.split(maxsplit=2)[2] for line in done.stderr.splitlines()] == [
        "Connecting to: fake.test",
        "Location has sent resource offer",
    ]


# callbacks


def test_callbacks_run_in_order_and_not_in_the_callers_thread() -> None:
    callbacks, ran = Callbacks("test"), []
    for number in range(100):
        callbacks.post(lambda number: ran.append((number, threading.current_thread().name)), number)
    callbacks.close()
    assert ran == [(number, "tfnz test callbacks") for number in range(100)]


def test_a_callback_that_fails_is_logged_and_the_next_runs(caplog: pytest.LogCaptureFixture) -> None:
    callbacks, ran = Callbacks("test"), []
    callbacks.post(lambda: 1 / 0)
    callbacks.post(ran.append, 1)
    callbacks.post(None)
    callbacks.close()
    assert ran == [1]
    assert "ZeroDivisionError" in caplog.text


def test_nothing_runs_after_the_end() -> None:
    callbacks, ran = Callbacks("test"), []
    callbacks.close()
    callbacks.post(ran.append, 1)
    callbacks.close()
    assert ran == []


def test_a_callback_may_disconnect() -> None:
    callbacks = Callbacks("test")
    over = threading.Event()
    callbacks.post(lambda: (callbacks.close(), over.set()))
    assert over.wait(10)


def test_a_callback_may_call_back(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    slow.may_end.set()
    made: list[Volume] = []
    location = connect(fake, new_node_callback=lambda node: made.append(node.create_volume(tag="data")))
    fake.tell(NodeUpdated(node=NodeOffer(id=NODE, name="late")))
    eventually(lambda: made)
    assert location.volumes == {made[0].uuid: made[0]}


# what the location tells


def test_nodes_come_change_and_go(fake: FakeLocation, connect: Connect) -> None:
    offer = NodeOffer(id=NODE, name="one", cpu=1.0)
    fake.nodes = (offer,)
    came: list[str] = []
    location = connect(fake, new_node_callback=lambda node: came.append(node.name))
    one = location.node()
    for event in (
        NodeUpdated(node=NodeOffer(id=NODE, name="one", cpu=0.25)),
        NodeUpdated(node=NodeOffer(id="n-" + "2" * 22, name="two", cpu=0.5)),
    ):
        fake.tell(event)
    eventually(lambda: came)
    assert came == ["two"]
    assert one.stats.cpu == 0.25
    assert [node.name for node in location.ranked_nodes()] == ["two", "one"]
    fake.tell(NodeUpdated(node=NodeOffer(id="n-" + "2" * 22, name="two", alive=False)))
    eventually(lambda: len(location.ranked_nodes()) == 1)
    assert location.node() is one
    fake.tell(NodeUpdated(node=NodeOffer(id=NODE, name="one", alive=False)))
    eventually(lambda: not location.ranked_nodes())
    assert not one.alive
    with pytest.raises(ValueError, match="has no node"):
        location.node()


def test_memory_may_count_for_more(fake: FakeLocation, connect: Connect) -> None:
    """Gen 1's `bias_memory`; and what swaps is the last to be taken."""
    free = {"memory_total": 100, "cores": 1}
    fake.nodes = (
        NodeOffer(id="n-" + "1" * 22, name="idle", cpu=0.9, memory=30, **free),
        NodeOffer(id="n-" + "2" * 22, name="roomy", cpu=0.1, memory=90, **free),
        NodeOffer(id="n-" + "3" * 22, name="swapping", cpu=1.0, memory=90, paging=1.0, **free),
    )
    location = connect(fake)
    assert [node.name for node in location.ranked_nodes()] == ["idle", "roomy", "swapping"]
    assert [node.name for node in location.ranked_nodes(bias_memory=True)] == ["roomy", "idle", "swapping"]
    stats = location.node().stats
    assert stats.cpu == stats["cpu"] == stats()["cpu"] == stats[0] == 0.9
    with pytest.raises(KeyError):
        stats["nothing"]


def test_a_node_tells_how_long_containers_take_to_start(fake: FakeLocation, connect: Connect) -> None:
    fake.nodes = (NodeOffer(id="n-" + "1" * 22, name="only", cores=1),)
    node = connect(fake).node()
    assert node.stats.ave_start_time == 0
    for container, seconds in (("one", 5.0), ("other", 2.0), ("one", 1.0)):
        node.note_start(container, seconds)
    assert node.stats["ave_start_time"] == 1.5


def test_a_location_without_nodes(fake: FakeLocation, connect: Connect) -> None:
    with pytest.raises(ValueError, match=r"location fake\.test has no node"):
        connect(fake).best_node()


def test_volumes_of_other_sessions_come_and_go(fake: FakeLocation, connect: Connect) -> None:
    offer = VolumeOffer(id="v-" + "3" * 22, node=NODE, tag="shared", persistent=True)
    location = connect(fake)
    fake.tell(VolumeUpdated(volume=offer))
    eventually(lambda: location.volumes)
    volume, ended = location.volume("shared"), []
    volume.termination_callback = ended.append
    fake.tell(VolumeUpdated(volume=offer, gone=True))
    fake.tell(VolumeLost(volume=offer.id, reason="again"))
    eventually(lambda: ended)
    assert location.volumes == {}
    with pytest.raises(WrongState, match="is destroyed"):
        volume.snapshot()
    location.disconnect()
    assert ended == [volume]


def test_an_event_of_a_newer_protocol_is_ignored(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    slow.may_end.set()
    location = connect(fake)
    fake.tell(ContainerEnded(container="c-" + "9" * 22, reason="nobody's"))
    assert location._call(WISH).node == NODE
