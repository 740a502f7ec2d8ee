"""Everything that reads what strangers send, fed with more than 100,000 malformed inputs.

Each is refused with a typed error, or means something; nothing else is raised, and nothing takes for ever.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from tests.fuzz.mutations import Target, mutated
from tests.support import archives as tars
from tests.support.images import SampleImage, gzipped
from tests.wire.vocabulary import encoded_samples, messages, sample
from tfcore import invitations, keys
from tfcore.errors import BadRequest, TfError
from tfcore.images import compression
from tfcore.images.description import parse_config
from tfcore.images.platforms import this_platform
from tfcore.images.reference import parse_reference
from tfcore.invitations import Invitation
from tfcore.rpc.dispatcher import Call, Dispatcher
from tfcore.rpc.link import Link
from tfcore.rpc.streams import INPUT
from tfcore.wire import containers as c
from tfcore.wire.header import Header, decode_header, encode_header
from tfcore.wire.message import Done, decode, encode, op_of
from tflocation.auth.principals import parse as parse_principal
from tflocation.auth.zap import Doorkeeper
from tflocation.images.ingest import ingest
from tfnode.images.bytestream import ByteStream
from tfnode.images.decompress import uncompressed
from tfnode.images.limits import Limits
from tfnode.images.tarreader import read_tar
from tfnz.images.docker_archive import open_docker_archive
from tfnz.images.oci_layout import open_oci_directory

IN_CI = 100_000
"""Inputs that a short run makes at least."""

MIB = 1 << 20
EXPANSION = compression.Expansion(size=4 * MIB, ratio=200, free=MIB)
LIMITS = Limits(stream_bytes=4 * MIB, entries=2000, file_bytes=64 * MIB, ratio=200, ratio_from=MIB)


# --- what is read


def _body(cls: type) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        made = decode(data, cls)
        encode(made)
        return made

    return read


def _invitation(data: bytes) -> object:
    return invitations.parse(data.decode("utf-8", "surrogateescape"), role="client")


def _principal(data: bytes) -> object:
    found = parse_principal(data.decode("latin-1"))
    if found is None:
        raise BadRequest("none of ours")
    return found


def _tar(data: bytes) -> int:
    """Reads every entry and half of their contents, as a plain or compressed stream; often with checksums that are right."""
    if len(data) % 3:
        data = _with_checksums(data)
    stream = ByteStream(uncompressed(tars.chunked(data, 777), LIMITS))
    read = 0
    for number, entry in enumerate(read_tar(stream, LIMITS)):
        if number % 2:
            read += sum(len(piece) for piece in stream.pieces(entry.stored))
    return read


def _with_checksums(data: bytes) -> bytes:
    blocks = [data[start : start + 512] for start in range(0, len(data), 512)]
    return b"".join(tars.with_checksum(bytearray(block)) if block[257:262] == b"ustar" else block for block in blocks)


def _layer(data: bytes) -> object:
    return ingest(tars.chunked(data), lambda _: None, diff_id="sha256:" + "0" * 64, limit=4 * MIB, allowed=EXPANSION)


def _some_tars() -> list[bytes]:
    plain = tars.tar(
        tars.directory("etc"), tars.file("etc/motd", b"hello" * 100), tars.symlink("motd", "etc/motd"),
        tars.hardlink("again", "etc/motd"), tars.device("null", 1, 3), tars.fifo("pipe"), tars.file(".wh.gone"),
        tars.file("x" * 200, b"long", pax_headers={"SCHILY.xattr.user.a": "b", "mtime": "1.5"}),
    )  # fmt: skip
    sparse = tars.pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9000"))
    map_and_data = b"1\n512\n5\n".ljust(512, b"\0") + b"hello".ljust(512, b"\0")
    made = sparse + tars.header(b"hole", size=tars.octal(517)) + map_and_data + tars.END
    old = tars.tar(tars.file("y" * 150, b"gnu" * 300), format=1)
    return [plain, made, old, tars.gzipped(plain)]


INVITATION = invitations.text_of(
    Invitation(
        location="lab",
        address="tcp://lab:5555",
        server_key=bytes(32),
        secret=bytes(range(32)),
        role="client",
        name="alice",
        expires=time.time() + 1e6,
    )
).encode()

CONFIG = json.dumps(
    {
        "architecture": "amd64", "os": "linux", "created": "2020-01-01T00:00:00Z",
        "config": {
            "Env": ["A=b"], "Cmd": ["sh"], "Entrypoint": "/x", "ExposedPorts": {"80/tcp": {}}, "User": "1:1",
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000, "Retries": 3}, "Labels": {"a": "b"},
            "WorkingDir": "/", "StopSignal": "SIGTERM", "Volumes": {"/data": {}},
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "ab" * 32]},
    }
).encode()  # fmt: skip

REFERENCES = [
    b"nginx",
    b"docker:nginx:1.2",
    b"oci:/dir:tag",
    b"rootfs:/x.tar",
    b"lab:5000/a/b@sha256:" + b"ab" * 32,
    b".",
]


def targets() -> Iterator[Target]:
    headers = [encode_header(Header(kind=kind, id="r-" + "0" * 22, op="x")) for kind in ("request", "data", "event")]
    yield Target("header", [*headers, encoded_samples()["header"]], decode_header, 40_000)
    for cls in messages():
        yield Target(op_of(cls), [encode(sample(cls))], _body(cls), 1_500)
    yield Target("invitation", [INVITATION], _invitation, 20_000)
    yield Target("principal", [b"account:alice#1", b"node:rack-1#77"], _principal, 5_000)
    yield Target("image config", [CONFIG], parse_config, 20_000)
    yield Target("image reference", REFERENCES, lambda d: parse_reference(d.decode("utf-8", "surrogateescape")), 20_000)
    yield Target("tar", _some_tars(), _tar, 6_000)
    yield Target("layer", [tars.gzipped(bytes(5000) + b"x" * 100), gzipped(b"ab" * 999), *_some_tars()], _layer, 4_000)


TARGETS = list(targets())


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_what_is_malformed_is_refused(target: Target) -> None:
    assert target.run() > 0, "none of its inputs was malformed"


def test_they_are_enough() -> None:
    assert sum(target.share for target in TARGETS) >= IN_CI


def test_a_mutation_can_be_played_again() -> None:
    one, other = (mutated(random.Random("x"), [b"abcdef" * 10]) for _ in range(2))
    assert one == other


# --- archives in files


@pytest.mark.parametrize("kind", ["docker archive", "oci layout"])
def test_archives_of_images(kind: str, tmp_path: Path) -> None:
    image = SampleImage([{"greeting": b"hello"}])
    directory = tmp_path / "layout"
    archive = tmp_path / "saved.tar"
    image.docker_archive(archive)
    image.oci_layout(directory)
    files = [path for path in directory.rglob("*") if path.is_file() and path.stat().st_size < 4000]

    def read_archive(data: bytes) -> None:
        archive.write_bytes(data)
        open_docker_archive(archive, tag=None, platform=this_platform(), name="x").close()

    def read_layout(data: bytes) -> None:
        number = len(data) % len(files)
        good = files[number].read_bytes()
        files[number].write_bytes(data)
        try:
            open_oci_directory(directory, tag=None, platform=this_platform(), name="x").close()
        finally:
            files[number].write_bytes(good)

    if kind == "docker archive":
        assert Target(kind, [archive.read_bytes()], read_archive, 1000).run() > 0
    else:
        assert Target(kind, [path.read_bytes() for path in files], read_layout, 1000).run() > 0


# --- what has a memory


def test_a_conversation(caplog: pytest.LogCaptureFixture) -> None:
    """Headers of every kind in any order, about requests that are served and such that are not."""
    caplog.set_level(logging.CRITICAL)

    async def scenario() -> None:
        sent = 0

        def send(header: Header, body: bytes | memoryview) -> None:
            nonlocal sent
            encode_header(header)
            sent += 1

        async def eat(call: Call, _message: object) -> Done:
            async for chunk in call.stream.chunks(INPUT):
                await call.stream.write(1, chunk)
            return Done()

        link = Link(send, dispatcher=Dispatcher({c.RunProcess: eat}), on_event=lambda _header, _body: None)
        ids = [f"r-{number:022}" for number in range(6)]
        seeds = [
            encode_header(Header(kind=kind, id=one, op="container.run-process", channel=channel, at=at, end=at == 9))
            for kind in ("request", "data", "credit", "cancel", "reply", "failure", "data", "data")
            for one in ids
            for channel in (0, 1, 2)
            for at in (0, 5, 9, 1 << 30)
        ]

        read = decode_and_receive(link)
        for round_ in range(20):
            assert Target(f"conversation {round_}", seeds, read, 1_500).run() > 0
            await asyncio.sleep(0)  # what was asked is served meanwhile
        await link.close()
        assert sent

    asyncio.run(scenario())


def decode_and_receive(link: Link) -> Callable[[bytes], None]:
    request = encode(c.RunProcess(command="cat"))

    def read(data: bytes) -> None:
        header = decode_header(data)
        link.receive(header, request if header.kind == "request" and data[-1] % 3 else data[:300])

    return read


def test_the_doorkeeper_whatever_it_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    """ZAP (RFC 27): a question is answered by 200 for a known key only."""
    caplog.set_level(logging.CRITICAL)

    async def scenario() -> None:
        known = keys.generate().public
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        keeper = Doorkeeper(context, lambda key: "account:x#1" if key == known else None, clock=time.monotonic)
        answers: list[list[bytes]] = []
        keeper._port.send = lambda frames: answers.append([bytes(frame) for frame in frames])  # type: ignore[method-assign,misc]
        question = [b"route", b"", b"1.0", b"1", b"tf", b"10.0.0.1", b"", b"CURVE", known]
        seed = b"\x1f".join(question)
        asked: list[list[bytes]] = []

        def read(data: bytes) -> None:
            parts = data.split(b"\x1f")
            asked.append(parts)
            keeper._on_question([zmq.Frame(part) for part in parts])

        Target("zap", [seed, seed.replace(known, bytes(32))], read, 5_000).run()
        let_in = [answer for answer in answers if answer[4] == b"200"]
        honest = [
            parts for parts in asked if len(parts) == 9 and (parts[2], parts[7], parts[8]) == (b"1.0", b"CURVE", known)
        ]
        assert len(let_in) == len(honest)
        keeper.close()
        context.destroy(linger=0)

    asyncio.run(scenario())


def test_a_bomb_grows_no_further_than_it_may() -> None:
    """A few kilobytes that stand for gigabytes, at both doors."""
    bomb = tars.gzipped(bytes(64 * MIB))
    for read in (_layer, _tar):
        with pytest.raises(TfError):
            read(bomb)
    nested = io.BytesIO(tars.gzipped(tars.tar(tars.file("bomb", tars.gzipped(bytes(3 * MIB))))))
    assert _tar(nested.read()) == 0, "what is packed in a layer's file is nobody's to unpack"
