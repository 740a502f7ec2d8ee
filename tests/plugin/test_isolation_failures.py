"""What becomes of the tests when a rollback fails, a container dies, a baseline cannot be had, or the run is broken off."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import CONFTEST, Run
from tests.plugin.fake_sdk import World
from tfcore.errors import ContainerDied


def test_a_failed_rollback_fails_the_test_s_teardown_and_the_next_test_has_a_new_container(
    run: Run, world: World
) -> None:
    world.fail("rollback db", ContainerDied("postgres ended: disk is full"))
    result = run(
        """
        def test_one(db):
            db.put("/a", "1")
        def test_two(db):
            assert not db.files
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_one*",
            "db could not be rolled back after test_inner.py::test_one: postgres ended: disk is full",
            "It was built again from its baseline for the next test.",
        ]
    )
    assert world.that("rebuild", "rollback") == ["rollback db s1", "rebuild db s1", "rollback db s1"]


def test_a_container_that_cannot_be_built_again_is_tried_again_before_the_next_test(run: Run, world: World) -> None:
    world.fail("rollback db", ContainerDied("it ended"))
    world.fail("rebuild db", ContainerDied("it ended at once"))
    result = run(
        """
        def test_one(db):
            db.put("/a", "1")
        def test_two(db):
            assert not db.files
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["It could not be built again either, the next test will try: it ended at once"])
    assert len(world.that("rebuild")) == 2


def test_a_container_that_died_between_tests_is_built_again(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        here = {}
        def test_one(db):
            here["db"] = db
        def test_idle():
            here["db"].die()
        def test_two(db):
            assert db.state == "ready"
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=3)
    assert world.that("rebuild") == ["rebuild db s1"]


def test_what_a_container_that_is_built_again_lacks_is_warned_of(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        def test_before(db): pass
        @pytest.fixture(scope="session")
        def late(db):
            db.put("/late", "l")
        @pytest.fixture(scope="session")
        def broken(db, late):
            db.die()
            raise RuntimeError
        def test_in_vain(broken): pass
        def test_after(db): pass
        """,
        "-Wdefault::pytest.PytestWarning",
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=2, errors=1, warnings=1)
    result.stdout.fnmatch_lines(["*PytestWarning: db is built again from its baseline, which lacks*"])


def test_a_test_without_a_baseline_does_not_run(run: Run, world: World) -> None:
    world.fail("snapshot db", ContainerDied("before_snapshot ended with status 1"))
    result = run(
        """
        def test_one(db):
            raise AssertionError("it ran")
        def test_two(db):
            pass
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["the baseline of db could not be taken: before_snapshot ended with status 1"])


def test_nor_does_it_go_unnoticed_if_it_uses_the_container_at_run_time(run: Run, world: World) -> None:
    world.fail("snapshot db", ContainerDied("it ended"))
    result = run(
        """
        import pytest
        @pytest.fixture(scope="module", autouse=True)
        def up(request):
            request.getfixturevalue("db")
        def test_other(web): pass
        def test_one(request, web):
            request.getfixturevalue("db")
        """,
        conftest=CONFTEST + '    web = container("nginx")\n',
    )
    result.assert_outcomes(errors=2)


def test_a_baseline_is_tried_again_unless_fixtures_have_worked_on_the_container_since(
    run: Run, world: World, pytester: pytest.Pytester
) -> None:
    world.fail("snapshot db", ContainerDied("it ended"))
    pytester.makepyfile(
        test_a="""
        import pytest
        @pytest.fixture(scope="module", autouse=True)
        def table(db):
            db.put("/table", "t")
        def test_one(db): pass
        def test_two(db): pass
        """
    )
    result = run("def test_three(db): pass", conftest=CONFTEST)
    result.assert_outcomes(passed=1, errors=2)


def test_what_befalls_a_container_a_test_does_not_use_is_none_of_its_business(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        here = {}
        @pytest.fixture(scope="session")
        def broken(db):
            db.die()
            raise RuntimeError
        def test_in_vain(broken): pass
        def test_other(web): pass
        """,
        conftest=CONFTEST + '    web = container("nginx")\n',
    )
    result.assert_outcomes(passed=1, errors=1)


def test_an_interrupted_run_ends_quickly_and_leaves_nothing(run: Run, world: World) -> None:
    result = run(
        """
        def test_one(db, web): pass
        def test_two(db, web):
            raise KeyboardInterrupt
        """,
        "--tf-isolate=module",
        conftest=CONFTEST
        + "    from pytest_tf import volume\n    data = volume()\n"
        + '    web = container("nginx", volumes={"/d": data})\n',
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert world.that("rollback", "destroy", "disconnect") == ["disconnect"]


@pytest.mark.parametrize("arguments", [("-x",), ("--maxfail=1",)])
def test_a_run_that_stops_at_the_first_failure_frees_everything(
    run: Run, world: World, arguments: tuple[str, ...]
) -> None:
    run("def test_one(db):\n    assert 0\ndef test_two(db): pass", *arguments, conftest=CONFTEST).assert_outcomes(
        failed=1
    )
    assert world.happened[-2:] == ["destroy db", "disconnect"]
