"""What a failed test has changed in its containers, and what tests have left in them."""

from __future__ import annotations

from pathlib import Path

import pytest

import pytest_tf.changes
from pytest_tf.figures import Figures
from pytest_tf.leaks import leaks, told
from pytest_tf.report import summary
from tests.plugin.conftest import Run
from tests.plugin.fake_sdk import FakeContainer, World
from tfcore.errors import DeadlineExceeded
from tfcore.wire.differences import Left

CONFTEST = 'from pytest_tf import container\ndb = container("postgres")\nweb = container("nginx")\n'

TEST = """
    import pytest
    from tfnz.difference import Connection
    @pytest.fixture(scope="session")
    def shop(db):
        db.put("/shop", "open")
    def test_it(db, web, shop):
        db.put("/shop", "closed!")
        db.put("/new", "12")
        db.running.append("sleep 9")
        db.connections = (Connection(True, 5432, web.ip, 4000), Connection(True, 5432, "10.9.9.9", 4001))
        db.log.append("hello\\n")
        assert False
"""


def test_a_failed_test_shows_what_it_has_changed(run: Run, world: World) -> None:
    result = run(TEST, conftest=CONFTEST)
    result.stdout.fnmatch_lines(
        [
            "*- tf db: log during this test (1 line) -*",
            "*- tf db: changed since snapshot (2 files, 9 B, 1 process) -*",
            "added *2 B  /new",
            "changed *4 B → 7 B  /shop",
            "process new *7  sleep 9",
            "connection to port 5432 from web:4000",
            "connection to port 5432 from 10.9.9.9:4001",
            "*- tf db: state -*",
            "*- tf web: state -*",
        ]
    )
    result.stdout.no_fnmatch_line("*tf web: changed*")
    asked = world.that("diff", "rollback")
    assert [what.split()[:2] for what in asked] == [
        ["diff", "db"],
        ["diff", "web"],
        ["rollback", "db"],
        ["rollback", "web"],
    ]


@pytest.mark.parametrize(
    "test",
    ["def test_it(db):\n    db.put('/a', 'b')", "import pytest\n@pytest.mark.xfail\ndef test_it(db):\n    assert 0"],
    ids=["passed", "expected to fail"],
)
def test_others_are_not_looked_at(run: Run, world: World, test: str) -> None:
    run(test, "--tf-logs=all", "--tf-keep=all", conftest=CONFTEST)
    assert world.that("diff") == []


def test_who_wants_no_logs_gets_no_changes(run: Run, world: World) -> None:
    run(TEST, "--tf-logs=none", conftest=CONFTEST)
    assert world.that("diff") == []


def test_a_failing_setup_shows_them_and_a_failing_teardown_comes_too_late(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture
        def early(db):
            db.put("/early", "x")
            raise RuntimeError("set-up")
        @pytest.fixture
        def late(db):
            yield
            db.put("/late", "x")
            raise RuntimeError("teardown")
        def test_one(db, early): pass
        def test_two(db, late): pass
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*tf db: changed since snapshot (1 file, 1 B)*", "added *1 B  /early"])
    assert len(world.that("diff")) == 1


def test_what_cannot_be_told_is_one_line(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.fail("diff db", DeadlineExceeded("no answer within 3 s"))
    result = run(TEST, conftest=CONFTEST)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*tf db: changed since snapshot (not known)*", "(it cannot be told: no answer within 3 s)", "*tf db: state*"]
    )


def test_one_deadline_is_for_all_containers(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytest_tf.changes, "SECONDS", 0.0)
    result = run(TEST, conftest=CONFTEST)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*tf db: changed since snapshot (not known)*", "(looking at the other*"])
    assert world.that("diff") == []


def test_they_are_kept_with_the_logs(run: Run, pytester: pytest.Pytester) -> None:
    run(TEST, "--tf-keep=failed", "--tf-logs=none", conftest=CONFTEST)
    directory = pytester.path / ".pytest_tf" / "test_inner.py-test_it"
    assert (directory / "db-call.changes").read_text().startswith("2 files, 9 B, 1 process\nadded ")
    assert not Path(directory / "web-call.changes").exists()


# --- leaks

LEAVES = """
    import pytest
    @pytest.mark.parametrize("n", range(3))
    def test_it(db, web, n):
        db.running += ["sleep 9"] * n
        if n == 1:
            web.running.append("worker --all")
    def test_other(web):
        web.put("/a", "b")
"""


def lines(result: pytest.RunResult) -> list[str]:
    return [line for line in result.stdout.lines if line.startswith("leaks: ")]


def test_the_summary_names_the_tests_that_left_processes(run: Run) -> None:
    assert lines(run(LEAVES, conftest=CONFTEST)) == [
        "leaks: test_inner.py::test_it[1] left 1 process in db (sleep 9)",
        "leaks: test_inner.py::test_it[1] left 1 process in web (worker --all)",
        "leaks: test_inner.py::test_it[2] left 2 processes in db (sleep 9 (2 times))",
    ]


def test_a_container_that_is_not_rolled_back_after_each_test_names_the_last_one(run: Run) -> None:
    conftest = CONFTEST.replace('container("postgres")', 'container("postgres", isolate="module")')
    (line,) = [line for line in lines(run(LEAVES, conftest=conftest)) if " in db " in line]
    assert line.startswith("leaks: the tests up to test_inner.py::test_other left 3 processes in db")


@pytest.mark.parametrize(
    ("wanted", "asked"), [("none", "nothing"), ("files", "files"), ("all", "all"), ("processes", "processes")]
)
def test_what_counts_is_an_option(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, wanted: str, asked: str
) -> None:
    looked: list[str] = []
    rollback = FakeContainer.rollback

    def noting(self: FakeContainer, snapshot: str = "", *, look_for: str = "") -> object:
        looked.append(look_for)
        return rollback(self, snapshot, look_for=look_for)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeContainer, "rollback", noting)
    pytester.makeini(f"[pytest]\ntf_leaks = {wanted}\n")
    result = run(LEAVES, conftest=CONFTEST)
    assert set(looked) == {asked}
    assert bool(lines(result)) == (wanted != "none")


def test_xdist_s_workers_tell_theirs() -> None:
    figures = Figures(locations=["local"], leaks=[("t", "db", "file", 2, "/tmp/a, /tmp/b")])
    both = Figures.from_dict(figures.as_dict())
    both.add(figures)
    assert list(summary(both, durations=0))[1:] == ["leaks: t left 2 files in db (/tmp/a, /tmp/b)"] * 2


def test_many_leaks_are_counted() -> None:
    many = [(f"t{n}", "db", "process", 1, "x") for n in range(25)]
    assert list(told(many))[-1] == "leaks: and 5 more"


def test_only_some_of_what_was_left_is_named() -> None:
    left = Left(processes=("a", "b" * 99, "c", "d"), more_processes=5, files=("/tmp/x",))

    class One:
        name, scope = "db", "function"

    assert list(leaks(left, One, "t")) == [  # type: ignore[arg-type]
        ("t", "db", "process", 9, f"a, {'b' * 60}, c, …"),
        ("t", "db", "file", 1, "/tmp/x"),
    ]
