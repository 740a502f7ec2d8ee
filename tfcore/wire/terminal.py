"""A terminal that a process is to have: how large it is and what it is called."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Side = Annotated[int, Meta(ge=1, le=32767)]
"""Characters in a line, or lines: as many as programs still believe."""


class Terminal(Struct, frozen=True, kw_only=True):
    """A process that has one has a single output; what it reads passes the line discipline, so that Ctrl-C is a signal.

    Attributes:
        columns, rows: its size in characters; may be changed later.
        term: what TERM says, unless the environment asked for says something else.
        echo: it shows what is typed, until a program changes that.
    """

    columns: Side = 80
    rows: Side = 24
    term: Annotated[str, Meta(pattern=r"\A[0-9A-Za-z][0-9A-Za-z+._-]{0,63}\Z")] = "xterm"
    echo: bool = True
