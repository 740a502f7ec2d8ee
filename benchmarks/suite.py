"""What isolation costs a whole suite: tests that take no time themselves, in pytest processes as a user starts them.

The same tests run isolated (a rollback after each) and not isolated (`--tf-isolate=none`), in one process and with
pytest-xdist's `-n 2`, against a local location that runs already. What isolation adds to a test is the difference of two
whole runs over the number of rollbacks. Tests without any work of their own leave the node no time: it is the worst case.

Beside it the same tests with testcontainers, a fresh container for each and one for all of them. That takes so long that
there are only a few; what a fresh container adds to a test is, again, the difference of the two runs, over the number of
containers that the one had more than the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.ground.bench import Bench
from benchmarks.ground.services import NGINX
from benchmarks.measuring.report import OURS, Report
from benchmarks.measuring.rounds import Contestant, interleave
from benchmarks.peers import lives
from benchmarks.peers.engine import Engine
from benchmarks.suites.running import Suite, copied

TESTS = 500
TESTS_OF_PEER = 10
ROUNDS = 1
"""A run of 500 tests takes half a minute and is an average already."""

ADDS = "isolation adds to a test"
UNIT = "ms per test"


@dataclass(frozen=True)
class Pair:
    """The same tests, isolated and not.

    Attributes:
        what: in tables.
        more: how often something is done in the isolated run only.
    """

    what: str
    isolated: Suite
    shared: Suite
    more: int


def run(bench: Bench) -> Report:
    """Measure ours in one process and in two, then the peer."""
    report = Report("suite", "a suite of tiny tests, isolated from each other and not")
    with bench.location():
        added = {OURS: _rounds(report, bench, _ours(bench))[0]}
    if isinstance(bench.docker, str):
        report.remark(bench.docker)
        return report
    added[lives.TESTCONTAINERS] = _of_peer(report, bench, bench.docker)
    report.quotient(ADDS, lives.TESTCONTAINERS, OURS, added)
    return report


def _ours(bench: Bench) -> list[Pair]:
    """In one process, and in two."""
    place, tests = copied("ours", bench.directory / "suites"), bench.amount(TESTS, quick=20)
    environment = {"TF_BENCH_IMAGE": bench.image(NGINX.image)}

    def pair(what: str, *options: str) -> Pair:
        options = ("--tf-location=local", *options)
        isolated = Suite(OURS, place, tests, True, options, environment)
        shared = Suite("--tf-isolate=none", place, tests, False, (*options, "--tf-isolate=none"), environment)
        return Pair(f"{tests} tests, {what}", isolated, shared, tests)

    return [pair("one process"), pair("-n 2", "-n", "2")]


def _of_peer(report: Report, bench: Bench, engine: Engine) -> list[float]:
    """What a fresh container adds to a test, by round."""
    place, tests = copied("testcontainers", bench.directory / "suites"), bench.amount(TESTS_OF_PEER, quick=2)
    image = {"TF_BENCH_IMAGE": engine.images[NGINX.image]}

    def suite(who: str, scope: str) -> Suite:
        environment = {**image, "TF_BENCH_SCOPE": scope}
        return Suite(who, place, tests, scope == "function", ("-p", "no:tf"), environment)

    one, other = suite(lives.TESTCONTAINERS, "function"), suite("testcontainers, scope=session", "session")
    pair = Pair(f"{tests} tests, a fresh container each", one, other, tests - 1)
    with lives.testcontainers_settings(engine):
        return engine.inside(lambda: _rounds(report, bench, [pair]))[0]


def _rounds(report: Report, bench: Bench, pairs: Sequence[Pair]) -> list[list[float]]:
    """Run every suite once in each round, and note the figures; for each pair, what isolation adds to a test, by round."""
    suites = {f"{pair.what}: {suite.who}": suite for pair in pairs for suite in (pair.isolated, pair.shared)}
    contestants = [Contestant(who, suite.run) for who, suite in suites.items()]
    bench.progress.step(f"suite: {pairs[0].what}")
    replace(pairs[0].isolated, tests=2).run()  # compiles, unpacks the image, warms caches
    found = interleave("suite", contestants, rounds=bench.times(ROUNDS), progress=bench.progress, warm_up=0)
    return [_note(report, pair, found) for pair in pairs]


def _note(report: Report, pair: Pair, found: Mapping[str, Sequence[float]]) -> list[float]:
    seconds = {suite.who: found[f"{pair.what}: {suite.who}"] for suite in (pair.isolated, pair.shared)}
    for suite in (pair.isolated, pair.shared):
        each = [took * 1000 / suite.tests for took in seconds[suite.who]]
        report.row(pair.what, suite.who, each, unit=UNIT, note=suite.rollbacks)
    added = adds(seconds[pair.isolated.who], seconds[pair.shared.who], pair.more)
    report.row(pair.what, ADDS, added, unit=UNIT)
    report.quotient(pair.what, pair.isolated.who, pair.shared.who, seconds)
    return added


def adds(isolated: Sequence[float], shared: Sequence[float], more: int) -> list[float]:
    """Milliseconds that each of `more` isolations took, round by round, by the seconds of whole runs with and without."""
    return [(one - other) * 1000 / more for one, other in zip(isolated, shared, strict=True)]
