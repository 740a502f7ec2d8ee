"""The measuring parts of the benchmarks: rounds, figures, verdicts, what is written down and told."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from benchmarks.measuring import machine, report, table
from benchmarks.measuring.budgets import Bound, Budget
from benchmarks.measuring.figures import Summary, medians_by_round, pairwise, summarize
from benchmarks.measuring.progress import Progress
from benchmarks.measuring.report import OURS, Report
from benchmarks.measuring.rounds import Contestant, interleave, milliseconds, until

QUIET = Progress(lambda _: None)


class Clock:
    """Jumps when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# figures


def test_a_summary_knows_the_middle_and_the_ends_whatever_the_order() -> None:
    samples = [float(number) for number in range(1, 101)]
    random.Random(7).shuffle(samples)
    assert summarize(samples) == Summary(n=100, median=50.5, minimum=1, maximum=100, p95=95)


@pytest.mark.parametrize(("count", "p95"), [(1, 1), (2, 2), (19, 19), (20, 19), (21, 20)])
def test_the_95th_percentile_is_a_sample_that_was_seen(count: int, p95: float) -> None:
    assert summarize([float(number) for number in range(1, count + 1)]).p95 == p95


def test_nothing_cannot_be_summed_up() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        summarize([])


def test_quotients_are_those_of_the_same_round() -> None:
    slow_rounds_slow_both = pairwise([10, 100, 10], [1, 10, 2])
    assert slow_rounds_slow_both == [10, 10, 5]


def test_contestants_of_different_rounds_are_not_compared() -> None:
    with pytest.raises(ValueError, match="shorter"):
        pairwise([1.0, 2.0], [1.0])


def test_a_round_of_several_turns_counts_as_their_median() -> None:
    assert medians_by_round([1, 2, 9, 10, 20, 90], 2) == [2, 20]


@pytest.mark.parametrize("samples", [[1.0, 2.0, 3.0], []])
def test_samples_that_belong_to_no_round_are_not_compared(samples: list[float]) -> None:
    with pytest.raises(ValueError, match="2 rounds"):
        medians_by_round(samples, 2)


# rounds


def test_everybody_has_a_turn_in_each_round_and_the_first_changes() -> None:
    turns: list[str] = []

    def contestant(who: str) -> Contestant:
        return Contestant(who, lambda: turns.append(who) or float(len(turns)))

    found = interleave("it", [contestant(who) for who in "abc"], rounds=3, warm_up=1, progress=QUIET)
    assert "".join(turns) == "cababcbcacab"
    assert found == {"a": [4, 9, 11], "b": [5, 7, 12], "c": [6, 8, 10]}


def test_who_is_fast_has_several_turns_in_each_round_but_one_to_warm_up() -> None:
    turns: list[str] = []

    def contestant(who: str, number: int) -> Contestant:
        return Contestant(who, lambda: turns.append(who) or float(len(turns)), turns=number)

    found = interleave("it", [contestant("a", 3), contestant("b", 1)], rounds=2, warm_up=1, progress=QUIET)
    assert "".join(turns) == "baaaabbaaa"
    assert found == {"a": [3, 4, 5, 8, 9, 10], "b": [6, 7]}


def test_warming_up_is_not_counted() -> None:
    samples = iter([100.0, 50.0, 1.0, 2.0])
    found = interleave("it", [Contestant("a", lambda: next(samples))], rounds=2, warm_up=2, progress=QUIET)
    assert found == {"a": [1.0, 2.0]}


def test_time_is_measured_in_milliseconds() -> None:
    clock = Clock()

    def work() -> None:
        clock.now += 0.25

    assert milliseconds(work, clock=clock) == 250


def test_waiting_ends_with_the_first_success() -> None:
    answers = iter([False, False, True, False])
    until(lambda: next(answers), what="it")
    assert list(answers) == [False]


def test_waiting_has_an_end_and_names_what_it_waited_for() -> None:
    with pytest.raises(TimeoutError, match="nginx"):
        until(lambda: False, what="nginx", patience=-1)


# progress


def test_progress_tells_each_step_but_a_long_one_only_once_a_second() -> None:
    clock, lines = Clock(), []
    progress = Progress(lines.append, clock=clock)
    progress.step("first")
    for _ in range(25):
        clock.now += 0.1
        progress.during("going on")
    progress.step("second")
    assert [line.split(maxsplit=1)[1] for line in lines] == ["first", "going on", "going on", "second"]
    assert lines[0] == "   0.0s  first"


# what is reported

LIMIT = Budget("an answer", 5, "ms")
FACTOR = Budget("them over us", 10, "×", Bound.AT_LEAST)


@pytest.fixture
def filled() -> Report:
    filled = Report("answers", "how fast they come")
    found = {OURS: [4.0, 5.0, 6.0], "docker": [40.0, 60.0, 54.0]}
    ours = filled.row("nginx", OURS, found[OURS], note="created 3")
    filled.row("nginx", "docker", found["docker"])
    filled.verdict(LIMIT, ours.median)
    filled.verdict(FACTOR, filled.quotient("nginx", "docker", OURS, found).median, how="in one run")
    filled.remark("The moon was full.")
    return filled


@pytest.mark.parametrize(("budget", "measured", "met"), [(LIMIT, 5, True), (LIMIT, 5.1, False), (FACTOR, 9.9, False)])
def test_a_budget_is_met_on_one_side_of_its_limit(budget: Budget, measured: float, met: bool) -> None:
    assert budget.met_by(measured) is met


def test_a_report_becomes_a_file_with_its_circumstances(filled: Report, tmp_path: Path) -> None:
    path = report.write(filled.document({"date": "2026-01-01", "load_before": 0.1}), tmp_path / "results")
    document = json.loads(path.read_text())
    assert path.name == "answers.json"
    assert document["date"] == "2026-01-01"
    assert document["rows"][0] == {
        "what": "nginx",
        "who": OURS,
        "unit": "ms",
        "summary": {"n": 3, "median": 5.0, "minimum": 4.0, "maximum": 6.0, "p95": 6.0},
        "note": "created 3",
    }
    assert document["quotients"][0]["summary"]["median"] == 10
    assert [(entry["measured"], entry["met"]) for entry in document["budgets"]] == [(5, True), (10, True)]
    assert document["remarks"] == ["The moon was full."]


def test_whoever_had_more_turns_is_compared_by_its_median_of_each_round(filled: Report) -> None:
    found = {OURS: [1.0, 2.0, 9.0, 4.0, 4.0, 4.0], "docker": [20.0, 40.0]}
    assert filled.quotient("nginx", "docker", OURS, found, rounds=2).median == 10
    with pytest.raises(ValueError, match="longer"):
        filled.quotient("nginx", "docker", OURS, found)


def test_figures_are_written_with_the_digits_that_mean_something() -> None:
    assert [report.rounded(value) for value in (0.123456, 12.3456, 1234567.0, 12345)] == [0.1235, 12.35, 1235000, 12345]


def test_a_table_has_every_figure_and_verdict_in_it(filled: Report) -> None:
    filled.verdict(LIMIT, 7.25, how="on a bad day")
    lines = table.text_of(filled).splitlines()
    assert lines[0] == "answers: how fast they come"
    assert lines[2].split() == ["nginx", OURS, "5", "4", "6", "6", "3", "ms", "created", "3"]
    assert lines[4].split()[:5] == ["nginx", "docker", "/", OURS, "10"]
    assert "  budget kept: an answer: at most 5 ms; measured 5 ms" in lines
    assert "  budget NOT KEPT: an answer: at most 5 ms; measured 7.25 ms (on a bad day)" in lines
    assert lines[-1] == "  The moon was full."


def test_columns_of_a_table_stand_under_each_other() -> None:
    assert list(table.aligned([("a", "1"), ("long", "100")], left=[0])) == ["  a       1", "  long  100"]


# the machine


def test_the_processor_is_named_as_the_kernel_names_it() -> None:
    assert machine.processor("processor\t: 0\nmodel name\t: Fast One\nflags\t: x\nmodel name\t: Other\n") == "Fast One"


def test_the_facts_tell_nothing_of_whose_machine_it_is() -> None:
    facts = machine.facts(file_system="ext4")
    assert set(facts) == {"processor", "cores", "memory_gib", "kernel", "system", "python", "file_system", "programs"}
    said = json.dumps(facts)
    assert Path("/proc/sys/kernel/hostname").read_text().strip() not in said.split('"')
    assert str(Path.home()) not in said


def test_a_version_is_read_from_whichever_stream_a_program_uses() -> None:
    assert machine.version(("sh", "-c", "echo OpenThing_9.2p1, Other 1.2 >&2")) == "9.2p1"
    assert machine.version(("true",)) == "unknown"
