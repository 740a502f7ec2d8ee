"""Every error pytest-tf raises, in one tree; what crosses the wire is `code`, never a class name.

    TfError                          anything we raise on purpose
    ├── BadRequest       (ValueError) the caller's input cannot be used: nothing was changed
    │   ├── BadImage                  an image reference or archive that cannot be used
    │   ├── BadTag                    a tag outside the grammar
    │   └── WrongState                the object exists, but this cannot be done to it now
    ├── NotFound         (ValueError) no such object, for this account
    │   └── ImageNotFound             neither cache nor local Docker knows the image
    ├── Refused          (ValueError) authenticated or not: you may not
    │   ├── UnknownKey                the location does not know this key pair, or has revoked it
    │   ├── WrongServerKey            the location's key is not the one pinned
    │   └── VersionMismatch           no protocol version in common
    ├── Exhausted        (ValueError) no node, memory, address or disk left
    │   └── QuotaExceeded             the account may not have more of it
    ├── Unavailable                   the location or a node cannot be reached
    │   └── SessionLost               the lease ended; everything of the session is gone
    ├── DeadlineExceeded (TimeoutError, ValueError) a wait ended; the message says what was last seen
    ├── ContainerDied    (ValueError) the container ended while it was needed; carries its last log lines
    ├── CommandFailed                 a program we ran failed; carries argv, status and its last words
    ├── StorageFailed                 a node's disk or kernel refused; trees and snapshots are as before
    ├── MountFailed         (OSError) a node's kernel refused a mount; carries its words and its number
    ├── HostLacks                     this machine lacks something; the message names it and the way out
    └── Internal                      a defect in pytest-tf; the message carries the request id

The seeds promise `ValueError` for remote failures of the SDK, so those are `ValueError`s as well (seed 001,
"They are blocking calls and may throw ValueError").
"""

from __future__ import annotations

from typing import ClassVar


class TfError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: for people: names the thing, the cause.
        hint: the way out, one sentence; empty if there is none.
        retryable: the same call may succeed later without any change by the caller.
        details: short facts for programs (strings only), e.g. {"image": "nginx"}.
    """

    code: ClassVar[str] = "error"

    def __init__(
        self, message: str, *, hint: str = "", retryable: bool = False, details: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retryable = retryable
        self.details = details or {}

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class BadRequest(TfError, ValueError):
    """The input cannot be used; nothing was changed."""

    code = "bad-request"


class BadImage(BadRequest):
    """The image reference, archive or layer cannot be used."""

    code = "bad-image"


class BadTag(BadRequest):
    """A tag outside the grammar (0-9 a-z - _ . and not shaped like an id)."""

    code = "bad-tag"


class WrongState(BadRequest):
    """The object exists but is in a state that forbids the call; the message names both states."""

    code = "wrong-state"


class NotFound(TfError, ValueError):
    """No such object for this account."""

    code = "not-found"


class ImageNotFound(NotFound):
    """Neither the location's cache nor the local Docker knows the image."""

    code = "image-not-found"


class Refused(TfError, ValueError):
    """The caller may not do this."""

    code = "refused"


class UnknownKey(Refused):
    """The location does not know this key pair, or has revoked it."""

    code = "unknown-key"


class WrongServerKey(Refused):
    """The location's public key is not the one pinned."""

    code = "wrong-server-key"


class VersionMismatch(Refused):
    """The two sides have no protocol version in common."""

    code = "version-mismatch"


class Exhausted(TfError, ValueError):
    """A resource is used up; the message carries the numbers."""

    code = "exhausted"


class QuotaExceeded(Exhausted):
    """The account's limit is reached; `details` has `quota` (its kind), `limit`, `used` and `asked` as numbers."""

    code = "quota-exceeded"


class Unavailable(TfError):
    """The location or a node cannot be reached."""

    code = "unavailable"


class SessionLost(Unavailable):
    """The session's lease ended and everything it owned is gone."""

    code = "session-lost"


class DeadlineExceeded(TfError, TimeoutError, ValueError):
    """A wait ended without its condition; the message says what was last seen."""

    code = "deadline-exceeded"


class ContainerDied(TfError, ValueError):
    """The container ended while it was needed."""

    code = "container-died"


class CommandFailed(TfError):
    """A program we ran failed; the message ends with the program's own last words."""

    code = "command-failed"


class StorageFailed(TfError):
    """The disk or the kernel refused; trees and snapshots are what they were before the call."""

    code = "storage-failed"


class MountFailed(TfError, OSError):
    """The kernel refused a mount; the message has its own words, `errno` its number."""

    code = "mount-failed"


class HostLacks(TfError):
    """This machine lacks something we need; the hint is the way out."""

    code = "host-lacks"


class Internal(TfError):
    """A defect in pytest-tf; the log under the request id in the message has the traceback."""

    code = "internal"


def _tree(cls: type[TfError]) -> dict[str, type[TfError]]:
    found = {cls.code: cls}
    for child in cls.__subclasses__():
        found |= _tree(child)
    return found


def error_for(code: str, message: str, *, hint: str = "", retryable: bool = False, details: dict[str, str]) -> TfError:
    """The typed error for a code from the wire; an unknown code becomes a `TfError` with the code in `details`."""
    cls = _tree(TfError).get(code)
    if cls is None:
        return TfError(message, hint=hint, retryable=retryable, details={**details, "code": code})
    return cls(message, hint=hint, retryable=retryable, details=details)
