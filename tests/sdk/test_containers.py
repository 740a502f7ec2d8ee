"""A container's object: what it keeps, what it asks, and what it says when its container is gone."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.conftest import Connect
from tests.sdk.fake_location import FakeLocation
from tests.sdk.fake_node import FakeNode
from tests.support.tcp import Server, refusing_port
from tests.support.waiting import eventually
from tfcore.errors import BadRequest, ContainerDied, DeadlineExceeded, NotFound, Unavailable, WrongState
from tfcore.rpc.dispatcher import Call
from tfcore.rpc.streams import ERRORS, INPUT, OUTPUT
from tfcore.wire import containers as wire
from tfcore.wire.message import Done
from tfnz import logs
from tfnz.container import Container
from tfnz.location import Location


@pytest.fixture
def node(fake: FakeLocation, tmp_path: Path) -> Iterator[FakeNode]:
    made = FakeNode(fake, tmp_path, hands_over=False)
    yield made
    made.close()


@pytest.fixture
def location(fake: FakeLocation, node: FakeNode, connect: Connect) -> Location:
    return connect(fake)


@pytest.fixture
def container(location: Location) -> Container:
    return location.node().spawn_container("nginx", no_image_check=True)


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


# processes and files


class Inside:
    """A shell that answers in a fixed way, and files."""

    def __init__(self) -> None:
        self.ran: list[wire.RunProcess] = []
        self.fed = b""
        self.files: dict[str, bytes] = {}
        self.modes: list[int | None] = []

    async def run(self, call: Call, message: wire.RunProcess) -> wire.ProcessEnded:
        self.ran.append(message)
        self.fed = b"".join([bytes(chunk) async for chunk in call.stream.chunks(INPUT)])
        for number in range(3):
            await call.stream.write(OUTPUT, b"out%d " % number)
            await call.stream.write(ERRORS, b"err%d " % number)
        call.stream.finish(OUTPUT)
        call.stream.finish(ERRORS)
        return wire.ProcessEnded(exit_code=3)

    async def put(self, call: Call, message: wire.PutFile) -> Done:
        self.modes.append(message.mode)
        self.files[message.path] = b"".join([bytes(chunk) async for chunk in call.stream.chunks(INPUT)])
        return Done()

    async def fetch(self, call: Call, message: wire.FetchFile) -> wire.FileFetched:
        if message.path not in self.files:
            raise NotFound(f"there is no {message.path}")
        await call.stream.write(OUTPUT, self.files[message.path])
        call.stream.finish(OUTPUT)
        return wire.FileFetched(size=len(self.files[message.path]))


@pytest.fixture
def inside(fake: FakeLocation, container: Container) -> Inside:
    inside = Inside()
    fake.handlers |= {wire.RunProcess: inside.run, wire.PutFile: inside.put, wire.FetchFile: inside.fetch}
    fake.forget()
    return inside


def test_a_process_gives_three_things(container: Container, inside: Inside) -> None:
    stdout, stderr, exit_code = container.run_process("date", stdin="in", env={"A": 1}, user="me", workdir="/")
    assert (stdout, stderr, exit_code) == (b"out0 out1 out2 ", b"err0 err1 err2 ", 3)
    assert inside.fed == b"in"
    assert inside.ran == [wire.RunProcess(command="date", env=(("A", "1"),), user="me", workdir="/")]


def test_output_goes_to_callbacks_instead(container: Container, inside: Inside) -> None:
    heard: list[tuple[Container, bytes]] = []
    done = container.run_process("date", data_callback=lambda *what: heard.append(what))
    container.location.disconnect()
    assert done.stdout == b""
    assert done.stderr == b"err0 err1 err2 "
    assert b"".join(data for _, data in heard) == b"out0 out1 out2 "
    assert {who for who, _ in heard} == {container}


def test_a_command_is_one_string(container: Container, inside: Inside) -> None:
    with pytest.raises(ValueError, match="one string"):
        container.run_process(["date"])  # type: ignore[arg-type]
    assert inside.ran == []


def test_a_secret_stays_out_of_the_log(container: Container, inside: Inside, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "tfnz")
    container.run_process("echo public")
    container.run_process("echo secret", nolog=True)
    assert "echo public" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("data", [b"bytes", "text", bytearray(b"array"), memoryview(b"view"), b"", bytes(5_000_000)])
def test_a_file_comes_back_as_it_was_put(container: Container, inside: Inside, data: Any) -> None:
    container.put("/new//path", data)
    assert container.fetch("/new/path") == (data.encode() if isinstance(data, str) else bytes(data))
    assert type(container.fetch("/new/path")) is bytes


def test_a_mode_is_given_or_not(container: Container, inside: Inside) -> None:
    container.put("/a", b"")
    container.put("/a", b"", mode=0o600)
    assert inside.modes == [None, 0o600]


@pytest.mark.parametrize("path", ["relative", "/../etc/passwd", "/a/../../b"])
def test_paths_outside_are_refused(container: Container, inside: Inside, path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        container.put(path, b"")
    with pytest.raises(ValueError, match="path"):
        container.fetch(path)


def test_what_is_no_content_is_refused(container: Container, inside: Inside) -> None:
    with pytest.raises(BadRequest, match="is int, neither text nor bytes"):
        container.put("/a", 5)  # type: ignore[arg-type]


def test_a_file_that_is_not_there(container: Container, inside: Inside) -> None:
    with pytest.raises(ValueError, match="there is no /nothing"):
        container.fetch("/nothing")


# logs


def record(seq: int, data: bytes, stream: Any = "stdout") -> wire.LogRecord:
    return wire.LogRecord(seq=seq, time=float(seq), stream=stream, generation=1, data=data)


class Output:
    """Gives two records a page, and grows by one with every page."""

    def __init__(self, records: list[wire.LogRecord]) -> None:
        self.records = records

    def __call__(self, request: wire.GetLogs) -> wire.LogsFound:
        page = tuple(self.records[request.since : request.since + 2])
        found = wire.LogsFound(records=page, next=min(request.since, len(self.records)) + len(page))
        self.records = [*self.records, record(len(self.records), b"later")]
        return found


def test_logs_are_read_page_by_page_up_to_now() -> None:
    """A container that never stops talking does not keep us reading."""
    lines = logs.read(Output([record(n, b"%d" % n) for n in range(7)]), 0)
    assert [line["log"] for line in lines if line["log"] != "later"] == list("0123456")
    assert len(lines) <= 9


def test_logs_since_a_mark() -> None:
    output = Output([record(n, b"%d" % n) for n in range(3)])
    mark = logs.next_record(output)
    assert mark == 3
    assert {line["log"] for line in logs.read(output, mark)} == {"later"}


def test_a_letter_torn_between_two_pieces() -> None:
    snowman = "☃".encode()
    pieces = [
        record(0, b"a" + snowman[:1]),
        record(1, b"from elsewhere", "stderr"),
        record(2, snowman[1:]),
        record(3, b"\xff!"),
    ]
    lines = logs._texts(pieces)
    assert [line["log"] for line in lines] == ["a", "from elsewhere", "☃", "\N{REPLACEMENT CHARACTER}!"]


def test_log_lines_are_dictionaries() -> None:
    assert json.dumps(logs._texts([record(5, b"hello\n")])) == '[{"log": "hello\\n", "stream": "stdout", "time": 5.0}]'


# the web


def web(status: int) -> Callable[[Any], None]:
    def serve(connection: Any) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi" % status)

    return serve


@pytest.fixture
def waits(fake: FakeLocation, container: Container) -> list[wire.WaitHttp]:
    waits: list[wire.WaitHttp] = []

    async def wait(_call: Call, message: wire.WaitHttp) -> wire.PortAnswered:
        waits.append(message)
        return wire.PortAnswered(seconds=0.1)

    fake.handlers[wire.WaitHttp] = wait
    fake.forget()
    return waits


def test_the_first_exposed_tcp_port(container: Container) -> None:
    assert container.first_port() == 80


def test_http_goes_to_the_first_port(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://203.0.113.1:3128")
    with Server(web(200)) as server:
        monkeypatch.setattr(container, "first_port", lambda: server.port)
        assert container.http.get("/").text == "hi"
        assert container.http.get(b"relative").text == "hi"
    assert len(container.all_tunnels()) == 1


def test_waiting_for_a_page(container: Container, waits: list[wire.WaitHttp]) -> None:
    tunnel = container.wait_http_200(8080, fqdn="www.example", path="health")
    assert waits == [wire.WaitHttp(port=8080, path="/health", host="www.example")]
    assert tunnel.dest_port == 8080
    assert container.wait_http_200(8080) is tunnel
    with refusing_port() as free:
        pass
    assert container.wait_http_200(8080, localport=free).localport == free


def test_a_browser_is_opened(
    container: Container, waits: list[wire.WaitHttp], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.new && mv {opened}.new {opened}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    monkeypatch.setattr("webbrowser._tryorder", None)
    tunnel = container.attach_browser(path="/start")
    eventually(opened.exists)
    assert opened.read_text().strip() == f"http://localhost:{tunnel.localport}/start"


# connections


def test_only_containers_are_allowed(container: Container) -> None:
    for other in ("c-" + "1" * 22, None, 5):
        with pytest.raises(BadRequest, match="is not a Container"):
            container.allow_connection_from(other)  # type: ignore[arg-type]
        with pytest.raises(BadRequest, match="is not a Container"):
            container.disallow_connection_from(other)  # type: ignore[arg-type]
