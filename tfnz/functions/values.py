"""Arguments and results as JSON: what JSON has, and bytes, tuples, sets, dates and the like as tagged objects.

    {"$tf": ["bytes", "aGk="]}

Runs on both sides, so it needs nothing but the standard library of Python 3.8. Data only: decoding never imports, calls or
makes anything but the types below, whatever the other side has sent.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import json
import pathlib
import uuid
from typing import Any

MARK = "$tf"


class CannotTravel(TypeError):
    """A value of a type that is not carried; the message says where in the whole it is."""


def encode(value: Any, what: str = "the value") -> str:
    """A value as text.

    Raises:
        CannotTravel: it holds something of another type.
    """
    return json.dumps(_packed(value, what))


def decode(text: str) -> Any:
    """The value of such a text.

    Raises:
        ValueError: it is none.
    """
    try:
        return _unpacked(json.loads(text))
    except (KeyError, IndexError, TypeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"not a value: {error}") from None


def plain(value: Any) -> Any:
    """The same for programs that know nothing of tags: tuples and sets as lists, all else that JSON lacks as text."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=repr)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _packed(value: Any, where: str) -> Any:
    """Subclasses arrive as what they are a kind of: a named tuple as a tuple, a default dictionary as a dictionary."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [_packed(item, f"{where}[{at}]") for at, item in enumerate(value)]
    if isinstance(value, dict):
        return _packed_dict(value, where)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _packed({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, where)
    for several in _SEVERAL:
        if isinstance(value, several):
            return {MARK: [several.__name__, [_packed(item, f"an item of {where}") for item in value]]}
    for name, (kind, pack, _) in _KINDS.items():
        if isinstance(value, kind):
            return {MARK: [name, pack(value)]}
    raise CannotTravel(f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which cannot travel")


def _packed_dict(value: dict[Any, Any], where: str) -> Any:
    if all(type(key) is str and key != MARK for key in value):
        return {key: _packed(item, f"{where}[{key!r}]") for key, item in value.items()}
    pairs = [[_packed(key, f"a key of {where}"), _packed(item, f"{where}[{key!r}]")] for key, item in value.items()]
    return {MARK: ["dict", pairs]}


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(item) for item in value]
    if not isinstance(value, dict):
        return value
    if MARK not in value:
        return {key: _unpacked(item) for key, item in value.items()}
    name, packed = value[MARK]
    if name == "dict":
        return {_unpacked(key): _unpacked(item) for key, item in packed}
    for several in _SEVERAL:
        if name == several.__name__:
            return several(_unpacked(item) for item in packed)
    return _KINDS[name][2](packed)


_SEVERAL = (tuple, set, frozenset)

_KINDS: dict[str, tuple[Any, Any, Any]] = {
    "bytes": (bytes, lambda it: base64.b64encode(it).decode(), base64.b64decode),
    "bytearray": (bytearray, lambda it: base64.b64encode(it).decode(), lambda it: bytearray(base64.b64decode(it))),
    "complex": (complex, lambda it: [it.real, it.imag], lambda it: complex(*it)),
    "Decimal": (decimal.Decimal, str, decimal.Decimal),
    "UUID": (uuid.UUID, str, uuid.UUID),
    "path": (pathlib.PurePath, str, pathlib.PurePosixPath),
    "datetime": (datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "time": (datetime.time, datetime.time.isoformat, datetime.time.fromisoformat),
    "timedelta": (
        datetime.timedelta, lambda it: [it.days, it.seconds, it.microseconds], lambda it: datetime.timedelta(*it)
    ),
}  # fmt: skip
"""By tag: the type, how it is packed, how it is unpacked."""
