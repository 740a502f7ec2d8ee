"""Workers of pytest-xdist that boot their own containers: each has a session, and the controller tells what all cost.

The inner runs are processes, so that their conftest puts the location in memory in place.
"""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CONFTEST = f"""
    import sys
    sys.path.insert(0, {str(ROOT)!r})
    import pytest
    import pytest_tf.session
    from pytest_tf import container
    from tests.plugin.fake_sdk import World

    world = World()
    pytest_tf.session.connect = world.connect
    db = container("postgres")
"""


def run(pytester: pytest.Pytester, test: str, *arguments: str, conftest: str = CONFTEST) -> pytest.RunResult:
    pytester.makeconftest(conftest)
    pytester.makepyfile(test_inner=test)
    return pytester.runpytest_subprocess("-n", "2", "--tf-workers=own", "-p", "no:cacheprovider", *arguments)


def test_each_worker_has_its_own_containers_and_their_names_tell(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest
        @pytest.mark.parametrize("n", range(6))
        def test_it(db, worker_id, n):
            assert db.name == f"db-{worker_id}"
            assert not db.files
            db.put("/a", "1")
        """,
        "--dist=load",
    )
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["local: 2 containers (slowest boot *), 2 baselines, 6 rollbacks (created *)"])


@pytest.mark.parametrize("dist", ["load", "loadscope", "worksteal"])
def test_levels_lie_inside_one_another_in_each_worker(pytester: pytest.Pytester, dist: str) -> None:
    pytester.makepyfile(
        test_other="""
        import pytest
        @pytest.fixture(scope="module", autouse=True)
        def table(db):
            db.put("/module", "m")
            yield
            assert "/module" in db.files and "/test" not in db.files
        @pytest.mark.parametrize("n", range(4))
        def test_it(db, n):
            assert "/module" in db.files and "/test" not in db.files
            db.put("/test", "t")
        @pytest.mark.parametrize("n", range(4))
        def test_with(db, late, n):
            assert sorted(db.files) == ["/late", "/module"]
            db.put("/test", "t")
        """
    )
    late = '    @pytest.fixture(scope="session")\n    def late(db):\n        db.put("/late", "l")\n'
    test = """
        import pytest
        @pytest.mark.parametrize("n", range(4))
        def test_it(db, late, n):
            assert sorted(db.files) == ["/late"]
            db.put("/test", "t")
    """
    run(pytester, test, f"--dist={dist}", conftest=CONFTEST + late).assert_outcomes(passed=12)


def test_a_run_without_our_fixtures_has_no_summary(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_a(): pass\ndef test_b(): pass")
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*tf summary*")


def test_a_wrong_account_is_told_by_each_test_rather_than_by_a_crash(pytester: pytest.Pytester) -> None:
    conftest = (
        CONFTEST + '    from tfcore.errors import NotFound\n    world.refuses = NotFound("there is no account")\n'
    )
    result = run(pytester, "def test_a(db): pass\ndef test_b(db): pass", conftest=conftest)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["no location: there is no account"])
    result.stdout.no_fnmatch_line("*crashed*")


def test_a_failed_test_s_report_travels(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_a(db):\n    db.log.append('LOG: hello')\n    assert 0")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*tf db: log during this test (1 line)*", "LOG: hello"])


def test_a_worker_that_dies_takes_nobody_along(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import os, pytest
        @pytest.mark.parametrize("n", range(4))
        def test_it(db, n):
            if n == 1:
                os._exit(1)
            assert not db.files
            db.put("/a", "1")
        """,
    )
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*tf summary*"])
