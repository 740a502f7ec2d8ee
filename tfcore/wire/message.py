"""What a message is: requests that know their reply, events, failures; how bodies become bytes and back.

A request is an imperative, its reply a past participle, an event a fact ending in `-ed` or `-Lost`. The tag is
`area.verb`, written out: renaming a class must not change the wire. New fields need defaults, a removed or re-typed
field needs a new tag.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Generic, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

from tfcore.errors import BadRequest, TfError, error_for


class Message(Struct, frozen=True, kw_only=True, tag_field="op", omit_defaults=True):
    """Everything that travels in a body frame."""


class Reply(Message, frozen=True, kw_only=True):
    """The answer to a request."""


class Event(Message, frozen=True, kw_only=True):
    """A fact that nobody answers."""


ReplyT = TypeVar("ReplyT", bound=Reply)


class Request(Message, Generic[ReplyT], frozen=True, kw_only=True):
    """A wish; its type parameter is its reply's type."""


class Done(Reply, frozen=True, kw_only=True, tag="done"):
    """It has been done and there is nothing more to say."""


class Failure(Message, frozen=True, kw_only=True, tag="failure"):
    """A typed error on its way to whoever asked; see `tfcore.errors` for the codes."""

    code: str
    message: str
    hint: str = ""
    retryable: bool = False
    details: dict[str, str] = {}

    def error(self) -> TfError:
        """The exception this failure stands for."""
        return error_for(self.code, self.message, hint=self.hint, retryable=self.retryable, details=dict(self.details))


def failure_of(error: TfError) -> Failure:
    """The wire form of an error."""
    return Failure(
        code=error.details.get("code", error.code),
        message=error.message,
        hint=error.hint,
        retryable=error.retryable,
        details=error.details,
    )


def op_of(message: Message | type[Message]) -> str:
    """The tag of a message, as it stands in header and body."""
    return str(message.__struct_config__.tag)


@functools.cache
def reply_of(request: type[Request[Any]]) -> type[Reply]:
    """The reply type a request class declares as its type parameter."""
    for base in request.__orig_bases__:  # type: ignore[attr-defined]
        if get_origin(base) is Request:
            (reply,) = get_args(base)
            assert isinstance(reply, type)
            assert issubclass(reply, Reply)
            return reply
    raise TypeError(f"{request.__name__} does not say what its reply is: derive it from Request[...]")


_encoder = msgspec.msgpack.Encoder()
_decoders: dict[type[Message], msgspec.msgpack.Decoder[Any]] = {}
MessageT = TypeVar("MessageT", bound=Message)


STRUCTURED = 1024 * 1024
"""Bytes of a request or an event, but for the contents it carries. Whoever asks chooses how many values they are: a MiB of
the smallest takes some thirty in memory and a moment of a daemon's time; sixty-four MiB stopped one for half a minute."""

_contents: dict[type[Message], tuple[msgspec.msgpack.Decoder[Any], Callable[[Any], int]]] = {}


def carries_contents(cls: type[Message], shape: type[Struct], size: Callable[[Any], int]) -> None:
    """Bodies of `cls` may be longer by the bytes they carry.

    Args:
        shape: what has these bytes of the message, and nothing else; how many of them is bounded.
        size: their sum.
    """
    _contents[cls] = msgspec.msgpack.Decoder(shape), size


def _check_contents(body: bytes | memoryview, cls: type[Message]) -> None:
    rest = len(body)
    if cls in _contents:
        decoder, size = _contents[cls]
        try:
            rest -= size(decoder.decode(body))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as bad:
            raise BadRequest(f"malformed {op_of(cls)}: {bad}") from bad
    if rest > STRUCTURED:
        raise BadRequest(
            f"{op_of(cls)} of {rest} bytes is too large; at most {STRUCTURED} are allowed besides contents"
        )


def encode(message: Message) -> bytes:
    """The body frame of a message."""
    return _encoder.encode(message)


def decode(body: bytes | memoryview, cls: type[MessageT]) -> MessageT:
    """A body frame as a message of `cls`.

    Raises:
        BadRequest: the body is not a well-formed `cls`, as the message says with the path of the offending field; or it is
            too large a request.
    """
    if len(body) > STRUCTURED and issubclass(cls, Request | Event):
        _check_contents(body, cls)
    decoder = _decoders.get(cls)
    if decoder is None:
        decoder = _decoders[cls] = msgspec.msgpack.Decoder(cls)
    try:
        return decoder.decode(body)  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as bad:
        raise BadRequest(f"malformed {op_of(cls)}: {bad}") from bad
