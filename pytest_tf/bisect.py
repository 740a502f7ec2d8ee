"""`--tf-bisect NODEID`: which test makes this one fail when nothing is rolled back in between, as where nobody isolates.

Takes the place of pytest's own loop over the tests, and of its verdict: see `search.Verdict` for the exit codes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_tf.replay import CannotReplay, Replay
from pytest_tf.search import Finding, Verdict, search
from pytest_tf.stash import OPTIONS
from tfcore.errors import TfError

NAME = "tf-bisect"
RUNNER = "tf-replay"
"""What the hooks are registered by."""

LINES = 15
"""Of a failure, the last ones; and of what changed, of each container."""


def prepare(config: pytest.Config) -> None:
    """Bisect instead of running the tests.

    Raises:
        pytest.UsageError: it cannot be done so.
    """
    options = config.stash[OPTIONS]
    if getattr(config.option, "numprocesses", None) or getattr(config.option, "tx", None):
        raise pytest.UsageError("--tf-bisect runs the tests in one process, one after the other: leave out -n")
    # The test runs alone, first, with all isolation; what its reports would say has no reader.
    config.stash[OPTIONS] = options._replace(isolate_all="test", logs="none", keep="none", leaks="none")
    config.pluginmanager.register(Bisection(options.bisect), NAME)


class Bisection:
    """The hooks of such a run."""

    def __init__(self, nodeid: str) -> None:
        self._nodeid = nodeid
        self._code = int(pytest.ExitCode.TESTS_FAILED)
        self._done = False

    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Instead of pytest's own, unless there was an error while collecting, or nothing is to be run."""
        if session.testsfailed or session.config.option.collectonly:
            return None
        terminal: Any = session.config.pluginmanager.get_plugin("terminalreporter")
        target = self._target(session)
        others = session.items[: session.items.index(target)]
        terminal.write_line(f"tf bisect: {len(others)} tests run before {target.nodeid}")
        replay = Replay(session, others, target, lambda line: terminal.write_line(f"  {line}"))
        session.config.pluginmanager.register(replay, RUNNER)
        self._done = True
        try:
            finding = search(replay)
        except CannotReplay as error:
            terminal.section("tf bisect")
            terminal.line(f"cannot go on: {error}")
            return True
        self._code = finding.verdict.value
        terminal.section("tf bisect")
        for line in told(finding, replay, target):
            terminal.line(line)
        return True

    def _target(self, session: pytest.Session) -> pytest.Item:
        for item in session.items:
            if item.nodeid == self._nodeid:
                return item
        like = difflib.get_close_matches(self._nodeid, [item.nodeid for item in session.items], n=3)
        hint = f"; did you mean {' or '.join(like)}?" if like else ""
        raise pytest.UsageError(f"--tf-bisect={self._nodeid}: there is no such test among those collected{hint}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """The verdict is the exit code, unless the run was ended."""
        if self._done and exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.TESTS_FAILED,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            session.exitstatus = self._code


def told(finding: Finding, replay: Replay, target: pytest.Item) -> Iterator[str]:
    """What came out, for people."""
    name = target.nodeid
    match finding.verdict:
        case Verdict.ALONE:
            yield f"{name} {finding.outcome.word} alone, with no other test before it"
        case Verdict.PASSES if not finding.number:
            yield f"{name} passes, and no test runs before it"
        case Verdict.PASSES:
            yield f"{name} passes after the others, one after the other: none of them makes it fail"
            if finding.why:
                yield f"(the others were not run: {finding.why})"
        case Verdict.IN_MEMORY:
            yield f"{name} fails after the others, but not when its containers are booted again from their disks of then:"
            yield "what makes it fail is in the memory of a process: one of a container's, or this one"
        case Verdict.IN_PYTHON:
            yield f"{name} fails after the others even with the containers as they were before all of them:"
            yield "what makes it fail is in this Python process: a module's state, a cache, a wide fixture"
        case Verdict.FOUND:
            yield from _culprit(finding, replay, name)
    if finding.outcome.how:
        yield "this is how it failed:" if finding.outcome.failed else "this is why:"
        yield from (f"    {line}" for line in finding.outcome.how.rstrip().splitlines()[-LINES:])


def _culprit(finding: Finding, replay: Replay, name: str) -> Iterator[str]:
    culprit = replay.others[finding.number - 1].nodeid
    yield f"{culprit} makes {name} fail"
    if finding.why:
        yield f"(after it, {finding.why})"
        return
    before, after = replay.states[finding.number - 1], replay.states[finding.number]
    for one, snapshot in after.snapshots.items():
        since = before.snapshots.get(one)
        if since is None:
            yield f"{one.name} was made for it"
        elif since != snapshot:
            yield from _changes(one, since, snapshot)
    if finding.enough:
        yield f"it is enough: pytest --tf-isolate=none '{culprit}' '{name}'"
    else:
        yield "it is not enough by itself: tests before it have a part in that"


def _changes(one: Any, since: str, to: str) -> Iterator[str]:
    try:
        difference = one.container.diff(since, to=to, most=LINES)
    except TfError as error:
        yield f"what it has changed in {one.name} cannot be told: {error}"
        return
    if difference.files:
        yield f"what it has changed in {one.name} ({difference.summary()}):"
    yield from (f"  {line}" for line in difference.lines(LINES))
