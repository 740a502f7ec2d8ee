"""`tf-location drain` and `undrain`: let a node, or the whole location, take nothing new on."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from tflocation.cli.asking import asks_the_daemon, directory_of, status_of, store_of, verb

EVERY = 1.0
"""Seconds between two looks at what is left."""


def add_to(commands: Any) -> None:
    """Both verbs' arguments."""
    drain = verb(commands, "drain", _drain, "take nothing new on: no containers on a node, or no sessions at all")
    drain.add_argument("--wait", action="store_true", help="until nothing is left")
    drain.add_argument("--timeout", type=float, help="seconds to wait at most; exit status 1 if something is left then")
    asks_the_daemon(drain)
    undrain = verb(commands, "undrain", _undrain, "take new things on again")
    for parser in (drain, undrain):
        parser.add_argument("node", nargs="?", help="name of a node (default: the whole location)")


def _drain(arguments: argparse.Namespace) -> int:
    """No new containers and volumes on NODE, or no new sessions of the location. What is there goes on; it is said."""
    from tflocation.drains import Drains

    with store_of(directory_of(arguments)) as database:
        Drains(database).begin(_node(database, arguments.node))
    print(f"{_named(arguments)} takes nothing new on")
    left = _left(status_of(arguments), arguments.node)
    print(_sentence(arguments, left))
    if arguments.wait:
        left = _wait(lambda: _left(status_of(arguments), arguments.node), arguments.timeout)
        print(_sentence(arguments, left))
        return 1 if left else 0
    return 0


def _undrain(arguments: argparse.Namespace) -> int:
    """NODE, or the location, takes new things on again."""
    from tflocation.drains import Drains

    with store_of(directory_of(arguments)) as database:
        Drains(database).end(_node(database, arguments.node))
    print(f"{_named(arguments)} takes new things on again")
    return 0


def _named(arguments: argparse.Namespace) -> str:
    return f"node {arguments.node}" if arguments.node else "the location"


def _node(database: Any, name: str | None) -> str:
    """The id of a node, or what stands for the location."""
    from tfcore.errors import NotFound
    from tflocation.auth.accounts import Accounts
    from tflocation.drains import EVERYTHING

    if name is None:
        return EVERYTHING
    for node in Accounts(database).living("node"):
        if node.name == name:
            return node.id
    raise NotFound(f"there is no node called {name}", hint="see them all: tf-location node list")


def _left(report: dict[str, Any], node: str | None) -> list[str]:
    """One line for each session or container that has not ended."""
    if node is None:
        return [f"session {s['id']} of {s['account']}: {s['containers']} containers" for s in report["sessions"]]
    here = {entry["id"] for entry in report["nodes"] if entry["name"] == node}
    mine = [c for c in report["containers"] if c["node"] in here]
    return [f"container {c['id']} of {c['account']}: {c['image']}" for c in mine]


def _sentence(arguments: argparse.Namespace, left: list[str]) -> str:
    if not left:
        stays = "; persistent volumes and kept snapshots stay on its disk" if arguments.node else ""
        return f"nothing is left of {_named(arguments)}{stays}"
    return "\n".join([f"{len(left)} left:", *(f"  {line}" for line in left)])


def _wait(look: Callable[[], list[str]], timeout: float | None) -> list[str]:
    deadline = None if timeout is None else time.monotonic() + timeout
    while left := look():
        if deadline is not None and time.monotonic() >= deadline:
            break
        time.sleep(EVERY)
    return left
