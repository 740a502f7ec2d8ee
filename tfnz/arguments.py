"""The shapes of arguments, in both generations of the SDK: checked and brought into one form before anything is sent.

Gen 1 (seed 001) passes dicts, gen 2 (seed 002) lists of pairs; text and bytes are both files. Wrong shapes raise
`BadRequest`, which is a `ValueError`.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfcore.errors import BadRequest
from tfcore.wire.message import Message, decode, encode

Content = bytes | bytearray | memoryview | str
Pairs = Mapping[str, Any] | Iterable[tuple[str, Any]] | None

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def pairs(value: Pairs, *, what: str) -> list[tuple[str, Any]]:
    """A dict or a list of pairs as a list of pairs."""
    if value is None:
        return []
    if not isinstance(value, Iterable):
        raise BadRequest(f"{what} is a dict or a list of (name, value) pairs, not {type(value).__name__}")
    items = list(value.items()) if isinstance(value, Mapping) else list(value)
    for item in items:
        if not isinstance(item, tuple | list) or len(item) != 2 or not isinstance(item[0], str):
            raise BadRequest(f"{what} is a dict or a list of (name, value) pairs; {item!r} is not a pair")
    return [(name, given) for name, given in items]


def environment(value: Pairs) -> tuple[tuple[str, str], ...]:
    """`env=` as pairs of text; numbers are written out."""
    found = []
    for name, given in pairs(value, what="env"):
        if not name or "=" in name or "\0" in name:
            raise BadRequest(f"{name!r} cannot be the name of an environment variable")
        if isinstance(given, bool) or not isinstance(given, str | int | float):
            raise BadRequest(f"the value of environment variable {name} is {type(given).__name__}, not text")
        if "\0" in str(given):
            raise BadRequest(f"the value of environment variable {name} contains a zero byte")
        found.append((name, str(given)))
    return tuple(found)


def files(value: Pairs) -> tuple[tuple[str, bytes], ...]:
    """`pre_boot_files=` as pairs of absolute path and bytes."""
    found = []
    for path, given in pairs(value, what="pre_boot_files"):
        found.append((inside(path), content(given, what=path)))
    return tuple(found)


def content(value: Content, *, what: str) -> bytes:
    """Bytes in any form, or text to be written as UTF-8."""
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes | bytearray | memoryview):
        raise BadRequest(f"the content of {what} is {type(value).__name__}, neither text nor bytes")
    return bytes(value)


def inside(path: str) -> str:
    """`path` if it is absolute and stays inside the container (gen 2: "outside the container" is a ValueError)."""
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
        raise BadRequest(f"{path!r} is not an absolute path in the container")
    if ".." in path.split("/"):
        raise BadRequest(f"{path!r} leads outside: '..' is not allowed in a container's path")
    return "/" + posixpath.normpath(path).lstrip("/")


def words(value: Sequence[str] | None, *, what: str) -> tuple[str, ...]:
    """A command as a list of words; one string is refused, since nobody knows how to split it."""
    if value is None:
        return ()
    words_given = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    if not words_given or not all(isinstance(word, str) for word in value):
        raise BadRequest(f"{what} is a list of strings, e.g. ['redis-server', '--port', '7000']")
    return tuple(value)


def size(value: int | str | None, *, what: str) -> int:
    """Bytes, given as a number or as docker writes it: "512m", "2g"."""
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(_SIZE, value.lower()) if isinstance(value, str) else None
    if match is None:
        raise BadRequest(f"{what}={value!r} is not a size; write 536870912 or '512m'")
    return int(float(match[1]) * _UNITS[match[2]])


def port(value: int) -> int:
    """`value` if it is a port's number."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise BadRequest(f"{value!r} is not a port")
    return value


def representable(message: Message) -> None:
    """Refuse here what the other side would refuse: names, lengths and types of every field, with the field's path."""
    decode(encode(message), type(message))


def mounts_apart(paths: Sequence[str]) -> None:
    """Refuse mount points of which one lies inside another (seed SDK: overlapping mounts are refused)."""
    ordered = sorted(paths, key=lambda path: path.split("/"))
    for outer, inner in itertools.pairwise(ordered):
        if inner == outer or inner.startswith(outer.rstrip("/") + "/"):
            raise BadRequest(f"the mount points {outer} and {inner} overlap")
    if "/" in paths:
        raise BadRequest("a volume cannot be mounted on /")


class Address(str):
    """An address that may also be called: `.ip` and `.ip()` both work."""

    __slots__ = ()

    def __call__(self) -> str:
        """The address."""
        return str(self)
