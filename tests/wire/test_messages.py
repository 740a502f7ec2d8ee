"""Bodies and headers: what decodes, what is refused and how, errors on their way, names and limits."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from tfcore.errors import BadRequest, Exhausted, ImageNotFound, TfError, Unavailable
from tfcore.ids import new_id
from tfcore.wire import containers as c
from tfcore.wire import images as i
from tfcore.wire import nodes as n
from tfcore.wire import sessions as s
from tfcore.wire.header import MAX_HEADER, Header, decode_header, encode_header
from tfcore.wire.message import Done, Failure, Request, decode, encode, error_for, failure_of, op_of, reply_of

PACK = msgspec.msgpack.encode
CONTAINER, NODE = new_id("c"), new_id("n")


def body(cls: Any, **fields: Any) -> bytes:
    return PACK({"op": op_of(cls), **fields})


@pytest.mark.parametrize(
    ("cls", "fields", "field"),
    [
        (n.EndContainer, {"container": CONTAINER}, "container"),
        (i.FetchLayer, {"digest": "sha256:" + "0" * 64}, "digest"),
        (c.DropSnapshot, {"name": "baseline"}, "name"),
        (n.ConnectContainers, {"one": "10.0.0.1", "other": "10.0.0.2"}, "other"),
        (s.OpenSession, {"version": "1", "session": new_id("s")}, "session"),
        (c.SpawnContainer, {"node": NODE, "wish": {"image": "x"}}, "node"),
    ],
)
def test_a_pattern_is_not_fooled_by_a_trailing_newline(cls: Any, fields: dict[str, Any], field: str) -> None:
    decode(body(cls, **fields), cls)
    for ending in ("\n", "\r\n", "\0", " "):
        with pytest.raises(BadRequest, match=field):
            decode(body(cls, **{**fields, field: fields[field] + ending}), cls)


@pytest.mark.parametrize("name", ["../up", "/abs", ".hidden", "", "a/b", "a" * 101, "ü"])
def test_a_name_leads_nowhere(name: str) -> None:
    with pytest.raises(BadRequest):
        decode(body(c.DropSnapshot, name=name), c.DropSnapshot)


@pytest.mark.parametrize("hostname", ["-a", "a.b", "a_b", "a" * 64, "a\n"])
def test_a_hostname_is_one_label(hostname: str) -> None:
    with pytest.raises(BadRequest, match="hostname"):
        decode(body(c.SpawnContainer, node=NODE, wish={"image": "x", "hostname": hostname}), c.SpawnContainer)


@pytest.mark.parametrize("port", [0, -1, 65536, 80.5, "80", None])
def test_a_port_is_a_port(port: object) -> None:
    with pytest.raises(BadRequest, match="port"):
        decode(body(c.WaitTcp, port=port), c.WaitTcp)


@pytest.mark.parametrize(
    "wrong", [b"", b"\xc1", PACK(None), PACK([1]), PACK({}), PACK({"op": "done"}), body(c.WaitTcp), b"\x81\xa2op\xa1"]
)
def test_what_is_no_such_message_is_a_bad_request(wrong: bytes) -> None:
    with pytest.raises(BadRequest, match=r"container\.wait-tcp"):
        decode(wrong, c.WaitTcp)


def test_a_message_of_another_class_is_refused_by_its_tag() -> None:
    with pytest.raises(BadRequest):
        decode(encode(c.WaitReady()), c.StartContainer)


def test_an_error_arrives_as_what_it_was() -> None:
    error = ImageNotFound("no such image", hint="push it", retryable=True, details={"image": "web"})
    back = decode(encode(failure_of(error)), Failure).error()
    assert type(back) is ImageNotFound
    assert (back.message, back.hint, back.retryable, back.details) == (
        "no such image",
        "push it",
        True,
        {"image": "web"},
    )


def test_an_error_of_a_newer_peer_keeps_its_code_on_the_way_through_an_older() -> None:
    newer = Failure(code="too-clever", message="you would not understand", retryable=True)
    error = newer.error()
    assert type(error) is TfError
    assert failure_of(error).code == "too-clever"


@pytest.mark.parametrize("cls", [Exhausted, Unavailable, BadRequest])
def test_a_code_names_its_class(cls: type[TfError]) -> None:
    assert type(error_for(cls.code, "x", details={})) is cls


def test_a_request_knows_its_reply() -> None:
    assert reply_of(c.WaitReady) is c.ContainerReady
    assert reply_of(c.DestroyContainer) is Done
    with pytest.raises(TypeError, match="does not say what its reply is"):
        reply_of(Request)


def test_a_header_says_only_what_is_not_usual() -> None:
    header = Header(kind="credit", id=new_id("r"), channel=1, at=10)
    assert set(msgspec.msgpack.decode(encode_header(header))) == {"kind", "id", "channel", "at"}
    assert decode_header(encode_header(header)) == header
    assert decode_header(memoryview(encode_header(header))) == header


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "shout"}, {"id": "x"}, {"id": None}, {"target": "c-1"}, {"session": "s-" + "0" * 22 + "\n"},
        {"timeout": math.nan}, {"timeout": math.inf}, {"timeout": -1}, {"timeout": 1e9}, {"channel": 3}, {"channel": -1},
        {"at": -1}, {"end": 1}, {"op": b"x"}, {"op": "x" * MAX_HEADER},
    ],
)  # fmt: skip
def test_a_header_out_of_bounds_is_a_bad_request(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="header"):
        decode_header(PACK({"kind": "request", "id": new_id("r"), **fields}))


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"\x91" * 4000, b"\x81\xa1x" + b"\x91" * 3000, PACK([1, 2])])
def test_what_is_no_header_is_a_bad_request(frame: bytes) -> None:
    with pytest.raises(BadRequest):
        decode_header(frame)


def test_a_deeply_nested_body_is_a_bad_request() -> None:
    nested = b"\x82\xa2op\xafcontainer.spawn\xa4wish\x82\xa5image\xa1x\xa5ready" + b"\x81\xa5parts\x91" * 5000 + b"\x80"
    with pytest.raises(BadRequest):
        decode(nested, c.SpawnContainer)
