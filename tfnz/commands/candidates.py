"""What could stand at a place of a command line: names of locations, containers, volumes, images, kept snapshots.

What a location has is asked of it, briefly; whatever goes wrong means no candidates: completion never fails and never waits
long.
"""

from __future__ import annotations

import argparse
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

FILES = ("FILE", "DIR")
"""What arguments are called that are files of this machine: argcomplete knows those."""

PATIENCE = 2.0
"""Seconds a location has to answer."""

Complete = Callable[..., list[str]]


def attach(parser: argparse.ArgumentParser) -> None:
    """Tell argcomplete what could stand where, by what the arguments are called in the help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                attach(below)
        elif action.metavar not in FILES and not action.choices:
            called = "LOCATION" if action.dest == "location" else str(action.metavar)
            action.completer = BY_METAVAR.get(called, nothing)  # type: ignore[attr-defined]


def nothing(**_: object) -> list[str]:
    """Anything could stand there."""
    return []


def locations(**_: object) -> list[str]:
    """Where this user can go."""
    from tfnz import accounts, local

    return [*accounts.known(), local.NAME]


def _asked(ask: Callable[[Any], Iterator[str]]) -> Complete:
    """A completer that asks the location which the line so far means."""

    def complete(parsed_args: argparse.Namespace | None = None, **_: object) -> list[str]:
        found: list[str] = []

        def work() -> None:
            with contextlib.suppress(Exception), _visit(parsed_args) as visit:
                found.extend(ask(visit))

        asking = threading.Thread(target=work, daemon=True)
        asking.start()
        asking.join(PATIENCE)
        return list(found)

    return complete


@contextlib.contextmanager
def _visit(parsed: argparse.Namespace | None) -> Iterator[Any]:
    from tfnz import local
    from tfnz.visiting import Visit

    name = local.location_or(getattr(parsed, "location", None))
    if name == local.NAME and local.running(local.run_directory(local.state_directory())) is None:
        raise LookupError("it does not run, and is not started for this")
    with Visit(name, getattr(parsed, "local", None), quiet=True) as visit:
        yield visit


def _containers(visit: Any) -> Iterator[str]:
    for one in visit.found():
        yield one.tag or one.uuid


def _inside(visit: Any) -> Iterator[str]:
    for name in _containers(visit):
        yield f"{name}:"


def _volumes(visit: Any) -> Iterator[str]:
    for volume in visit.volumes.values():
        yield volume.tag or volume.uuid


def _images(visit: Any) -> Iterator[str]:
    from tfnz.images import cached

    for image in cached.listed(visit):
        yield image.name.removesuffix(":latest")


def _kept(visit: Any) -> Iterator[str]:
    from tfnz.labels import FAILURE

    for kept in visit.kept():
        yield kept.labels.get(FAILURE) or kept.name or kept.id


BY_METAVAR: dict[str, Complete] = {
    "LOCATION": locations,
    "PREFIX": locations,
    "CONTAINER": _asked(_containers),
    "KEY": _asked(_volumes),
    "IMAGE": _asked(_images),
    "SOURCE": _asked(_images),
    "ID": _asked(_kept),
    "SRC": _asked(_inside),
    "DEST": _asked(_inside),
}
"""By an argument's name in the help."""
