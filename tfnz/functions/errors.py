"""What a call in a container raises here: the exception of there, as far as its type is known here."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from tfcore.errors import TfError
from tfnz.functions import values


class RemoteError(TfError):
    """A function in a container raised an exception that is not one of Python's own, or ended without an answer.

    Attributes:
        type_name: of the exception: `requests.exceptions.HTTPError`; "" if there was none.
        text: what it said.
        remote_traceback: as Python printed it there.
    """

    code = "remote-error"

    def __init__(self, message: str, *, type_name: str = "", text: str = "", remote_traceback: str = "") -> None:
        super().__init__(message)
        self.type_name = type_name
        self.text = text
        self.remote_traceback = remote_traceback


def raised_there(told: Mapping[str, Any]) -> Exception:
    """The exception a container tells of. Of Python's own exceptions one is made anew, by name and from data; any other is
    a `RemoteError`. The traceback of there is a note of either."""
    name, text, trace = (str(told.get(field, "")) for field in ("type", "text", "traceback"))
    error = _own(name, told.get("args")) or RemoteError(
        f"{name}: {text}" if text else name, type_name=name, text=text, remote_traceback=trace
    )
    if trace:
        error.add_note(f"in the container:\n{trace.rstrip()}")
    return error


def _own(name: str, packed: object) -> Exception | None:
    kind = getattr(builtins, name, None)
    if not isinstance(kind, type) or not issubclass(kind, Exception) or not isinstance(packed, str):
        return None
    try:
        return kind(*values.decode(packed))
    except Exception:  # noqa: BLE001 - arguments its constructor does not take
        return None
