"""The seeds' logging switches: the only place where this package configures logging, and only when told to."""

from __future__ import annotations

import logging

from tfcore.errors import BadRequest

FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-8s %(message)s"
"""As seed 001 shows it."""


def set_logging(*, quiet: bool, debug_log: bool | None) -> None:
    """Apply `quiet=` and `debug_log=`: None leaves the user's logging alone, False is INFO, True is DEBUG.

    Raises:
        BadRequest: both were given.
    """
    if quiet and debug_log:
        raise BadRequest("quiet and debug_log exclude each other")
    if quiet or debug_log is None:
        return
    level = logging.DEBUG if debug_log else logging.INFO
    logging.basicConfig(level=level, format=FORMAT, datefmt="%m%d%H%M%S")
    for name in ("tfnz", "tfcore"):
        logging.getLogger(name).setLevel(level)
