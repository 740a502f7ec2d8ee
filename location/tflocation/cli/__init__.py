"""`tf-location`: make a location, serve it, admit accounts and nodes, look after it. Knows arguments and text, nothing else.

Each group of verbs is a file beside this one.
"""

from __future__ import annotations

import argparse
import sys

from tfcore.errors import TfError
from tflocation.cli import backups, doctor, draining, people, serving, status

EPILOG = """\
A location over TCP, from nothing:
  tf-location init --name lab.example.org --listen tcp://0.0.0.0:5555
  tf-location serve
  tf-location node add rack1         then, on that machine:  tf-node enrol INVITATION
  tf-location account add alice      then, as alice:         tf account accept INVITATION
"""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code: 0 done, 1 failed (the message says why), 2 wrong usage."""
    arguments = _parser().parse_args(argv)
    try:
        result: int = arguments.run_command(arguments)
    except TfError as error:
        print(f"tf-location: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tf-location",
        description="The master of a 20ft location: it admits clients and nodes, and brokers between them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (serving, people, status, draining, backups, doctor):
        group.add_to(commands)
    return parser
