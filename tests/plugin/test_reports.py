"""What a run says: sections of failed tests, the summary, JUnit's properties, files that are kept."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pytest_tf.figures import Figures, quantile
from pytest_tf.report import seconds, size, summary
from tests.plugin.conftest import Run
from tfcore.errors import Unavailable

CONFTEST = 'from pytest_tf import container\ndb = container("postgres")\nweb = container("nginx")\n'

TEST = """
    def test_before(db):
        db.log.append("of the test before\\n")
    def test_it(db):
        db.log += ["LOG: hello\\n", "ERROR: no\\nHINT: try\\n"]
        assert False
"""


def test_a_failed_test_shows_what_its_containers_wrote_during_it_and_how_they_are(run: Run) -> None:
    result = run(TEST, conftest=CONFTEST)
    result.stdout.fnmatch_lines(
        [
            "*- tf db: log during this test (3 lines) -*",
            "LOG: hello",
            "ERROR: no",
            "HINT: try",
            "*- tf db: state -*",
            "ready, generation 2, 3 processes",
        ]
    )
    result.stdout.no_fnmatch_line("*of the test before*")
    result.stdout.no_fnmatch_line("booted")
    result.stdout.no_fnmatch_line("*tf web*")


def test_a_failing_teardown_shows_the_log_of_the_test_before_it(run: Run) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture
        def mine(db):
            yield
            raise RuntimeError("teardown")
        def test_it(db, mine):
            db.log.append("LOG: hello\\n")
        def test_more(db):
            pass
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*tf db: log during this test (1 line)*", "LOG: hello", "*tf db: state*"])


def test_long_logs_are_cut_at_the_front(run: Run) -> None:
    result = run(
        "def test_it(db):\n    db.log += [f'line {n}\\n' for n in range(100)]\n    assert 0", conftest=CONFTEST
    )
    result.stdout.fnmatch_lines(["*tf db: log during this test (last 60 of 100 lines)*", "line 40"])
    result.stdout.no_fnmatch_line("line 39")


@pytest.mark.parametrize(("logs", "in_failed", "in_passed"), [("failed", 1, 0), ("all", 1, 1), ("none", 0, 0)])
def test_whose_logs_are_shown_is_an_option(run: Run, logs: str, in_failed: int, in_passed: int) -> None:
    result = run(
        """
        def test_good(db):
            db.log.append('of the good')
        def test_bad(db):
            db.log.append('of the bad')
            assert 0
        """,
        f"--tf-logs={logs}",
        "-rA",
        conftest=CONFTEST,
    )
    text = [line for line in result.stdout.lines if line.startswith("of the")]
    assert (text.count("of the bad"), text.count("of the good")) == (in_failed, in_passed)


def test_a_skipped_or_expected_failure_needs_no_evidence(run: Run) -> None:
    result = run(
        "import pytest\ndef test_skip(db):\n    pytest.skip()\n@pytest.mark.xfail\ndef test_x(db):\n    assert 0",
        "-rA",
        conftest=CONFTEST,
    )
    result.assert_outcomes(skipped=1, xfailed=1)
    result.stdout.no_fnmatch_line("*tf db*")


def test_a_container_that_cannot_be_asked_does_not_hide_the_failure(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.plugin.fake_sdk import FakeContainer

    def refuse(*_: object, **__: object) -> None:
        raise Unavailable("the location is gone")

    monkeypatch.setattr(FakeContainer, "logs", refuse)
    monkeypatch.setattr(FakeContainer, "status", refuse)
    result = run("def test_it(db):\n    assert 0", conftest=CONFTEST)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["(its log cannot be had: the location is gone)", "not to be had: the location is gone"]
    )


def test_the_summary_counts_boots_baselines_and_rollbacks(run: Run) -> None:
    result = run("def test_a(db, web): pass\ndef test_b(db): pass", conftest=CONFTEST)
    result.stdout.fnmatch_lines(
        ["*= tf summary =*", "local: 2 containers (slowest boot *), 2 baselines, 3 rollbacks (created p50 * p95 *)"]
    )


def test_rollbacks_that_had_nothing_to_do_are_counted_first_and_take_no_time() -> None:
    rollbacks = [(0.03, "created", "db", "t"), (0.0004, "clean", "db", "t"), (0.0005, "clean", "web", "t")]
    mixed = Figures(locations=["local"], rollbacks=rollbacks)
    assert "3 rollbacks (2 clean, 1 created p50 30 ms p95 30 ms)" in next(summary(mixed, durations=0))
    clean = Figures(locations=["local"], rollbacks=rollbacks[1:])
    assert "2 rollbacks (clean)" in next(summary(clean, durations=0))


def test_the_summary_is_the_last_thing_said(run: Run) -> None:
    lines = [line for line in run("def test_a(db): pass", conftest=CONFTEST).stdout.lines if line]
    assert "tf summary" in lines[-3]
    assert "1 passed" in lines[-1]


def test_the_slowest_are_shown_on_request(run: Run) -> None:
    result = run("def test_a(db): pass\ndef test_b(db): pass", "--tf-durations=2", conftest=CONFTEST)
    lines = result.stdout.lines
    assert (
        len([line for line in lines if "  boot of db" in line or "  rollback of db (created) after test_inner" in line])
        == 2
    )


def test_junit_gets_the_rollbacks_as_properties(run: Run, pytester: pytest.Pytester) -> None:
    run("def test_a(db, web): pass\ndef test_b(): pass", "--junitxml=out.xml", conftest=CONFTEST)
    cases = ET.parse(pytester.path / "out.xml").iter("testcase")
    found = {case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")} for case in cases}
    assert found["test_a"]["tf.rolled_back"] == "db web"
    assert float(found["test_a"]["tf.rollback_ms"]) >= 0
    assert found["test_b"] == {}


def kept(pytester: pytest.Pytester) -> dict[str, str]:
    root = pytester.path / ".pytest_tf"
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_evidence_of_failed_tests_is_kept_on_request(run: Run, pytester: pytest.Pytester) -> None:
    result = run(TEST, "--tf-keep=failed", "--tf-logs=none", conftest=CONFTEST)
    directory = pytester.path / ".pytest_tf" / "test_inner.py-test_it"
    assert kept(pytester) == {
        ".gitignore": "# Written by pytest-tf.\n*\n",
        "test_inner.py-test_it/db-call.log": "LOG: hello\nERROR: no\nHINT: try\n",
        "test_inner.py-test_it/db-call.state": "ready, generation 2, 3 processes\n",
    }
    result.stdout.fnmatch_lines(["*- tf keep -*", str(directory), f"kept: tf resume f-*, {directory}"])


def test_evidence_of_all_tests_may_be_kept_and_earlier_runs_are_forgotten(run: Run, pytester: pytest.Pytester) -> None:
    run(TEST, "--tf-keep=all", conftest=CONFTEST)
    assert {name.partition("/")[0] for name in kept(pytester)} == {
        ".gitignore",
        "test_inner.py-test_before",
        "test_inner.py-test_it",
    }
    run(TEST, "--tf-keep=failed", conftest=CONFTEST)
    assert "test_inner.py-test_before" not in {name.partition("/")[0] for name in kept(pytester)}


def test_nothing_is_kept_otherwise(run: Run, pytester: pytest.Pytester) -> None:
    run(TEST, conftest=CONFTEST)
    assert not (pytester.path / ".pytest_tf").exists()


def test_a_directory_of_that_name_that_is_not_ours_is_left_alone(run: Run, pytester: pytest.Pytester) -> None:
    theirs = pytester.mkdir(".pytest_tf") / "mine"
    theirs.write_text("x")
    run(TEST, "--tf-keep=failed", conftest=CONFTEST)
    assert theirs.exists()


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, 0.0),
        ([3.0], 0.5, 3.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([5.0, 1.0, 3.0], 0.5, 3.0),
        ([1.0] * 19 + [9.0], 0.95, 1.0),
    ],
)
def test_quantiles(values: list[float], share: float, expected: float) -> None:
    assert quantile(values, share) == expected


def test_figures_survive_the_way_from_a_worker() -> None:
    sent = Figures(["local"], [(0.5, "db")], [(0.1, "cold", "db", "t")], [0.2], ["db"], kept=[Path("x").name]).as_dict()
    both = Figures()
    both.add(Figures.from_dict(sent))
    both.add(Figures.from_dict(sent))
    assert (both.locations, len(both.boots), len(both.rollbacks)) == (["local"], 2, 2)
    assert list(summary(both, durations=0))[1:] == ["built again from their baseline: db, db", "kept: x"]


def test_numbers_are_written_for_people() -> None:
    assert [seconds(value) for value in (2.345, 0.0414, 0.0067)] == ["2.3 s", "41 ms", "6.7 ms"]
    assert [size(value) for value in (20 << 30, 300 << 20)] == ["20.0 GiB", "300 MiB"]


def test_a_module_s_rollback_is_told_with_its_last_test(run: Run, pytester: pytest.Pytester) -> None:
    conftest = CONFTEST.replace('container("postgres")', 'container("postgres", isolate="module")')
    run("def test_a(db): pass\ndef test_b(db): pass", "--junitxml=out.xml", conftest=conftest)
    cases = ET.parse(pytester.path / "out.xml").iter("testcase")
    assert [len(list(case.iter("property"))) for case in cases] == [0, 2]
