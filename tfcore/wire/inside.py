"""TCP from inside a container: what a process of it could connect to, and what could connect to it, for ssh's forwarding."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tfcore.wire.message import Done, Message, Request
from tfcore.wire.values import ObjectId, Port

Host = Annotated[str, Meta(max_length=255)]
"""A name or an IPv4 address, as the container would say it."""


class ConnectInside(Request[Done], frozen=True, kw_only=True, tag="container.connect-inside"):
    """One TCP connection made in the container's network, to itself (`localhost` too) or to whatever it can reach: channel 0
    to there, channel 1 from there, half-close preserved. Names are looked up as the container would.

    Channel 1 begins with one byte when it stands. Answered when both directions have ended.
    """

    host: Host
    port: Port


class ListenInside(Request[Done], frozen=True, kw_only=True, tag="container.listen-inside"):
    """Listen in the container's network until channel 0 ends. Channel 1 carries, as four bytes of length and a body each,
    `Listening` and then a `Called` for each connection, which waits to be taken for a while.

    It ends with the container's generation: whoever wants to go on listening asks again.

    Attributes:
        host: `localhost` for the container itself only; empty for all its addresses; or one of them.
        port: 0 for a free one.
    """

    host: Host = "localhost"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0


class Listening(Message, frozen=True, kw_only=True, tag="inside.listening"):
    """It does, on this port."""

    port: Port


class Called(Message, frozen=True, kw_only=True, tag="inside.called"):
    """Somebody has connected from this address; `number` is for `TakeCall`."""

    number: int
    host: str
    port: int


class TakeCall(Request[Done], frozen=True, kw_only=True, tag="container.take-call"):
    """Take a connection that waits at a listener (`ListenInside`, by its request's id); as `ConnectInside` from there on."""

    listener: ObjectId
    number: int
