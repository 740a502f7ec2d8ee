"""Every message there is, found by walking the class tree, and a full sample of each.

Run as a program, it writes the samples that are missing below `golden/`; it never touches one that is there: a sample shows
what some version has sent, and stays readable for ever.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import inspect

from tfcore.wire import links
from tfcore.wire.header import Header, encode_header
from tfcore.wire.message import Event, Message, Reply, Request, encode, op_of

GOLDEN = Path(__file__).with_name("golden")

_ID = "c-0123456789ABCDEFGHIJKL"
_TEXTS = {
    r"\A[scvnrxp]-[0-9A-Za-z]{22}\Z": _ID,
    r"\A([scvnrxp]-[0-9A-Za-z]{22})?\Z": _ID,
    r"\A[0-9A-Za-z][0-9A-Za-z_.-]{0,99}\Z": "name-1",
    r"\A([0-9A-Za-z][0-9A-Za-z_.-]{0,99})?\Z": "name-1",
    r"\A[0-9a-z_.-]{1,64}\Z": "tag-1",
    r"\Asha256:[0-9a-f]{64}\Z": "sha256:" + "ab" * 32,
    r"\A\d{1,3}(\.\d{1,3}){3}\Z": "10.117.0.2",
    r"\A([0-9A-Za-z][0-9A-Za-z-]{0,62})?\Z": "web",
    r"\A[0-9A-Za-z][0-9A-Za-z+._-]{0,63}\Z": "xterm",
}
"""What fits each pattern of the wire."""


def messages() -> list[type[Message]]:
    """All messages that can travel, by tag."""
    assert links.CLIENT_TO_LOCATION, "importing the tables imports every message"
    found = [cls for cls in _below(Message) if cls not in (Request, Reply, Event) and _is_ours(cls)]
    return sorted(found, key=op_of)


def _is_ours(cls: type[Message]) -> bool:
    """Tests make some of their own."""
    return cls.__module__.startswith("tfcore.")


def requests() -> list[type[Request[Any]]]:
    """All requests."""
    return [cls for cls in messages() if issubclass(cls, Request)]


def _below(cls: type[Message]) -> list[type[Message]]:
    return [found for child in cls.__subclasses__() for found in (child, *_below(child))]


def sample(cls: type[Message]) -> Message:
    """A message with something in every field."""
    made: Message = _struct(inspect.type_info(cls), depth=0)  # type: ignore[arg-type]
    return made


def _struct(kind: inspect.StructType, *, depth: int) -> Any:
    return kind.cls(**{field.name: _value(field.type, depth=depth + 1) for field in kind.fields})


def _value(kind: inspect.Type, *, depth: int) -> Any:  # noqa: C901 - one case for each kind of type
    match kind:
        case inspect.StrType(pattern=None):
            return "text"
        case inspect.StrType(pattern=pattern):
            return _TEXTS[pattern]
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return 1
        case inspect.FloatType():
            return 0.5
        case inspect.BytesType(min_length=least):
            return (b"\x00\xff" * 16)[: least or 4]
        case inspect.LiteralType(values=values):
            return values[-1]
        case inspect.VarTupleType(item_type=item):
            return (_value(item, depth=depth),) if depth < 5 else ()
        case inspect.TupleType(item_types=items):
            return tuple(_value(item, depth=depth) for item in items)
        case inspect.DictType():
            return {"key": "value"}
        case inspect.UnionType(types=types):
            return _value(next(t for t in types if not isinstance(t, inspect.NoneType)), depth=depth)
        case inspect.StructType():
            return _struct(kind, depth=depth)
    raise AssertionError(f"no sample for {kind}: say here what one looks like")


def encoded_samples() -> dict[str, bytes]:
    """File name to bytes, the header's included."""
    header = _struct(inspect.type_info(Header), depth=0)  # type: ignore[arg-type]
    return {"header": encode_header(header)} | {op_of(cls): encode(sample(cls)) for cls in messages()}


def main() -> None:
    """Write what is missing."""
    GOLDEN.mkdir(exist_ok=True)
    for name, body in encoded_samples().items():
        path = GOLDEN / f"{name}.msgpack"
        if not path.exists():
            path.write_bytes(body)


if __name__ == "__main__":
    main()
