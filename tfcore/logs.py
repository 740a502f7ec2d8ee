"""How a daemon logs: readable lines on a terminal, one JSON object a line elsewhere; ids become fields.

Called by the daemons' command lines only: a library never configures logging. Ids are known by their shape
(`tfcore.ids`), so that no caller has to pass them twice.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Literal, TextIO

Style = Literal["auto", "text", "json"]

_ID = re.compile(r"\b([scvnrxp])-[0-9A-Za-z]{22}\b")
_CAUSE = re.compile(r"\bcause=(r-[0-9A-Za-z]{22})\b")
_FIELDS = {
    "s": "session",
    "c": "container",
    "v": "volume",
    "n": "node",
    "r": "request",
    "x": "snapshot",
    "p": "process",
}


class TextLines(logging.Formatter):
    """For people: local time, level, logger, message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Without what terminals obey, and in one line: whoever is quoted in it may mean harm."""
        return printable(super().formatMessage(record))


class JsonLines(logging.Formatter):
    """For programs: UTC time, level, logger, message, every id of the message under its kind, traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        message = record.getMessage()
        line: dict[str, str] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
            **ids_in(message),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        told = json.dumps(line, ensure_ascii=False)
        return told if told.isprintable() else json.dumps(line)


def printable(text: str) -> str:
    """The text with everything that is no letter, digit, sign or space written as `\\n`, `\\x1b` or `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def ids_in(message: str) -> dict[str, str]:
    """The ids in a log message by the name of their kind; of several of a kind, the first. `cause=` is a field of its own:
    the request in whose service another was asked."""
    found: dict[str, str] = {}
    cause = _CAUSE.search(message)
    for match in _ID.finditer(message):
        if cause is None or match.start() != cause.start(1):
            found.setdefault(_FIELDS[match[1]], match[0])
    return found if cause is None else found | {"cause": cause[1]}


def configure(*, level: int = logging.INFO, style: Style = "auto", stream: TextIO | None = None) -> None:
    """Send everything from `level` on to `stream` (stderr), replacing what was configured before.

    Args:
        style: `auto` is text on a terminal and JSON elsewhere.
    """
    target = stream or sys.stderr
    if style == "auto":
        style = "text" if target.isatty() else "json"
    handler = logging.StreamHandler(target)
    handler.setFormatter(TextLines() if style == "text" else JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
