"""The seeds' logging switches: the only place where this package configures logging, and only when told to."""

from __future__ import annotations

import logging

from tfcore.errors import BadRequest

FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-8s %(message)s"
"""As seed 001 shows it."""


def set_logging(*, quiet: bool | None, debug_log: bool | None) -> None:
    """Apply `quiet=` and `debug_log=`. Gen 1 (seed 001): debug_log=None leaves the user's logging alone, False is INFO, True
    is DEBUG. Gen 2 (seed 002): quiet=True leaves it alone, quiet=False is INFO, debug_log=True is DEBUG. Where nothing is
    said it is left alone, as in gen 1: a library has no business with it.

    Raises:
        BadRequest: both were given.
    """
    if quiet and debug_log:
        raise BadRequest("quiet and debug_log exclude each other")
    if quiet or (quiet is None and debug_log is None):
        return
    level = logging.DEBUG if debug_log else logging.INFO
    logging.basicConfig(level=level, format=FORMAT, datefmt="%m%d%H%M%S")
    for name in ("tfnz", "tfcore"):
        logging.getLogger(name).setLevel(level)
