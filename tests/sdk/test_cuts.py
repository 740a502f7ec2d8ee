"""Cuts: short ones are invisible and nothing is done twice or lost; long ones end the session with a sentence."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from tests.sdk.asking import NODE, WISH, Slow, asked
from tests.sdk.conftest import Connect, MakeFake
from tests.sdk.fake_location import FakeLocation
from tests.support.waiting import eventually
from tfcore.errors import NotFound, SessionLost, Unavailable
from tfcore.rpc.dispatcher import Call
from tfcore.rpc.streams import ERRORS, INPUT, OUTPUT
from tfcore.wire import containers as wire
from tfcore.wire import images, volumes
from tfcore.wire.message import Done
from tfcore.wire.sessions import NodeOffer
from tfcore.wire.sessions import SessionLost as SessionLostEvent
from tfnz import connection, transfer
from tfnz.location import Location

ONE = "c-" + "1" * 22


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def fake(make_fake: MakeFake, slow: Slow) -> FakeLocation:
    return make_fake({volumes.CreateVolume: slow})


def test_a_request_under_way_is_answered_after_a_cut(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    location = connect(fake)
    answer = asked(location)
    slow.begun.wait(10)
    fake.stop()
    slow.may_end.set()
    fake.start()
    assert answer.result(10).node == NODE
    assert fake.served["volume.create"] == 1
    assert fake.hellos == ["", location.session]


def test_an_answer_that_was_lost_is_given_again(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    """It is done while nobody can be told, and not done once more."""
    location = connect(fake)
    answer = asked(location)
    slow.begun.wait(10)
    fake.stop()
    slow.may_end.set()
    eventually(lambda: not fake.sessions[location.session]._served)
    fake.start()
    assert answer.result(10).node == NODE
    assert fake.served["volume.create"] == 1


def test_a_restarted_location_is_asked_again_by_the_same_id(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    """It knows from its store what it has done under that id."""
    location = connect(fake)
    answer = asked(location)
    slow.begun.wait(10)
    fake.stop()
    fake.forget()
    slow.may_end.set()
    fake.start()
    assert answer.result(10).node == NODE
    assert len(slow.ids) == 2
    assert len(set(slow.ids)) == 1


def test_a_request_during_a_cut_waits(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    slow.may_end.set()
    location = connect(fake)
    fake.stop()
    eventually(lambda: not location._connection._up.is_set())
    answers = [asked(location) for _ in range(20)]
    fake.start()
    assert {answer.result(10).node for answer in answers} == {NODE}
    assert fake.served["volume.create"] == 20


def test_many_cuts_and_many_requests(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    slow.may_end.set()
    location = connect(fake)
    over = threading.Event()
    done: list[int] = []

    def keep_asking() -> None:
        count = 0
        while not over.is_set():
            location._call(WISH)
            count += 1
        done.append(count)

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        before = fake.served["volume.create"]
        fake.stop()
        fake.start()
        eventually(lambda before=before: fake.served["volume.create"] >= before + 20)
    over.set()
    for thread in threads:
        thread.join(30)
    assert sum(done) == fake.served["volume.create"] == len(set(slow.ids))
    assert not location._connection.link._calls


def test_a_location_that_asks_for_a_hello_gets_one(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    """Without any cut: it has lost track of whose connection this is."""
    slow.may_end.set()
    location = connect(fake)
    fake._where.clear()
    assert location._call(WISH).node == NODE
    assert fake.hellos == ["", location.session]


def test_what_happened_during_a_cut_is_told_after_it(fake: FakeLocation, connect: Connect) -> None:
    one, two = (NodeOffer(id="n-" + digit * 22, name=digit) for digit in "12")
    fake.nodes = (one,)
    came: list[str] = []
    location = connect(fake, new_node_callback=lambda node: came.append(node.name))
    fake.stop()
    fake.nodes = (two,)
    fake.start()
    eventually(lambda: came)
    assert came == ["2"]
    assert [node.name for node in location.ranked_nodes()] == ["2"]
    assert not location.nodes[one.id].alive


# the end of a session


def test_a_lease_that_ended_during_a_cut(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    location = connect(fake)
    answer = asked(location)
    slow.begun.wait(10)
    fake.stop()
    slow.may_end.set()
    fake.end_lease()
    fake.start()
    with pytest.raises(SessionLost, match="its lease ended while the connection was cut"):
        answer.result(10)
    with pytest.raises(SessionLost):
        location.run()
    with pytest.raises(SessionLost):
        location._call(WISH)
    eventually(lambda: not fake.sessions)  # the new one, which nobody wants
    location.disconnect()


def test_a_location_that_ends_the_session(fake: FakeLocation, connect: Connect, slow: Slow) -> None:
    location = connect(fake)
    answer = asked(location)
    slow.begun.wait(10)
    fake.tell(SessionLostEvent(reason="its operator has ended it", ended=True))
    slow.may_end.set()
    with pytest.raises(SessionLost, match="its operator has ended it"):
        location.run()
    with pytest.raises(SessionLost):
        answer.result(10)


def test_a_revoked_account(fake: FakeLocation, connect: Connect) -> None:
    location = connect(fake)
    fake.revoke()
    fake.stop()
    fake.start()
    with pytest.raises(SessionLost, match="revoked"):
        location.run()


def test_a_cut_longer_than_the_lease(make_fake: MakeFake, connect: Connect, slow: Slow) -> None:
    fake = make_fake({volumes.CreateVolume: slow}, lease=0.2)
    location = connect(fake)
    answer = asked(location)
    slow.begun.wait(10)
    fake.stop()
    slow.may_end.set()
    with pytest.raises(SessionLost, match=r"could not be reached for 0\.25 s; last seen: nobody listens there"):
        answer.result(10)
    with pytest.raises(SessionLost):
        location._call(WISH)


def test_a_private_location_is_not_waited_for_that_long(
    make_fake: MakeFake, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOCAL_PATIENCE", 0.1)
    fake = make_fake(endpoint=f"ipc://{tmp_path}/s")
    location = connect(fake.account_of(local=True))
    fake.stop()
    with pytest.raises(SessionLost, match=r"could not be reached for 0\.1 s"):
        location.run()


def test_disconnecting_from_a_location_that_is_away(
    fake: FakeLocation, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BRIEF", 0.05)
    location = connect(fake)
    fake.stop()
    eventually(lambda: not location._connection._up.is_set())
    location.disconnect()
    assert fake.closed == []


# streams


class Files:
    """Containers that keep one file; the first time somebody comes, the connection is cut in the middle."""

    def __init__(self, fake: FakeLocation) -> None:
        self.content = b""
        self.cut = threading.Event()
        self._fake = fake
        self._torn = False

    def _tear(self) -> None:
        if not self._torn:
            self._torn = True
            self.cut.set()

    async def put(self, call: Call, _message: wire.PutFile) -> Done:
        found = bytearray()
        async for chunk in call.stream.chunks(INPUT):
            self._tear()
            found += chunk
        self.content = bytes(found)
        return Done()

    async def fetch(self, call: Call, _message: wire.FetchFile) -> wire.FileFetched:
        self._tear()
        await call.stream.write(OUTPUT, self.content)
        call.stream.finish(OUTPUT)
        return wire.FileFetched(size=len(self.content))

    async def run(self, call: Call, _message: wire.RunProcess) -> wire.ProcessEnded:
        await call.stream.write(OUTPUT, b"begun ")
        self._tear()
        async for chunk in call.stream.chunks(INPUT):
            await call.stream.write(OUTPUT, chunk)
        call.stream.finish(OUTPUT)
        call.stream.finish(ERRORS)
        return wire.ProcessEnded(exit_code=3)


@pytest.fixture
def files(fake: FakeLocation) -> Files:
    files = Files(fake)
    fake.handlers |= {wire.PutFile: files.put, wire.FetchFile: files.fetch, wire.RunProcess: files.run}
    return files


def errand(location: Location, request: object) -> transfer.Errand:
    return transfer.Errand(location._connection, request, target=ONE, timeout=30)  # type: ignore[arg-type]


def cut_once(fake: FakeLocation, files: Files) -> threading.Thread:
    def cut() -> None:
        files.cut.wait(10)
        fake.stop()
        fake.start()

    thread = threading.Thread(target=cut)
    thread.start()
    return thread


def test_a_file_that_is_put_during_a_cut(fake: FakeLocation, files: Files, connect: Connect) -> None:
    location = connect(fake)
    cutting = cut_once(fake, files)
    data = bytes(range(256)) * 100_000
    location._io.call(transfer.put(errand(location, wire.PutFile(path="/f")), data))
    cutting.join()
    assert files.content == data


def test_a_file_that_is_fetched_during_a_cut(fake: FakeLocation, files: Files, connect: Connect) -> None:
    location = connect(fake)
    files.content = bytes(range(256)) * 100_000
    cutting = cut_once(fake, files)
    assert location._io.call(transfer.fetch(errand(location, wire.FetchFile(path="/f")))) == files.content
    cutting.join()


def test_a_process_that_is_run_during_a_cut_runs_once(fake: FakeLocation, files: Files, connect: Connect) -> None:
    location = connect(fake)
    cutting = cut_once(fake, files)
    data = bytes(range(256)) * 100_000
    done = location._io.call(transfer.run(errand(location, wire.RunProcess(command="cat")), data, None, None))
    cutting.join()
    assert done == (b"begun " + data, b"", 3)
    assert fake.served["container.run-process"] == 1


def test_input_that_nobody_has_any_more_is_said_at_once(fake: FakeLocation, files: Files, connect: Connect) -> None:
    """Whoever serves the request was restarted after it had read some; that is no reason to wait for the timeout."""

    async def forgetful(call: Call, _message: wire.RunProcess) -> wire.ProcessEnded:
        await call.stream.read(INPUT)
        while fake.served["container.run-process"] == 1:
            await call.stream.read(INPUT)
        await asyncio.sleep(3600)
        raise AssertionError

    fake.handlers[wire.RunProcess] = forgetful
    location = connect(fake)
    lasting = errand(location, wire.RunProcess(command="cat"))
    asking = location._io._submit(transfer.run(lasting, bytes(20_000_000), None, None))
    calls = location._connection.link._calls
    eventually(lambda: any(ongoing.stream.sent > 8_000_000 for ongoing in list(calls.values())))
    fake.stop()
    fake.forget()
    fake.start()
    with pytest.raises(Unavailable, match="was restarted, and what it had got so far is lost") as torn:
        asking.result(10)
    assert torn.value.retryable
    assert torn.value.hint


def test_a_failure_is_not_a_cut(fake: FakeLocation, connect: Connect) -> None:
    async def find(_call: Call, message: images.FindImage) -> images.ImageFound:
        raise NotFound(f"there is no {message.name}", hint="look elsewhere")

    fake.handlers[images.FindImage] = find
    location = connect(fake)
    with pytest.raises(NotFound, match="there is no nginx") as missing:
        location._call(images.FindImage(name="nginx"))
    assert missing.value.hint == "look elsewhere"
    assert fake.served["image.find"] == 1
