"""A container's object: its log, page by page and line by line, and its web pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.fake_location import FakeLocation
from tests.support.tcp import Server, refusing_port
from tests.support.waiting import eventually
from tfcore.rpc.dispatcher import Call
from tfcore.wire import containers as wire
from tfnz import logs
from tfnz.container import Container

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
    lines = logs.texts(pieces)
    assert [line["log"] for line in lines] == ["a", "from elsewhere", "☃", "\N{REPLACEMENT CHARACTER}!"]


def test_log_lines_are_dictionaries() -> None:
    assert (
        json.dumps(list(logs.texts([record(5, b"hello\n")])))
        == '[{"log": "hello\\n", "stream": "stdout", "time": 5.0}]'
    )


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
