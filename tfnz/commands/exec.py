"""`tf exec`: a command in a container that runs, whichever session it belongs to."""

from __future__ import annotations

import argparse
import os
import sys

from tfnz.commands import options as common
from tfnz.commands.command import Command


def _exec(options: argparse.Namespace) -> int:
    from tfnz.shell import attach

    if not options.words:
        options.parser.error("say what to run, e.g. sh")
    with common.visited(options) as visit, open(os.devnull) as nothing:
        return attach(
            visit.container(options.container),
            options.words,
            env=environment(options.env),
            user=options.user,
            workdir=options.workdir,
            stdin=(sys.stdin if options.interactive else nothing).fileno(),
            tty=options.tty,
        )


def environment(given: list[str]) -> list[tuple[str, str]]:
    """`-e NAME=VALUE` as pairs; `-e NAME` takes the value from here, and nothing if there is none, as docker does."""
    pairs = []
    for one in given:
        name, equals, value = one.partition("=")
        if equals or name in os.environ:
            pairs.append((name, value if equals else os.environ[name]))
    return pairs


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER", help="its id or tag, or as much of the id as is only its own")
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run in it, and its arguments"
    )
    parser.add_argument("-i", "--interactive", action="store_true", help="hand it what comes on standard input")
    parser.add_argument(
        "-t", "--tty", action="store_true", help="give it this terminal: every key goes there; ^] three times leaves"
    )
    parser.add_argument(
        "-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="over its own; may be repeated"
    )
    parser.add_argument("-u", "--user", default="", help="as this user of the container, by name or number")
    parser.add_argument("-w", "--workdir", default="", metavar="DIRECTORY", help="in this directory of the container")


COMMAND = Command(
    name="exec",
    summary="run a command in a container that runs, of any session of yours",
    description="""
Runs a command in a container of your account, whichever session it belongs to: a test suite's while it is paused,
that of another terminal. The words after CONTAINER are the command, run without a shell; options for tf exec come
before CONTAINER. What it writes comes out here, on the same stream.
""",
    run=_exec,
    arguments=_arguments,
    common=("where",),
    examples=(
        ("tf exec db psql -U postgres -c 'select 1'", "by tag"),
        ("tf exec 4fGh sh -c 'ls /tmp | wc -l'", "by the beginning of the id"),
        ("tf exec -ti db bash", "a shell"),
        ("tf exec -i db psql -U postgres < dump.sql", "with standard input"),
    ),
    exits=(("any", "that of the command; 128 + N if signal N killed it"),),
    see_also=("tf-ps", "tf-cp", "tf-logs"),
)
