"""Exit codes: one table for all commands. Numbers 3 to 7 mean what they meant to scripts written for 20ft."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tfcore.errors import (
    BadImage,
    ContainerDied,
    Exhausted,
    HostLacks,
    ImageNotFound,
    TfError,
    Unavailable,
    UnknownKey,
    VersionMismatch,
    WrongServerKey,
)

OK = 0
FAILED = 1
USAGE = 2
ENVIRONMENT = 3
RECORD_BUSY = 4
CONNECT = 5
NODE = 6
SPAWN = 7
RECORD = 9
INTERRUPTED = 130
PIPE = 141

MEANINGS = {
    OK: "done",
    FAILED: "failed; the message on standard error says what, why and what to do",
    USAGE: "wrong usage",
    ENVIRONMENT: "this machine lacks something that is needed; tf doctor says what",
    CONNECT: "the location could not be reached, or did not let us in",
    NODE: "the location has no node, or none with room",
    SPAWN: "the image cannot be had or used, or the container did not come up",
    INTERRUPTED: "interrupted by Ctrl-C; what was begun has been cleared away",
    PIPE: "whoever read the output has gone",
}

_BY_ERROR: tuple[tuple[type[TfError], int], ...] = (
    (HostLacks, ENVIRONMENT),
    (Unavailable, CONNECT),
    (UnknownKey, CONNECT),
    (WrongServerKey, CONNECT),
    (VersionMismatch, CONNECT),
    (Exhausted, NODE),
    (ImageNotFound, SPAWN),
    (BadImage, SPAWN),
    (ContainerDied, SPAWN),
)


class Stopped(Exception):
    """A command cannot go on; it ends with this code and this error's words."""

    def __init__(self, code: int, error: TfError) -> None:
        super().__init__(str(error))
        self.code = code


def code_of(error: TfError) -> int:
    """The exit code for an error."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), FAILED)


@contextmanager
def otherwise(code: int) -> Iterator[None]:
    """Errors inside this block that have no code of their own end the command with this one.

    Raises:
        Stopped: there was one.
    """
    try:
        yield
    except TfError as error:
        own = code_of(error)
        raise Stopped(code if own == FAILED else own, error) from error
