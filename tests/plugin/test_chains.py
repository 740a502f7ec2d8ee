"""`tf_chain` and `tf_readonly`."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Run
from tests.plugin.fake_sdk import World

CONFTEST = """
    import pytest
    from pytest_tf import container
    db = container("postgres")
    @pytest.fixture(scope="session")
    def told(db):
        db.tells_clean = True
        return db
"""

CHAIN = """
    import pytest
    @pytest.mark.tf_chain
    class TestChain:
        @pytest.fixture(scope="class", autouse=True)
        def rows(self, db):
            db.put("/class", "c")
        def test_b(self, db):
            assert sorted(db.files) == ["/class"]
            db.put("/b", "")
        def test_a(self, db):
            assert sorted(db.files) == ["/b", "/class"]
            {breaks}
            db.put("/a", "")
        def test_c(self, db):
            assert sorted(db.files) == ["/a", "/b", "/class"]
        def test_d(self): pass
    def test_after(db):
        assert not db.files
"""
QUIET = "-Wignore::DeprecationWarning"


def test_the_tests_of_a_chain_build_on_each_other(run: Run, world: World) -> None:
    run(CHAIN.format(breaks=""), QUIET, conftest=CONFTEST).assert_outcomes(passed=5)
    assert world.that("rollback") == ["rollback db s1", "rollback db s1"]


def test_after_the_first_failure_the_rest_are_expected_to_fail(run: Run) -> None:
    result = run(CHAIN.format(breaks="assert 0"), QUIET, "-rx", conftest=CONFTEST)
    result.assert_outcomes(passed=2, failed=1, xfailed=2)
    result.stdout.fnmatch_lines(["XFAIL *test_c*test_inner.py::TestChain::test_a failed, and this test builds on it"])


def test_a_skipped_test_breaks_no_chain(run: Run) -> None:
    run(CHAIN.format(breaks="db.put('/a', ''); pytest.skip('no')"), QUIET, conftest=CONFTEST).assert_outcomes(
        passed=4, skipped=1
    )


def test_shuffling_leaves_a_chain_in_order(run: Run, with_others: None) -> None:
    for seed in range(3):
        result = run(CHAIN.format(breaks=""), QUIET, f"--randomly-seed={seed}", conftest=CONFTEST)
        result.assert_outcomes(passed=5)


def test_a_chain_is_mended_by_a_test_that_passes_when_it_is_run_again(run: Run, with_others: None) -> None:
    result = run(
        CHAIN.format(breaks="assert db.log.count('again') or db.log.append('again')"),
        QUIET,
        "--reruns=1",
        "-pno:randomly",
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=5)


READONLY = """
    import pytest
    pytestmark = pytest.mark.tf_readonly
    @pytest.fixture(scope="module")
    def rows(told):
        told.put("/module", "m")
    @pytest.fixture
    def own(told):
        told.put("/own", "o")
    def test_reads(told, rows):
        told.fetch("/module")
    def test_writes(told, rows):
        told.put("/test", "t")
    def test_whose_fixture_writes(told, rows, own): pass
    def test_uses_none(): pass
    def test_reads_again(told, rows): pass
"""


@pytest.mark.parametrize("isolate", ["test", "module", "none"])
def test_a_test_that_must_not_write_fails_if_it_does(run: Run, isolate: str) -> None:
    conftest = CONFTEST.replace('"postgres"', f'"postgres", isolate="{isolate}"')
    result = run(READONLY, conftest=conftest)
    result.assert_outcomes(passed=5, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_writes*",
            "test_inner.py::test_writes is marked tf_readonly, but db was not clean after it: *",
            "*ERROR at teardown of test_whose_fixture_writes*",
        ]
    )


def test_the_markers_are_known(run: Run) -> None:
    result = run("", "--markers")
    result.stdout.fnmatch_lines(
        ["@pytest.mark.tf_chain: on a class: *", "@pytest.mark.tf_readonly: the test must leave *"]
    )
