"""One container misbehaves as badly as it can; another session spawns, rolls back and answers meanwhile.

No times are looked at here: `benchmarks/containment.py` does that. The culprit is named where the kernel counts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import PORT, SERVER, private_location, session_at
from tests.support.outside import generation_processes
from tests.support.tcp_clients import echoed
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")


@dataclass(frozen=True)
class Culprit:
    """What it does, by a perl program that says "there" when it is at it, and how one sees that it was held.

    Attributes:
        named: begins the sentence of its status that names it; "" if there is nothing to be named.
        limit: the controller without which it cannot be held.
    """

    program: str
    wish: dict[str, Any] = field(default_factory=dict)
    named: str = ""
    limit: str = ""


FORKS = "$| = 1; for (1 .. 8) { defined fork or last } "

CULPRITS = {
    "busy loop": Culprit(FORKS + 'print "there\\n"; 1 while 1', wish={"cpus": 0.5}, limit="cpu"),
    "fork bomb": Culprit(
        '$| = 1; while (1) { defined fork || last } print "there\\n"; while (1) { fork }',
        wish={"pids": 40}, named="too many processes", limit="pids",
    ),
    "memory eater": Culprit(
        '$| = 1; $n = 1 << 28; while (1) { if (!fork) { $x = "x" x $n; exit } wait; print "there\\n" }',
        wish={"memory": "48m"}, named="out of memory", limit="memory",
    ),
    "log flooder": Culprit(FORKS + '$l = "there" . "x" x 200 . "\\n"; print $l while 1'),
    "disk filler": Culprit(
        'open F, ">", "/filling"; $b = "x" x (1 << 20); for (1 .. 200) { print F $b or last } close F; $| = 1;'
        ' print "there\\n"; while (1) { open F, ">", "/again"; print F $b for 1 .. 50; close F }'
    ),
    "inode eater": Culprit(
        '$| = 1; mkdir "/many"; for (1 .. 6000) { open F, ">", "/many/$_" or last; close F }'
        ' print "there\\n"; sleep 1 while 1'
    ),
    "connection opener": Culprit(
        '$| = 1; for (1 .. 5000) { socket($s[$_], 2, 1, 0) || last; '
        'connect($s[$_], pack("S n C4 x8", 2, 1, 127, 0, 0, 1)) } print "there\\n"; '
        'while (1) { socket(S, 2, 1, 0); connect(S, pack("S n C4 x8", 2, 5555, 169, 254, 1, 1)) }'
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    """One kind of storage will do."""
    with private_location() as made:
        yield made


@pytest.fixture
def another(place: PrivateLocation) -> Iterator[Location]:
    """The session of whoever suffers."""
    with session_at(place) as session:
        yield session


def works(session: Location, image: str) -> None:
    """Everything a test suite does: a spawn, a connection, a snapshot, a change, a rollback, a command."""
    victim = session.node().spawn_container(image, command=["perl", "-e", SERVER], ready=ready.tcp(PORT))
    port = victim.wait_until_ready().attach_tunnel(PORT).localport
    assert echoed(port)
    victim.put("/precious", "as it was")
    victim.snapshot("base")
    for _ in range(2):
        victim.put("/precious", "changed")
        victim.rollback()
        assert victim.fetch("/precious") == b"as it was"
        assert echoed(port)
    assert victim.run_process("echo well").stdout == b"well\n"
    victim.destroy()


@pytest.mark.parametrize("name", CULPRITS)
def test_the_others_work(place: PrivateLocation, another: Location, tiny: str, name: str) -> None:
    culprit = CULPRITS[name]
    agent = place.node.agent
    with place.connect() as session:
        wish = {"command": ["perl", "-e", culprit.program], "ready": ready.log("there"), **culprit.wish}
        container = session.node().spawn_container(tiny, **wish).wait_until_ready()
        works(another, tiny)
        if culprit.named and not any(culprit.limit in note for note in container.startup_notes):
            until(lambda: _says(container, culprit.named), f"{culprit.named!r} in its status")
        assert len(generation_processes(container, container.status().generation)) > 0
        container.destroy()
    assert place.node.agent == agent
    works(another, tiny)


def _says(container: Container, words: str) -> bool:
    return any(trouble.startswith(words) for trouble in container.status().troubles)
