"""The header frame: all that the broker reads. Bodies and bulk pass it untouched.

Frames of one message: `[header] [body]`, with ZeroMQ's routing identity in front at the location's side. The body is a
MessagePack map for requests, replies, events and failures, and raw bytes for data.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from tfcore.errors import BadRequest
from tfcore.wire.values import Bytes, OptionalId

Kind = Literal["request", "reply", "failure", "event", "data", "credit", "cancel"]

MAX_BODY = 64 * 1024 * 1024
"""Bytes. A larger body is refused by the socket itself (ZMQ_MAXMSGSIZE). Bulk data travels in chunks far below it;
what needs the room is a spawn with pre-boot files."""

MAX_HEADER = 4096

LONGEST = 366 * 86400.0
"""Seconds an asker may wait: requests last as long as the processes, listeners and connections they are about."""


class Header(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who says what to whom.

    Attributes:
        kind: what the body is. `credit` and `cancel` have none.
        id: the request's id; its reply, failure and stream frames carry the same.
        op: the body's tag; empty for data and credit.
        target: the object a request is for: a container or volume (the location routes it to that object's node after
            checking that the session's account owns it); empty for the location itself.
        session: whose request it is. Stamped by the location on everything it passes to a node, so a node may trust it;
            what a client writes here is overwritten. A node's answers carry it back.
        account: like `session`: the account's name.
        timeout: seconds the asker will wait, from now.
        channel: which of a stream's channels (data and credit): 0 towards the handler, 1 and 2 from it.
        at: for data: the offset in bytes of this chunk in its channel; for credit: the offset up to which the receiver
            has consumed. Offsets show a gap after a reconnection. For replies: what the handler has sent before on all
            channels, in bytes and one for each end: with less than that the reply is not complete.
        end: for data: nothing comes on this channel after this chunk.
        again: for requests: it was asked before, and is perhaps known. For credit: what comes after `at` did not arrive,
            and is to be sent again.
        cause: for requests: the id of the request in whose service this one is asked; for the logs only.
    """

    kind: Kind
    id: OptionalId
    op: str = ""
    target: OptionalId = ""
    session: OptionalId = ""
    account: str = ""
    timeout: Annotated[float, Meta(ge=0, le=LONGEST)] = 0.0
    channel: Annotated[int, Meta(ge=0, le=2)] = 0
    at: Bytes = 0
    end: bool = False
    again: bool = False
    cause: OptionalId = ""


_TAG = re.compile(r"[a-z]{1,16}(\.[a-z]{1,16}(-[a-z]{1,16}){0,4})?")
"""What an operation is called; no id (`tfcore.ids`) fits in."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Header)


def shown(header: Header) -> str:
    """What a header is about, for a log: whoever sends it could write there what looks like somebody else's doing."""
    return header.op if _TAG.fullmatch(header.op) else header.kind


def encode_header(header: Header) -> bytes:
    """The header frame."""
    return _encoder.encode(header)


def decode_header(frame: bytes | memoryview) -> Header:
    """The header in a frame.

    Raises:
        BadRequest: too long, or not a header.
    """
    if len(frame) > MAX_HEADER:
        raise BadRequest(f"header of {len(frame)} bytes; at most {MAX_HEADER} are allowed")
    try:
        return _decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as bad:
        raise BadRequest(f"malformed header: {bad}") from bad
