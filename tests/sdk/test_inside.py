"""What a container's object does inside its container: processes and files."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sdk.fake_location import FakeLocation
from tfcore.errors import BadRequest, NotFound
from tfcore.rpc.dispatcher import Call
from tfcore.rpc.streams import ERRORS, INPUT, OUTPUT
from tfcore.wire import containers as wire
from tfcore.wire.message import Done
from tfnz.container import Container


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
