"""What people type for `tf run`, word by word: ports, variables, files, mounts. Pure; what is wrong is a `BadRequest`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tfcore.errors import BadRequest

LOOPBACK = "127.0.0.1"

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


@dataclass(frozen=True, slots=True)
class Publication:
    """A port of the container, and where it is to be reached here.

    Attributes:
        port: the container's.
        localport: ours; None: a free one.
        bind: the address to listen on.
    """

    port: int
    localport: int | None = None
    bind: str = LOOPBACK


def publication(text: str, *, bind: str = LOOPBACK) -> Publication:
    """`80`, `8080:80` (seed SDK: local:remote), or as docker writes it `192.0.2.1:8080:80` and `192.0.2.1::80`; `/tcp`
    may stand behind.

    Raises:
        BadRequest: it is none of them.
    """
    words, _, protocol = text.partition("/")
    *before, remote = words.split(":")
    if len(before) > 2 and words.startswith("["):  # [::1]:8080:80
        address, _, rest = words[1:].partition("]:")
        before = [address, *rest.split(":")[:-1]]
    if len(before) > 2 or protocol not in ("", "tcp"):
        raise BadRequest(
            f"-p {text}: not a port to publish", hint="write REMOTE, LOCAL:REMOTE or ADDRESS:LOCAL:REMOTE, TCP only"
        )
    local = before.pop() if before else ""
    address = before.pop() if before else ""
    return Publication(_port(remote, text), _port(local, text) if local else None, address or bind)


def _port(word: str, text: str) -> int:
    if not word.isdecimal() or not 0 < int(word) < 65536:
        raise BadRequest(f"-p {text}: {word!r} is not a port")
    return int(word)


def publications(
    given: Sequence[str], exposed: Iterable[int], *, bind: str | None = None, offset: int | None = None
) -> list[Publication]:
    """All ports to be reached from here.

    Args:
        given: the values of `-p`; without one it is the exposed ports.
        exposed: by the image.
        bind: address to listen on instead of loopback (seed 001, Production).
        offset: local port minus container's (seed 001); with `bind` and without it 0, else a free port is taken.

    Raises:
        BadRequest: a value is no port, or the offset leads beyond the ports there are.
    """
    where = bind or LOOPBACK
    if given:
        return [publication(text, bind=where) for text in given]
    if bind is None and offset is None:
        return [Publication(port) for port in exposed]
    shift = offset or 0
    for port in exposed:
        if not 0 < port + shift < 65536:
            raise BadRequest(f"--offset {shift} leads port {port} to {port + shift}, which is not a port")
    return [Publication(port, port + shift, where) for port in exposed]


def variable(text: str, environment: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """`NAME=value`, or `NAME` for the value it has here; None if it has none here (docker's habit).

    Raises:
        BadRequest: there is no name.
    """
    name, equals, value = text.partition("=")
    if not name:
        raise BadRequest(f"-e {text}: there is no name", hint="write NAME=value, or NAME to hand its value on")
    if equals:
        return name, value
    return (name, environment[name]) if name in environment else None


def variables(
    given: Iterable[str], files: Iterable[str] = (), environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The variables of `--env-file` and `-e`, later ones over earlier ones.

    Raises:
        BadRequest: a value without a name, a file that cannot be read.
    """
    lines = [line.strip() for name in files for line in _text(name).splitlines()]
    words = [line for line in lines if line and not line.startswith("#")]
    found = (variable(word, environment) for word in (*words, *given))
    return dict(pair for pair in found if pair is not None)


def _text(name: str) -> str:
    try:
        return Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"--env-file {name}: {getattr(error, 'strerror', None) or error}") from error


def leading_assignments(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(`NAME=value` words before the command, as a shell has them and gen 1 had; the command). `--` ends the former."""
    for count, word in enumerate(words):
        if word == "--":
            return list(words[:count]), list(words[count + 1 :])
        if not _ASSIGNMENT.match(word):
            return list(words[:count]), list(words[count:])
    return list(words), []


def file(text: str) -> tuple[str, bytes]:
    """`src:dest`, a file here and its path there; a dest that ends with `/` keeps the name.

    Returns:
        (path in the container, content).

    Raises:
        BadRequest: no such file, or not of that shape.
    """
    source, _, target = text.rpartition(":")
    if not source or not target.startswith("/"):
        raise BadRequest(f"-f {text}: not SRC:DEST", hint="DEST is absolute; one that ends with / keeps the name")
    path = Path(source).expanduser()
    if target.endswith("/"):
        target = str(PurePosixPath(target) / path.name)
    try:
        return target, path.read_bytes()
    except OSError as error:
        raise BadRequest(f"-f {text}: {source}: {error.strerror}") from error


def mount(text: str) -> tuple[str, str]:
    """(key of a volume, path): `uuid:/path`, `tag:/path`, `uuid:tag:/path`.

    Raises:
        BadRequest: not of that shape.
    """
    key, _, path = text.rpartition(":")
    if not key or not path.startswith("/"):
        raise BadRequest(
            f"-m {text}: not VOLUME:/PATH", hint="VOLUME is an id, a tag or id:tag as tf volumes list prints them"
        )
    return key, path
