"""`tf doctor`: one finding after another about this machine's way to a location, each a sentence with its way out.

Imports what could be missing only when it looks for it.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfcore import VERSION
from tfcore.errors import TfError

if TYPE_CHECKING:
    from tfnz.location import Location
    from tfnz.node import Node

ROUNDS = 20
"""Requests sent to measure a round trip."""

LOCAL = "local"

LITTLE = 0.05
"""The share of a node's disk that must be free."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it is well, and what there is to say."""

    what: str
    ok: bool
    sentence: str


def examine(location: str | None, address: str | None = None) -> Iterator[Finding]:
    """Look at ourselves, libsodium, accounts, Docker and the location itself; never raises."""
    yield Finding("tf", True, f"version {VERSION}, Python {platform.python_version()}, {sys.prefix}")
    sodium = _sodium()
    yield sodium
    if not sodium.ok:
        return
    yield _accounts()
    yield _docker()
    name = location or _default()
    if name == LOCAL:
        yield from _node()
    yield from _reach(name, address)


def _sodium() -> Finding:
    try:
        import libnacl
    except OSError as error:
        return Finding("libsodium", False, f"{error} (on Debian and Ubuntu: apt-get install libsodium23)")
    return Finding("libsodium", True, f"version {libnacl.sodium_version_string().decode()}")


def _default() -> str:
    from tfnz import accounts

    return accounts.default_location() or LOCAL


def _accounts() -> Finding:
    from tfnz import accounts

    names = accounts.known()
    if not names:
        return Finding("accounts", True, f"none in {accounts.directory()}: the private location 'local' is used")
    loose = [name for name in names if _trouble(name)]
    if loose:
        return Finding("accounts", False, "; ".join(_trouble(name) for name in loose))
    return Finding("accounts", True, f"{', '.join(names)} in {accounts.directory()}")


def _trouble(name: str) -> str:
    from tfnz import accounts

    try:
        accounts.find(name)
    except TfError as error:
        return str(error)
    return ""


def _docker() -> Finding:
    from tfnz.images.docker_daemon import connect

    try:
        connect().close()
    except TfError as error:
        return Finding("docker", True, f"not used: {error.message} (only needed for images of the local Docker)")
    return Finding("docker", True, "the local daemon answers: its images can be uploaded")


def _node() -> Iterator[Finding]:
    """What the machine lacks for a node; the node's own command says it."""
    from tfnz import local

    root = local.state_directory() / "node"
    done = subprocess.run(
        [sys.executable, "-m", "tfnode.cli", "check", "--root", os.fspath(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout.strip().splitlines()
    for line in said[:-1]:
        if line.startswith("LACK"):
            yield Finding("machine", False, line[5:].strip())
    last = said[-1] if said else done.stderr.strip()
    yield Finding("machine", done.returncode == 0, last)


def _reach(name: str, address: str | None) -> Iterator[Finding]:
    from tfnz.location import Location

    begun = time.perf_counter()
    try:
        reached = Location(name, address, quiet=True)
    except TfError as error:
        yield Finding("location", False, str(error))
        return
    opened = time.perf_counter() - begun
    with reached:
        yield Finding(
            "location",
            True,
            f"{name}: session opened as {reached.account} in {opened * 1000:.0f} ms, "
            f"a round trip takes {_round_trip(reached) * 1000:.1f} ms",
        )
        yield from _nodes(reached)
        yield from _quotas(reached)


def _disk(node: Node) -> Iterator[Finding]:
    """Of nodes that will soon have none."""
    free, total = node.offer.disk, node.offer.disk_total
    if total and free < LITTLE * total:
        sentence = (
            f"{free / 2**30:.1f} GiB of disk left, {100 * free / total:.0f} %: tf snapshots gc, tf cache --remove"
        )
        yield Finding(node.name[:10], False, sentence)


def _round_trip(location: Location) -> float:
    """Seconds, the median."""
    from tfcore.wire.sessions import RenewLease

    def one() -> float:
        begun = time.perf_counter()
        location._call(RenewLease())
        return time.perf_counter() - begun

    return statistics.median(one() for _ in range(ROUNDS))


def _quotas(location: Location) -> Iterator[Finding]:
    """Of accounts that are limited."""
    from tfnz.quotas import quotas

    mine = quotas(location)
    if mine:
        full = [quota.kind for quota in mine if quota.used >= quota.limit]
        yield Finding("quotas", not full, ", ".join(map(str, mine)))


def _nodes(location: Location) -> Iterator[Finding]:
    nodes = location.nodes.values()
    alive = [node for node in nodes if node.alive]
    free = sum(node.offer.memory for node in alive) / 2**30
    yield Finding("nodes", bool(alive), f"{len(alive)} of {len(nodes)} alive, {free:.1f} GiB free" if nodes else "none")
    for node in alive:
        yield from _disk(node)
        for note in node.offer.notes:
            yield Finding(node.name[:10], True, note)
