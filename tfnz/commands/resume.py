"""`tf resume`: containers as a test has left them, or as somebody has kept them, running again to be looked into."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from tfcore.errors import NotFound, TfError
from tfnz.commands import options as common
from tfnz.commands.command import Command
from tfnz.commands.tables import say
from tfnz.labels import CONTAINER, FAILURE, TEST

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.kept import Kept
    from tfnz.location import Location

SHELL = "if command -v bash >/dev/null; then exec bash; else exec sh; fi"
SHELL_IN_PIPES = "if command -v bash >/dev/null; then exec bash -i; else exec sh -i; fi"
PAUSE = 0.5
"""Seconds between two looks at the logs."""


def _resume(options: argparse.Namespace) -> int:
    from tfnz.shell import attach

    with common.opened(options) as location:
        kept = find(location, options.id)
        inside = _chosen([called(one) for one in kept], options.container)
        say(_about(kept))
        containers = {called(one): location.resume(one) for one in kept}
        for name, container in containers.items():
            say(_introduced(name, container))
        if options.logs or options.wait:
            return _watch(containers, logs=options.logs)
        if options.command is None:
            say(f"a shell in {inside}; `exit` or Ctrl-D ends it, and these containers")
            tty = sys.stdin.isatty() and sys.stdout.isatty()
            return attach(containers[inside], SHELL if tty else SHELL_IN_PIPES, tty=tty)
        return attach(containers[inside], options.command)


def find(location: Location, key: str) -> list[Kept]:
    """All that was kept of one failed test, or one kept snapshot, by its name or id.

    Raises:
        NotFound: there is nothing of the kind; it names what there is.
    """
    present = location.kept()
    failure = [kept for kept in present if kept.labels.get(FAILURE) == key]
    try:
        return failure or [location.kept_snapshot(key)]
    except NotFound as missing:
        failures = dict.fromkeys(kept.labels[FAILURE] for kept in present if FAILURE in kept.labels)
        if failures:
            missing.hint = f"kept of failed tests: {', '.join(failures)}"
        raise


def called(kept: Kept) -> str:
    """What to call a container that comes from it."""
    return kept.labels.get(CONTAINER) or kept.name or kept.id


def _chosen(names: list[str], wish: str | None) -> str:
    if wish is not None and wish not in names:
        raise NotFound(f"there is no container {wish!r} in it; there is {', '.join(names)}")
    return wish or names[0]


def _about(kept: list[Kept]) -> str:
    first = kept[0]
    test = first.labels.get(TEST)
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(first.created))
    return f"as {'they were' if len(kept) > 1 else 'it was'} {f'after {test}' if test else 'kept'}, {when}"


def _introduced(name: str, container: Container) -> str:
    try:
        container.wait_until_ready()
    except TfError as error:
        return f"{name}: {error}"
    tunnels = [container.tunnel(port) for port in container.exposed_ports()]
    reached = [f"127.0.0.1:{int(tunnel.localport)} → port {tunnel.dest_port}" for tunnel in tunnels]
    return f"{name}: {', '.join(reached) or 'ready'}"


def _watch(containers: dict[str, Container], *, logs: bool) -> int:
    """Until somebody presses Ctrl-C, which `tf` turns into its exit code."""
    if not logs:
        say("Ctrl-C ends it, and these containers")
    marks = dict.fromkeys(containers, 0)
    while True:
        for name, container in containers.items() if logs else ():
            lines = container.logs(since=marks[name])
            marks[name] += len(lines)
            for line in lines:
                sys.stdout.write("".join(f"{name} | {text}" for text in line["log"].splitlines(keepends=True)))
        sys.stdout.flush()
        time.sleep(PAUSE)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="as a failed test's report prints it, or a kept snapshot's id or name")
    parser.add_argument("--container", metavar="NAME", help="where the shell or command runs (default: the first)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--run", dest="command", metavar="COMMAND", help="run this by /bin/sh instead of an interactive shell"
    )
    what.add_argument("--logs", action="store_true", help="print what all of them write, until Ctrl-C")
    what.add_argument("--wait", action="store_true", help="keep the tunnels open until Ctrl-C")


COMMAND = Command(
    name="resume",
    summary="boot what a failed test has left, or a kept snapshot, and look into it",
    description="""
Boots containers from kept snapshots, with tunnels to their exposed ports and a shell. They are copies: what is done
to them is gone when the command ends, and can be begun again.
""",
    run=_resume,
    arguments=_arguments,
    common=("where",),
    examples=(
        ("tf resume f-3kq9x", "the containers of a failed test: tunnels to all, a shell in the first"),
        ("tf resume f-3kq9x --container api", "the shell in another one"),
        ("tf resume f-3kq9x --run 'ls -l /tmp'", "a command instead of a shell"),
        ("tf resume seeded --logs", "what they write, until Ctrl-C"),
        ("tf resume seeded --wait", "only the tunnels, until Ctrl-C"),
    ),
    exits=(("any", "that of the shell or command"),),
    see_also=("tf-snapshots",),
)
