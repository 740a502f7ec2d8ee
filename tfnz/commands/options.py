"""Options that many commands have, under the same names everywhere, and the session they lead to."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

from tfnz.commands import exits

if TYPE_CHECKING:
    from tfnz.location import Location
    from tfnz.visiting import Visit

LocationT = TypeVar("LocationT", bound="Location")
Common = Literal["where", "json", "noise"]


WHERE = ("--location", "--loc")
ADDRESS = ("--local", "--loc_ip", "--local_broker")
VALUED = (*WHERE, *ADDRESS)
FLAGS = ("-q", "--quiet", "-v", "-vv", "--verbose")
"""What may stand before a command, too."""


def add_common(parser: argparse.ArgumentParser, wanted: tuple[Common, ...]) -> None:
    """Add those wanted."""
    if "where" in wanted:
        add_where(parser)
    if "json" in wanted:
        parser.add_argument(
            "--json", action="store_true", help="print JSON, for programs: times since the epoch, bytes"
        )
    if "noise" in wanted:
        add_noise(parser)


def add_where(parser: argparse.ArgumentParser) -> None:
    """Which location, and at which address. Both generations' names for it."""
    parser.add_argument(*WHERE, metavar="NAME", help="the location (default: the default one, else local)")
    parser.add_argument(
        *ADDRESS,
        metavar="ADDRESS",
        help="connect to this host[:port] instead of its own",
    )


def add_noise(parser: argparse.ArgumentParser) -> None:
    """How much is said on standard error."""
    noise = parser.add_mutually_exclusive_group()
    noise.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    noise.add_argument("-v", "--verbose", action="count", default=0, help="log what happens; -vv: every step")


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Location]:
    """A session at the location the options mean, for the length of a block.

    Raises:
        Stopped: it could not be opened; ends with `exits.CONNECT` unless the error has a code of its own.
    """
    from tfnz.location import Location

    with exits.otherwise(exits.CONNECT):
        location = connected(options, Location)
    with location:
        yield location


@contextmanager
def visited(options: argparse.Namespace) -> Iterator[Visit]:
    """As `opened`, a session that may look into the others of its account."""
    from tfnz.visiting import Visit

    with exits.otherwise(exits.CONNECT):
        visit = connected(options, Visit)
    with visit:
        yield visit


def connected(options: argparse.Namespace, kind: type[LocationT]) -> LocationT:
    """A session at the location the options mean; whoever calls ends it.

    Raises:
        TfError: as `Location`.
    """
    from tfnz.local import location_or

    verbose = getattr(options, "verbose", 0)
    return kind(
        location_or(options.location),
        options.local,
        quiet=not verbose,
        debug_log=verbose > 1 if verbose else None,
    )
