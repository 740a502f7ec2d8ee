"""What all verbs of `tf-location` have in common: their `--dir`, the store behind it, and the daemon that may run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import closing

    from tflocation.directory import Directory
    from tflocation.store.database import Database

Verb = Callable[[argparse.Namespace], int]


def verb(commands: Any, name: str, function: Verb, summary: str) -> argparse.ArgumentParser:
    """A parser for one verb; `function` runs it and returns the exit status."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=function.__doc__)
    parser.add_argument("--dir", type=Path, help="the location's directory (default: /var/lib/tf-location for root)")
    parser.set_defaults(run_command=function)
    return parser


def asks_the_daemon(parser: argparse.ArgumentParser) -> None:
    """The verb talks to the daemon, whose sockets may be elsewhere."""
    parser.add_argument("--run", type=Path, help="directory of the daemon's sockets (default: DIR/run)")


def directory_of(arguments: argparse.Namespace) -> Directory:
    """The location's directory."""
    from tflocation.directory import Directory, default_directory

    return Directory((arguments.dir or default_directory()).absolute())


def run_of(arguments: argparse.Namespace, directory: Directory) -> Path:
    """Where the daemon's sockets are."""
    run: Path = (arguments.run or directory.run).absolute()
    return run


def store_of(directory: Directory) -> closing[Database]:
    """The location's store, closed with the block.

    Raises:
        NotFound: there is no location.
        Refused: its files are open to others.
    """
    from contextlib import closing

    from tflocation.store.database import Database

    directory.server_keys()  # says so if there is no location
    return closing(Database(directory.store))


def status_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the running daemon reports.

    Raises:
        NotFound: there is no location.
        Unavailable: its daemon does not run, or does not answer.
    """
    from tflocation.operator import ask_status

    directory = directory_of(arguments)
    report: dict[str, Any] = json.loads(ask_status(directory, run_of(arguments, directory)))
    return report
