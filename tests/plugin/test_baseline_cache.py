"""What a suite prepares once is there the next time, as long as what it depends on is the same."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Run
from tests.plugin.fake_sdk import World
from tfcore.errors import Exhausted

CONFTEST = """
    from pytest_tf import container
    SCHEMA = "tables"
    db = container("postgres", env={"A": "1"})

    @db.baseline
    def migrated(db):
        db.put("/schema", SCHEMA)
    """
TEST = "def test_it(db): assert db.fetch('/schema') == b'tables'"
VERBS = ("spawn", "keep", "snapshot")


def test_it_is_prepared_once_and_found_by_the_next_run(run: Run, world: World) -> None:
    first = run(TEST, conftest=CONFTEST)
    first.assert_outcomes(passed=1)
    first.stdout.fnmatch_lines(["prepared: db in *ms"])
    assert world.that(*VERBS) == ["spawn db", "keep db baseline-", "snapshot db s1"]
    world.happened.clear()
    second = run(TEST)
    second.assert_outcomes(passed=1)
    second.stdout.fnmatch_lines(["prepared: db by an earlier run"])
    assert world.that(*VERBS) == ["spawn db", "snapshot db s1"]
    assert next(iter(world.kept.values())).labels == {"baseline": "db"}


CHANGES = {
    "the image": ('"postgres"', '"postgres:2"'),
    "an argument": ('"1"', '"2"'),
    "the function": ('put("/schema"', 'put("/other"'),
    "what the function refers to": ('"tables"', '"more tables"'),
}


@pytest.mark.parametrize("what", CHANGES)
def test_it_is_prepared_again_if_that_is_another(run: Run, world: World, what: str) -> None:
    run("def test_it(db): pass", conftest=CONFTEST).assert_outcomes(passed=1)
    run("def test_it(db): pass", conftest=CONFTEST.replace(*CHANGES[what])).assert_outcomes(passed=1)
    assert len(world.that("keep")) == 2
    assert len(world.kept) == 2


def test_a_declared_input_counts(run: Run, world: World, pytester: pytest.Pytester) -> None:
    conftest = CONFTEST.replace("@db.baseline", "@db.baseline(inputs=['sql/*.sql', 'data'])")
    for path in ("sql/1.sql", "data/deep/rows.csv"):
        (pytester.path / path).parent.mkdir(parents=True)
        (pytester.path / path).write_text("one")
    run(TEST, conftest=conftest)
    run(TEST)
    assert len(world.that("keep")) == 1
    (pytester.path / "data/deep/rows.csv").write_text("two")
    run(TEST)
    (pytester.path / "sql/2.sql").write_text("")
    run(TEST)
    assert len(world.that("keep")) == 3


def test_an_input_that_is_not_there_is_a_mistake(run: Run, world: World) -> None:
    result = run(TEST, conftest=CONFTEST.replace("@db.baseline", "@db.baseline(inputs=['sql/*.sql'])"))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*inputs='sql/[*].sql'*: there is no such file in *"])
    assert world.that("spawn") == []


def test_prepare_is_the_same_as_an_argument_and_steps_follow_each_other(run: Run, world: World) -> None:
    conftest = """
        from pytest_tf import container
        def one(c): c.put("/a", "1")
        def two(c): c.put("/b", c.fetch("/a").decode() + "2")
        web = container("nginx", prepare=[one, two])
        other = container("nginx", prepare=one)
        """
    run(
        "def test_it(web, other):\n    assert web.fetch('/b') == b'12'\n    assert other.fetch('/a') == b'1'",
        conftest=conftest,
    ).assert_outcomes(passed=1)
    assert len(world.kept) == 2


@pytest.mark.parametrize(("flag", "prepared", "kept"), [("--tf-rebuild", 2, 2), ("--tf-no-cache", 2, 1)])
def test_it_may_be_prepared_in_any_case(run: Run, world: World, flag: str, prepared: int, kept: int) -> None:
    conftest = CONFTEST.replace('db.put("/schema", SCHEMA)', 'db.put("/schema", SCHEMA); db.world.happens("prepare")')
    run(TEST, conftest=conftest)
    run(TEST, flag).assert_outcomes(passed=1)
    assert (len(world.that("prepare")), len(world.that("keep"))) == (prepared, kept)


def test_what_fails_is_the_fixtures_failure_and_nothing_is_kept(run: Run, world: World) -> None:
    result = run(TEST, conftest=CONFTEST.replace('db.put("/schema", SCHEMA)', 'raise RuntimeError("no such table")'))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*def migrated(db):*", "*RuntimeError: no such table"])
    assert world.kept == {}
    assert world.that("destroy") == ["destroy db"]


def test_a_state_that_cannot_be_kept_is_used_and_a_warning_given(run: Run, world: World) -> None:
    world.fail("keep", Exhausted("the disk is full"))
    result = run(TEST, "-Wdefault", conftest=CONFTEST)
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*db is prepared, but that cannot be kept for the next run: the disk is full"])


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (
            "@db.baseline\ndef migrated(): pass",
            "*migrated* cannot prepare a container: give a function that takes*",
        ),
        (
            "@db.baseline\ndef migrated(db): yield",
            "*migrated* cannot prepare a container: give a function that takes*",
        ),
        ("db.baseline(inputs='a')(print)", "*inputs='a': give a list of glob patterns"),
        ("db.baseline(inputs=['/a'])(print)", "*inputs=*: give patterns relative to *"),
    ],
)
def test_a_mistake_names_the_factorys_line(run: Run, mistake: str, message: str) -> None:
    result = run("", conftest=f"from pytest_tf import container\ndb = container('postgres')\n{mistake}\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*conftest.py:*: {message}"])


VOLUME = CONFTEST.replace('env={"A": "1"}', 'volumes={"/data": "store"}').replace(
    "import container", "import container, volume\n    store = volume()"
)


def test_its_volumes_are_kept_with_it_and_the_fixtures_stand_for_the_new_ones(run: Run, world: World) -> None:
    for _ in range(2):
        run(TEST, conftest=VOLUME).assert_outcomes(passed=1)
    assert world.that("keep", "take") == ["keep db baseline-", "take over volume"]


def test_a_volume_that_others_have_is_theirs_to_fill_too(run: Run, world: World) -> None:
    conftest = VOLUME.replace(
        "db = container", 'web = container("nginx", volumes={"/data": "store"})\n    db = container'
    )
    for _ in range(2):
        run("def test_it(web, db): pass", conftest=conftest).assert_outcomes(passed=1)
    assert world.kept == {}
