"""Runs beside other plugins that change how and when tests run."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import CONFTEST, Run
from tests.plugin.fake_sdk import World

pytestmark = pytest.mark.usefixtures("with_others")

QUIET = "-Wignore::DeprecationWarning"

MODULE = """
    import pytest
    @pytest.fixture(scope="module", autouse=True)
    def table(db):
        db.put("/module", "m")
        yield
        assert sorted(db.files) == ["/module"]
    def test_one(db):
        assert sorted(db.files) == ["/module"]
        db.put("/test", "t")
    class TestIt:
        @pytest.fixture(scope="class")
        def rows(self, db):
            db.put("/class", "c")
            yield
            assert sorted(db.files) == ["/class", "/module"]
        def test_two(self, db, rows):
            assert sorted(db.files) == ["/class", "/module"]
            db.put("/test", "t")
        test_three = test_two
    {last}
"""

LAST = """
    def test_last(db):
        assert not db.files
"""


@pytest.mark.parametrize("seed", range(3))
def test_in_random_order(run: Run, pytester: pytest.Pytester, seed: int) -> None:
    for name in ("a", "b"):
        pytester.makepyfile(**{f"test_{name}": MODULE.format(last="")})
    run(LAST, QUIET, f"--randomly-seed={seed}", conftest=CONFTEST).assert_outcomes(passed=7)


FLAKY = """
    tries = []
    def test_flaky(db):
        assert sorted(db.files) == ["/module"]
        db.put("/test", "t")
        tries.append(1)
        assert len(tries) == 3
"""


@pytest.mark.parametrize("last", [True, False])
def test_a_rerun_starts_from_the_baseline(run: Run, world: World, pytester: pytest.Pytester, last: bool) -> None:
    pytester.makepyfile(test_a=MODULE.format(last=FLAKY))
    result = run("" if last else LAST, QUIET, "--reruns=2", "-pno:randomly", conftest=CONFTEST)
    result.assert_outcomes(passed=4 if last else 5)
    assert result.parseoutcomes()["rerun"] == 2
    assert world.happened[-2:] == ["destroy db", "disconnect"]


def test_a_rerun_starts_from_the_baseline_though_its_module_seemed_to_end(run: Run, world: World) -> None:
    """No teardown looks at the container, so the rollback was left to the module's end; which then did not come."""
    module = """
    import pytest
    @pytest.fixture(scope="module", autouse=True)
    def table(db):
        db.put("/module", "m")
    """
    result = run(module + FLAKY, QUIET, "--reruns=2", "-pno:randomly", conftest=CONFTEST)
    result.assert_outcomes(passed=1)
    assert world.that("rollback") == ["rollback db s2", "rollback db s2", "rollback db s1"]


def test_a_fixture_that_is_set_up_by_a_rerun_only(run: Run, pytester: pytest.Pytester) -> None:
    """The rerun's own finalizers are lost: what was to happen at the module's end is made up for in the next one."""
    pytester.makepyfile(
        test_a="""
        import pytest
        tries = []
        @pytest.fixture(scope="session", autouse=True)
        def flaky(db):
            tries.append(1)
            assert len(tries) == 2
        @pytest.fixture(scope="module", autouse=True)
        def table(flaky, db):
            db.put("/module", "m")
        def test_one(db):
            assert sorted(db.files) == ["/module"]
            db.put("/test", "t")
        def test_two(db):
            assert sorted(db.files) == ["/module"]
            db.put("/test", "t")
        """
    )
    result = run(LAST, QUIET, "--reruns=1", "-pno:randomly", conftest=CONFTEST)
    result.assert_outcomes(passed=3)
    assert result.parseoutcomes()["rerun"] == 1


@pytest.mark.parametrize("loop_scope", ["function", "session"])
def test_asynchronous_tests_and_fixtures(run: Run, pytester: pytest.Pytester, loop_scope: str) -> None:
    pytester.makeini(f"[pytest]\nasyncio_mode = auto\nasyncio_default_test_loop_scope = {loop_scope}\n")
    pytester.makepyfile(
        test_a=f"""
        import asyncio, pytest, pytest_asyncio
        @pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
        async def table(db):
            db.put("/module", "m")
            yield
            await asyncio.sleep(0)
            assert sorted(db.files) == ["/module"]
        @pytest_asyncio.fixture(loop_scope={loop_scope!r})
        async def own(db):
            await asyncio.sleep(0)
            db.put("/own", "o")
        @pytest.mark.parametrize("n", range(2))
        async def test_it(db, own, n):
            await asyncio.sleep(0)
            assert sorted(db.files) == ["/module", "/own"]
            db.put("/test", "t")
        """
    )
    run(LAST, QUIET, "-pno:randomly", conftest=CONFTEST).assert_outcomes(passed=3)
