"""Every test leaves the machine as it found it: this plugin compares before and after, and fails the test that did not.

Enabled by a conftest: `from tests.support.leaks import *`, or `-p tests.support.leaks`. A test that shares daemons with
others of its class, module or session says so, and the comparison is made around all of them:

    pytestmark = pytest.mark.leaks("module")

What takes a moment to go away (a killed process, a namespace the kernel takes down later) is waited for, GRACE seconds at
most. Things the whole machine shares are not compared in pytest-xdist's workers, who see each other's, but by the controller
around the whole run. Where others use the same machine meanwhile, TF_LEAKS=own leaves these things out altogether.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Literal

import pytest

from tests.support.leak_probes import Found, Probe, all_probes

__all__ = [
    "pytest_configure",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
    "pytest_sessionfinish",
    "pytest_sessionstart",
]

GRACE = 10.0
"""Seconds that what is left has to go away."""

LEFT_BEHIND = 6
"""Exit status of a run by several workers that left something behind: none of pytest's, since trying again is no cure."""

FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.05
"""Between two looks, in seconds; each pause is twice as long as the one before."""

Scope = Literal["function", "class", "module", "session"]
SCOPES: dict[str, type[pytest.Collector] | None] = {
    "function": None,
    "class": pytest.Class,
    "module": pytest.Module,
    "session": pytest.Session,
}
Snapshot = dict[str, Found]


class Leaks:
    """What was there before, by the test, class, module or session it was there before.

    Args:
        probes: what to compare.
    """

    def __init__(self, probes: Iterable[Probe]) -> None:
        self._probes = tuple(probes)
        self._before: dict[pytest.Item | pytest.Collector, Snapshot] = {}
        self._last: Snapshot | None = None

    def remember(self, node: pytest.Item | pytest.Collector) -> None:
        """From here on things are `node`'s, unless it is remembered already.

        Between two tests nothing of theirs runs: what was there after one is what was there before the next.
        """
        last, self._last = self._last, None
        if node not in self._before:
            self._before[node] = last or self._look()

    def left(self, lasting: Iterable[pytest.Item | pytest.Collector] = ()) -> str:
        """Compare for every node that has ended.

        Args:
            lasting: the nodes that go on.

        Returns:
            What is left and by whom; empty if nothing is.
        """
        go_on = set(lasting)
        ended = [node for node in self._before if node not in go_on]
        return "\n".join(words for node in ended if (words := self._left_by(node, self._before.pop(node))))

    def _look(self) -> Snapshot:
        self._last = {probe.kind: probe.look() for probe in self._probes}
        return self._last

    def _left_by(self, node: pytest.Item | pytest.Collector, before: Snapshot) -> str:
        left = _new(before, self._look())
        if left:
            gc.collect()  # what only waits for the collector is no leak
            left = self._waited(before)
        if not left:
            return ""
        return "\n  ".join([f"{node.nodeid or 'this run'} left behind (waited {GRACE:g} s for it to go away):", *left])

    def _waited(self, before: Snapshot) -> list[str]:
        deadline, pause = time.monotonic() + GRACE, FIRST_PAUSE
        while (left := _new(before, self._look())) and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return left


def _new(before: Snapshot, now: Snapshot) -> list[str]:
    return [
        f"{kind}: {words}" for kind, found in now.items() for key, words in found.items() if key not in before[kind]
    ]


@dataclass(frozen=True)
class _Guards:
    tests: Leaks
    run: Leaks | None


GUARDS = pytest.StashKey[_Guards]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "leaks(scope): look for what is left behind around a class, module or session instead of each test"
    )
    probes = all_probes()
    own = [probe for probe in probes if not probe.shared]
    shared = [probe for probe in probes if probe.shared] if os.environ.get("TF_LEAKS") != "own" else []
    in_worker = hasattr(config, "workerinput")
    controls = bool(config.getoption("numprocesses", None)) and not in_worker
    config.stash[GUARDS] = _Guards(
        tests=Leaks(own if in_worker else [*own, *shared]), run=Leaks(shared) if controls else None
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    if run := session.config.stash[GUARDS].run:
        run.remember(session)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    item.config.stash[GUARDS].tests.remember(_scope_of(item))
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    lasting = nextitem.listchain() if nextitem else ()
    leaks = item.config.stash[GUARDS].tests
    try:
        yield
    except BaseException as failed:
        if left := leaks.left(lasting):
            failed.add_note(left)
        raise
    if left := leaks.left(lasting):
        pytest.fail(left, pytrace=False)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """The controller's part: nobody's test can be blamed, so the run fails."""
    run = session.config.stash[GUARDS].run
    if run and (left := run.left()):
        session.config.get_terminal_writer().line(f"\n{left}", red=True)
        session.exitstatus = LEFT_BEHIND


def _scope_of(item: pytest.Item) -> pytest.Item | pytest.Collector:
    marker = item.get_closest_marker("leaks")
    scope = marker.args[0] if marker else "function"
    if scope not in SCOPES:
        raise pytest.UsageError(f"{item.nodeid}: leaks({scope!r}) is none of {', '.join(SCOPES)}")
    kind = SCOPES[scope]
    return (item.getparent(kind) if kind else None) or item
