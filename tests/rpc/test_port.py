"""Ports: real sockets in a loop; order, floods, dead peers, sizes, and a callback that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import zmq

from tests.rpc.pair import run
from tfcore import keys
from tfcore.errors import BadRequest, Unavailable
from tfcore.rpc import port as port_module
from tfcore.rpc.port import Frames, Port, dealer, router
from tfcore.wire.header import MAX_BODY


class Ends:
    """A ROUTER's port and a DEALER's, with CURVE between them and a keeper that lets everybody in."""

    def __init__(self, path: Path) -> None:
        self.endpoint = f"ipc://{path}/port.sock"
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.heard: list[list[bytes]] = []
        self.answers: list[list[bytes]] = []
        self.pair = keys.generate()
        self.failing = False
        self._zap()
        self.server = Port(router(self.context, self.pair, [self.endpoint]), self._on_server)
        self.client = self.connect()

    def _zap(self) -> None:
        socket = self.context.socket(zmq.ROUTER)
        socket.bind("inproc://zeromq.zap.01")

        def admit(frames: Frames) -> None:
            route, delimiter, version, request = (frame.bytes for frame in frames[:4])
            self.zap.send([route, delimiter, version, request, b"200", b"OK", b"user", b""])

        self.zap = Port(socket, admit)

    def connect(self) -> Port:
        socket = dealer(self.context, keys.generate(), server_key=self.pair.public, endpoint=self.endpoint)
        return Port(socket, lambda frames: self.answers.append([frame.bytes for frame in frames]))

    def _on_server(self, frames: Frames) -> None:
        self.heard.append([frame.bytes for frame in frames])
        if self.failing:
            raise ValueError("a defect in the callback")

    async def hears(self, number: int) -> None:
        while len(self.heard) < number:
            await asyncio.sleep(0.001)

    async def answered(self, number: int) -> None:
        while len(self.answers) < number:
            await asyncio.sleep(0.001)


@asynccontextmanager
async def ends(path: Path) -> AsyncIterator[Ends]:
    two = Ends(path)
    try:
        yield two
    finally:
        for one in (two.client, two.server, two.zap):
            one.close()
            one.close()
        two.context.destroy(linger=0)


def test_messages_pass_both_ways_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ends(tmp_path) as two:
            for number in range(1000):
                two.client.send([b"%d" % number, b"body"])
            await two.hears(1000)
            assert [frames[1] for frames in two.heard] == [b"%d" % number for number in range(1000)]
            for number in range(1000):
                two.server.send([two.heard[0][0], b"%d" % number])
            await two.answered(1000)
            assert [frames[0] for frames in two.answers] == [b"%d" % number for number in range(1000)]

    run(scenario)


def test_a_flood_leaves_the_loop_its_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_module, "BATCH", 10)

    async def scenario() -> None:
        async with ends(tmp_path) as two:
            two.client.send([b"hello"])
            await two.hears(1)
            for _ in range(2000):
                two.client.send([b"x"])
            longest, before = 0, 1
            while len(two.heard) < 2001:
                await asyncio.sleep(0)
                longest, before = max(longest, len(two.heard) - before), len(two.heard)
            assert longest <= 20, "at most a batch or two between two turns of the loop"

    run(scenario)


def test_received_frames_are_passed_on_as_they_are(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ends(tmp_path) as two:
            body = bytes(range(256)) * 1000

            def back(frames: Frames) -> None:
                two.server.send([frames[0], frames[2]])

            two.server._on_message = back
            two.client.send([b"header", body])
            await two.answered(1)
            assert two.answers == [[body]]

    run(scenario)


def test_an_unknown_peer_is_an_error_not_silence(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ends(tmp_path) as two:
            with pytest.raises(Unavailable) as failed:
                two.server.send([b"nobody", b"hello"])
            assert failed.value.retryable

    run(scenario)


def test_a_closed_port_sends_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ends(tmp_path) as two:
            two.client.close()
            with pytest.raises(Unavailable, match="closed"):
                two.client.send([b"x"])

    run(scenario)


def test_a_callback_that_fails_does_not_stop_the_port(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with ends(tmp_path) as two:
            two.failing = True
            two.client.send([b"one"])
            two.client.send([b"two"])
            await two.hears(2)

    run(scenario)
    assert caplog.text.count("a message could not be handled") == 2


def test_a_message_too_large_for_the_other_side_is_refused_here(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ends(tmp_path) as two:
            with pytest.raises(BadRequest, match="too large"):
                two.client.send([b"header", bytes(MAX_BODY + 1)])
            two.client.send([b"header", bytes(MAX_BODY)])
            await two.hears(1)
            assert len(two.heard[0][2]) == MAX_BODY

    run(scenario)


def test_a_peer_that_does_not_read_is_an_error_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_module, "HIGH_WATER", 50)

    async def scenario() -> None:
        async with ends(tmp_path) as two:
            slow = two.context.socket(zmq.DEALER)
            slow.curve_serverkey, pair = two.pair.public_z85, keys.generate()
            slow.curve_publickey, slow.curve_secretkey = pair.public_z85, pair.secret_z85
            slow.rcvhwm = 1
            slow.connect(two.endpoint)
            slow.send(b"here I am")
            await two.hears(1)

            def pour() -> None:
                for _ in range(2000):
                    two.server.send([two.heard[0][0], bytes(100_000)])

            with pytest.raises(Unavailable, match="does not read"):
                pour()
            two.client.send([b"others go on"])
            await two.hears(2)
            slow.close(linger=0)

    run(scenario)


def test_an_endpoint_that_cannot_be_bound_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ends(tmp_path) as two:
            with pytest.raises(Unavailable, match="no/such/directory"):
                router(two.context, two.pair, ["ipc:///no/such/directory/socket"])

    run(scenario)
