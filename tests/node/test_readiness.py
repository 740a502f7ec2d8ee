"""Probes against real sockets on loopback and a container that is a few fields."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tfcore.errors import BadRequest
from tfcore.images.description import ImageConfig, parse_config
from tfcore.wire.containers import Probe
from tfnode.containers.readiness import until_ready, wish_of


@dataclass
class Patient:
    """Answers commands from a list, the last one for ever; remembers what was seen."""

    address: str = "127.0.0.1"
    answers: list[tuple[int, str]] = field(default_factory=lambda: [(0, "")])
    commands: list[str | tuple[str, ...]] = field(default_factory=list)
    output: str = ""
    seen: list[str] = field(default_factory=list)

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.address, port)

    async def run_quietly(self, command: str | tuple[str, ...]) -> tuple[int, str]:
        self.commands.append(command)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def output_of_this_boot(self) -> str:
        return self.output

    def saw(self, what: str) -> None:
        self.seen.append(what)


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port nobody listens on: it is bound for as long as the test runs."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def image(**config: object) -> ImageConfig:
    layers = {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}
    return parse_config(
        json.dumps({"os": "linux", "architecture": "amd64", "rootfs": layers, "config": config}).encode()
    )


@asynccontextmanager
async def answering(*replies: bytes) -> AsyncIterator[int]:
    """A server that gives each connection the next reply, the last one for ever."""
    left = list(replies)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def passes(probe: Probe, patient: Patient) -> None:
    await asyncio.wait_for(until_ready(probe, patient), 10)


async def waits(probe: Probe, patient: Patient, *, until_seen: str) -> None:
    """The probe is still trying when it has seen this."""
    trying = asyncio.ensure_future(until_ready(probe, patient))
    async with asyncio.timeout(10):
        while not any(until_seen in seen for seen in patient.seen):
            assert not trying.done()
            await asyncio.sleep(0.001)
    trying.cancel()


def test_a_port_nobody_listens_on_is_not_ready_and_says_why(free_port: int) -> None:
    asyncio.run(waits(Probe(kind="tcp", port=free_port), Patient(), until_seen="refused"))


def test_a_port_is_ready_when_it_accepts() -> None:
    async def story() -> None:
        async with answering(b"") as port:
            await passes(Probe(kind="tcp", port=port), Patient())

    asyncio.run(story())


def test_http_waits_for_a_200() -> None:
    async def story() -> None:
        patient = Patient()
        async with answering(b"", b"HTTP/1.1 503 Busy\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n") as port:
            await passes(Probe(kind="http", port=port, path="/health"), patient)
        assert [seen.rpartition(": ")[2] for seen in patient.seen] == [
            "no answer",
            "HTTP/1.1 503 Busy",
            "HTTP/1.1 200 OK",
        ]

    asyncio.run(story())


def test_a_command_is_tried_until_it_succeeds() -> None:
    patient = Patient(answers=[(1, "starting"), (2, "recovering"), (0, "")])
    asyncio.run(passes(Probe(kind="exec", command="pg_isready"), patient))
    assert patient.commands == ["pg_isready"] * 3
    assert patient.seen[1] == "pg_isready: status 2: recovering"


def test_a_log_probe_matches_a_line_of_this_boot() -> None:
    patient = Patient(output="one\nserver started on 80\n")
    asyncio.run(passes(Probe(kind="log", pattern=r"^server started"), patient))
    asyncio.run(waits(Probe(kind="log", pattern="never"), patient, until_seen="server started on 80"))


def test_all_of_needs_every_one() -> None:
    patient = Patient(output="up")
    parts = (Probe(kind="log", pattern="up"), Probe(kind="exec", command="true"))
    asyncio.run(passes(Probe(kind="all", parts=parts), patient))
    assert patient.commands == ["true"]


def test_nonsense_is_refused() -> None:
    with pytest.raises(BadRequest, match="regular expression"):
        asyncio.run(passes(Probe(kind="log", pattern="("), Patient()))


@pytest.mark.parametrize(
    ("config", "wish"),
    [
        ({}, Probe(kind="running")),
        ({"ExposedPorts": {"443/tcp": {}, "80/tcp": {}, "53/udp": {}}}, Probe(kind="tcp", port=80)),
        ({"Healthcheck": {"Test": ["NONE"]}, "ExposedPorts": {"80/tcp": {}}}, Probe(kind="tcp", port=80)),
    ],
)
def test_what_an_image_wants(config: dict[str, object], wish: Probe) -> None:
    assert wish_of(image(**config)) == wish


def test_a_healthcheck_is_run_as_the_image_writes_it() -> None:
    for test, command in (
        (["CMD", "pg_isready", "-q"], ("pg_isready", "-q")),
        (["CMD-SHELL", "curl -f x || exit 1"], "curl -f x || exit 1"),
    ):
        patient = Patient()
        asyncio.run(passes(wish_of(image(Healthcheck={"Test": test})), patient))
        assert patient.commands == [command]


def test_a_healthcheck_is_tried_although_its_port_stays_shut(free_port: int) -> None:
    patient = Patient()
    wish = wish_of(image(Healthcheck={"Test": ["CMD", "true"]}, ExposedPorts={f"{free_port}/tcp": {}}))
    asyncio.run(passes(wish, patient))
    assert patient.commands == [("true",)]
