"""The broker under peers who do not keep the rules: malformed, oversized, spoofed, somebody else's."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from tests.location.world import Party, location, run, until
from tfcore import ids
from tfcore.errors import BadRequest, Exhausted, NotFound
from tfcore.wire import containers as c
from tfcore.wire import sessions as s
from tfcore.wire import volumes as v
from tfcore.wire.header import MAX_BODY, MAX_HEADER, Header, encode_header
from tfcore.wire.message import Failure, decode, encode, op_of
from tflocation import forwarding


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


def header(**fields: Any) -> dict[str, Any]:
    return {"kind": "request", "id": ids.new_id("r"), "op": "session.renew", **fields}


def malformed_headers() -> Iterator[tuple[str, bytes]]:
    pack = msgspec.msgpack.encode
    yield "empty", b""
    yield "not MessagePack", b"\xc1\xff\x00"
    yield "a list", pack([1, 2, 3])
    yield "no kind", pack({"id": ids.new_id("r")})
    yield "unknown kind", pack(header(kind="shout"))
    yield "no id", pack(header(id=""))
    yield "an id that is none", pack(header(id="r-../../etc/passwd"))
    yield "an id with a newline", pack(header(id=ids.new_id("r") + "\n"))
    yield "timeout is not a number", pack(header(timeout=math.nan))
    yield "timeout is endless", pack(header(timeout=math.inf))
    yield "negative timeout", pack(header(timeout=-1.0))
    yield "a channel too many", pack(header(kind="data", channel=3))
    yield "a negative offset", pack(header(kind="data", at=-1))
    yield "wrong types", pack(header(op=7))
    yield "invalid text", pack(header()).replace(b"session.renew", b"session\xff\xfe\xfd\xfc\xfbw")
    yield "too long", pack(header(op="x" * MAX_HEADER))
    yield "deeply nested", b"\x81\xa1x" + b"\x91" * 3000 + b"\xc0"


@pytest.mark.parametrize(
    ("what", "frame"), list(malformed_headers()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_malformed_header_is_counted_and_harms_nobody(root: Path, what: str, frame: bytes) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            mallory, alice = await world.client("mallory"), await world.client("alice")
            mallory.send_raw(frame, b"")
            await until(lambda: world.location.broker.counters.malformed == 1)
            await alice.call(s.RenewLease())
            await mallory.call(s.RenewLease())

    run(scenario)


@pytest.mark.parametrize("frames", [[b""], [b"a", b"b", b"c"], [b"a"] * 50])
def test_a_wrong_number_of_frames_is_counted(root: Path, frames: list[bytes]) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            mallory = await world.client("mallory")
            mallory.send_raw(*frames)
            await until(lambda: world.location.broker.counters.malformed == 1)
            await mallory.call(s.RenewLease())

    run(scenario)


def test_a_malformed_header_with_a_readable_id_is_answered(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            request = ids.new_id("r")
            client.send_raw(msgspec.msgpack.encode(header(id=request, timeout=-5.0)), b"")
            await until(lambda: len(client.raw) > 1)
            answer = msgspec.msgpack.decode(client.raw[-1][0], type=Header)
            assert (answer.kind, answer.id) == ("failure", request)
            assert decode(client.raw[-1][1], Failure).code == BadRequest.code

    run(scenario)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x80",
        msgspec.msgpack.encode({"op": "image.find"}),
        msgspec.msgpack.encode({"op": "image.find", "name": 7}),
    ],
)
def test_a_malformed_body_is_refused_with_the_path(root: Path, body: bytes) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            before = len(client.raw)
            client.send_raw(msgspec.msgpack.encode(header(op="image.find")), body)
            await until(lambda: len(client.raw) > before)
            failure = decode(client.raw[-1][1], Failure)
            assert failure.code == BadRequest.code
            assert "image.find" in failure.message

    run(scenario)


def test_a_deeply_nested_probe_is_refused(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            before = len(client.raw)
            parts = b"\x81\xa5parts\x91" * 3000 + b"\x80"
            spawn = msgspec.msgpack.encode({"op": "container.spawn", "node": ids.new_id("n"), "wish": None})
            wish = b"\x82\xa5image\xa1x\xa5ready" + parts
            client.send_raw(
                msgspec.msgpack.encode(header(op="container.spawn")), spawn.replace(b"wish\xc0", b"wish" + wish)
            )
            await until(lambda: len(client.raw) > before)
            assert decode(client.raw[-1][1], Failure).code == BadRequest.code

    run(scenario)


def test_an_unknown_operation_says_so(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            before = len(client.raw)
            client.send_raw(msgspec.msgpack.encode(header(op="container.levitate")), b"\x80")
            await until(lambda: len(client.raw) > before)
            failure = decode(client.raw[-1][1], Failure)
            assert failure.code == BadRequest.code
            assert "levitate" in failure.message

    run(scenario)


def test_an_oversized_frame_cuts_its_sender_off_and_nobody_else(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            alice = await world.client("alice")
            mallory = await world.client("mallory")
            mallory.port.socket.send_multipart([b"h", bytes(MAX_BODY + 1000)])
            await until(lambda: zmq.EVENT_DISCONNECTED in mallory.connection_events)
            await alice.call(s.RenewLease())
            assert (await mallory.take_up()).resumed

    run(scenario)


def test_our_own_side_refuses_to_send_an_oversized_frame(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            with pytest.raises(BadRequest, match="too large"):
                client.port.send([b"h", bytes(MAX_BODY + 1)])
            await client.call(s.RenewLease())

    run(scenario)


# whose


def test_somebody_elses_things_read_like_nothing(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            alice, mallory = await world.client("alice"), await world.client("mallory")
            container, volume = await world.container(alice), await world.volume(alice)
            kept = await world.volume(alice, tag="kept", persistent=True)
            asked = len(node.asked)
            for request, target in [
                (c.AskContainer(), container),
                (c.RunProcess(command="id"), container),
                (c.DestroyContainer(), container),
                (c.AllowConnection(source=container), container),
                (v.SnapshotVolume(), volume),
                (v.DestroyVolume(), volume),
                (v.DestroyVolume(), kept),
            ]:
                theirs = await mallory.error_of(request, target=target)
                nobodys = target[:2] + ids.new_id("r")[2:]
                assert isinstance(theirs, NotFound)
                missing = await mallory.error_of(request, target=nobodys)
                assert theirs.message.replace(target, nobodys) == missing.message
            assert len(node.asked) == asked, "the node was not bothered"
            mounting = c.SpawnContainer(
                node=world.node_id(), wish=c.ContainerWish(image="web", mounts=(c.Mount(volume=kept, path="/data"),))
            )
            assert isinstance(await mallory.error_of(mounting), NotFound)

    run(scenario)


def test_a_session_volume_is_its_sessions_alone(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            one, other = await world.client("alice"), await world.client("alice")
            volume = await world.volume(one)
            assert isinstance(await other.error_of(v.SnapshotVolume(), target=volume), NotFound)
            assert (await world.client("alice")).welcome.volumes == ()
            await one.call(v.SnapshotVolume(), target=volume)

    run(scenario)


def test_what_a_client_says_of_session_and_account_is_overwritten(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            alice, mallory = await world.client("alice"), await world.client("mallory")
            mine = await world.container(mallory)
            lie = Header(
                kind="request", id=ids.new_id("r"), op=op_of(c.AskContainer), target=mine,
                session=alice.welcome.session, account="alice",
            )  # fmt: skip
            mallory.send_raw(encode_header(lie), encode(c.AskContainer()))
            await until(lambda: any(op == "container.ask" for op, _ in node.asked))
            call = next(call for op, call in node.asked if op == "container.ask")
            assert (call.session, call.account) == (mallory.welcome.session, "mallory")

    run(scenario)


def test_a_target_that_is_neither_container_nor_volume_is_refused(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = await world.client()
            for target in ("", ids.new_id("n"), ids.new_id("s"), ids.new_id("r")):
                assert isinstance(await client.error_of(c.AskContainer(), target=target), BadRequest)

    run(scenario)


def test_a_taken_identity_gives_no_access_to_its_former_holder(root: Path) -> None:
    """ROUTER gives an identity to whoever comes next with it; the key on each message tells them apart."""

    async def scenario() -> None:
        async with location(root) as world:
            alice = world.party(world.pair_of("account", "alice"), identity=b"the-identity")
            await alice.hello()
            session = world.location.sessions.get(alice.welcome.session)
            assert session.identity == b"the-identity"
            alice.cut()
            mallory = world.party(world.pair_of("account", "mallory"), identity=b"the-identity")
            while not mallory.told(s.SessionLost):  # she gets it once it is noticed that alice has gone
                mallory.link.begin(s.RenewLease()).abandon()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await mallory.hears(s.SessionLost)
                        break
                mallory.cut()
                mallory.reconnect()
            assert not mallory.told(s.SessionLost)[0].ended
            assert session.identity == b"", "nothing of alice's goes there any more"
            alice._identity = b""
            alice.reconnect()
            assert (await alice.take_up()).resumed

    run(scenario)


def test_squatting_on_a_live_identity_leaves_its_holder_alone(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            alice = world.party(world.pair_of("account", "alice"), identity=b"the-identity")
            await alice.hello()
            mallory = world.party(world.pair_of("account", "mallory"), identity=b"the-identity")
            await until(lambda: zmq.EVENT_HANDSHAKE_SUCCEEDED in mallory.connection_events)
            mallory.send_raw(msgspec.msgpack.encode(header()), encode(s.RenewLease()))
            await alice.call(s.RenewLease())
            assert mallory.raw == []

    run(scenario)


def test_a_node_speaks_to_a_session_only_about_what_it_was_asked(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            await world.container(client)
            before = len(client.raw)
            for kind in ("reply", "failure", "data", "credit", "event", "request", "cancel"):
                unasked = Header(kind=kind, id=ids.new_id("r"), session=client.welcome.session, op="done")  # type: ignore[arg-type]
                node.send_raw(encode_header(unasked), b"\x81\xa2op\xa4done")
            await client.call(s.RenewLease())
            assert len(client.raw) == before + 1, "only the renewal's answer came"

    run(scenario)


def test_another_node_cannot_answer_in_the_first_ones_place(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node, other = await world.node(), await world.node("rack2")
            client = await world.client()
            container = await world.container(client)
            node.gate.clear()
            waiting = client.link.begin(c.WaitReady(), target=container, timeout=20)
            await until(lambda: any(op == "container.wait-ready" for op, _ in node.asked))
            forged = Header(kind="reply", id=waiting.header.id, session=client.welcome.session, op="container.ready")
            other.send_raw(encode_header(forged), encode(c.ContainerReady(generation=666, seconds=0)))
            await until(lambda: world.location.broker.counters.dropped == 1)
            node.gate.set()
            assert (await waiting.reply()).generation == 1

    run(scenario)


# bulk and bounds


async def echo(client: Party, container: str, data: bytes) -> bytes:
    running = client.link.begin(c.RunProcess(command="cat"), target=container, timeout=20)

    async def feed() -> None:
        await running.stream.write(0, data)
        running.stream.finish(0)

    feeding = asyncio.ensure_future(feed())
    collected = b"".join([bytes(chunk) async for chunk in running.stream.chunks(1)])
    await feeding
    assert (await running.reply()).exit_code == 0
    return collected


def test_streams_pass_both_ways_unchanged(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            client = await world.client()
            container = await world.container(client)
            data = bytes(range(256)) * 60_000  # more than a window
            assert await echo(client, container, data) == data
            assert len(world.location.forwarding) == 0

    run(scenario)


def test_too_many_requests_at_once_are_refused_and_can_be_asked_later(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "IN_FLIGHT", 3)

    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            node.gate.clear()
            waiting = [client.link.begin(c.WaitReady(), target=container, timeout=20) for _ in range(3)]
            error = await client.error_of(c.AskContainer(), target=container)
            assert isinstance(error, Exhausted)
            assert error.retryable
            node.gate.set()
            for asked in waiting:
                await asked.reply()
            await client.call(c.AskContainer(), target=container)

    run(scenario)


def test_a_cancelled_request_is_cancelled_at_the_node_and_forgotten(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            node = await world.node()
            client = await world.client()
            container = await world.container(client)
            node.gate.clear()
            waiting = client.link.begin(c.WaitReady(), target=container, timeout=20)
            await until(lambda: len(node.link._served) == 1)
            waiting.abandon()
            await until(lambda: len(node.link._served) == 0)
            assert len(world.location.forwarding) == 0

    run(scenario)


def test_a_client_that_does_not_read_holds_up_only_itself(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            slow, quick = await world.client("slow"), await world.client("quick")
            held, free = await world.container(slow), await world.container(quick)
            pouring = slow.link.begin(c.FetchFile(path=f"/{64 << 20}"), target=held, timeout=20)
            await until(lambda: pouring.stream._inlets and pouring.stream._inlets[1].received >= 4 << 20)
            assert await echo(quick, free, b"x" * 100_000) == b"x" * 100_000
            assert pouring.stream._inlets[1].received <= (4 << 20) + (256 << 10), "no more than the window came"
            pouring.abandon()

    run(scenario)


def test_notices_to_say_hello_are_not_multiplied(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            client = world.party(world.pair_of("account", "alice"))
            for _ in range(50):
                client.send_raw(msgspec.msgpack.encode(header()), encode(s.RenewLease()))
            await until(lambda: world.location.broker.counters.turned_away == 50)
            await client.hello()
            assert len(client.told(s.SessionLost)) == 1

    run(scenario)
