"""Wide fixtures that are asked for when narrower levels have begun: `tf_late_fixtures`."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Run
from tests.plugin.fake_sdk import World

CONFTEST = """
    import pytest
    from pytest_tf import container
    db = container("postgres")
    log = []
    @pytest.fixture(scope="session")
    def late(db):
        log.append("late")
        db.put("/late", "".join(sorted(db.files)))
"""

MODULE = """
    import pytest
    from conftest import log
    @pytest.fixture(scope="module", autouse=True)
    def table(db):
        log.append("table")
        db.put("/module", "m")
        yield
        log.append("no table")
        assert "/module" in db.files and "/test" not in db.files
    def test_one(db):
        db.put("/test", "t")
    def test_two(db, late):
        assert sorted(db.files) == ["/late", "/module"]
        db.put("/test", "t")
    def test_three(db, table):
        assert sorted(db.files) == ["/late", "/module"]
"""

NEXT = """
    from conftest import log
    def test_four(db):
        assert sorted(db.files) == ["/late"]
    def test_log():
        assert log == {log}
"""


def ini(pytester: pytest.Pytester, mode: str) -> None:
    pytester.makeini(f"[pytest]\ntf_late_fixtures = {mode}\n")


def test_the_late_one_goes_beneath_the_module_s(run: Run, world: World, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_a=MODULE)
    log = ["table", "no table", "late", "table", "no table"]
    run(NEXT.format(log=log), "-pno:cacheprovider", conftest=CONFTEST).assert_outcomes(passed=5)


def test_it_finds_nothing_of_the_narrower_ones(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_a=MODULE)
    run("def test_it(db, late):\n    assert db.fetch('/late') == b''", conftest=CONFTEST).assert_outcomes(passed=4)


def test_hoisted_it_is_there_from_the_first_use_of_its_container(run: Run, pytester: pytest.Pytester) -> None:
    ini(pytester, "hoist")
    pytester.makepyfile(
        test_a=MODULE.replace('db.put("/test", "t")\n    def test_two', 'assert "/late" in db.files\n    def test_two')
    )
    log = ["late", "table", "no table"]
    run(NEXT.format(log=log), "-pno:cacheprovider", conftest=CONFTEST).assert_outcomes(passed=5)


def test_hoisting_what_fails_is_told_by_those_who_ask(run: Run, pytester: pytest.Pytester) -> None:
    ini(pytester, "hoist")
    result = run(
        """
        import pytest
        @pytest.fixture(scope="session")
        def broken(db):
            raise RuntimeError("broken")
        def test_one(db): pass
        def test_two(broken): pass
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at setup of test_two*", "E * RuntimeError: broken"])


def test_as_an_error_it_is_named(run: Run, pytester: pytest.Pytester) -> None:
    ini(pytester, "error")
    pytester.makepyfile(test_a=MODULE.replace('["/late", "/module"]', '["/module"]'))
    result = run("def test_four(db, late):\n    assert sorted(db.files) == ['/late']", conftest=CONFTEST)
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at setup of test_two*", "late fixture late (session): it works on db, and is first asked for *"]
    )


@pytest.mark.parametrize("hidden", [False, True])
def test_as_an_error_inside_a_test(run: Run, pytester: pytest.Pytester, hidden: bool) -> None:
    ini(pytester, "error")
    result = run(
        f"""
        import pytest
        @pytest.fixture(scope="session")
        def hidden(request):
            return request.getfixturevalue("late")
        def test_one(db, request):
            request.getfixturevalue({"hidden" if hidden else "late"!r})
        def test_two(db):
            assert not db.files
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["late fixture late (session): it works on db, and is first asked for *"])


def test_a_fixture_that_touches_nothing_is_never_late(run: Run, pytester: pytest.Pytester) -> None:
    ini(pytester, "error")
    result = run(
        """
        import pytest
        @pytest.fixture(scope="session")
        def other(request, tmp_path_factory): pass
        def test_one(db): pass
        def test_two(db, other): pass
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=2)


def test_a_late_container_is_not_late_itself(run: Run, world: World, pytester: pytest.Pytester) -> None:
    """But one that connects to another may work on that as it boots."""
    pytester.makepyfile(test_a=MODULE)
    result = run(
        """
        def test_five(db, web): pass
        """,
        conftest=CONFTEST + '    web = container("nginx")\n',
    )
    result.assert_outcomes(passed=4)
    again = world.that("snapshot").count("snapshot web s1")
    assert again == 1


def test_a_container_that_connects_to_one_is_late_for_that_one(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture(scope="module")
        def table(db):
            db.put("/module", "m")
        def test_one(db, table): pass
        def test_two(db, cache, web, table):
            assert sorted(db.files) == ["/module"]
        """,
        conftest=CONFTEST + '    web = container("nginx", connects=[db])\n    cache = container("redis")\n',
    )
    result.assert_outcomes(passed=2)
    happened = world.that("spawn", "rollback")
    assert happened.index("rollback db s1") < happened.index("spawn web")


def test_all_that_a_narrower_fixture_worked_on_begins_anew(run: Run) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture(scope="module", autouse=True)
        def both(db, web):
            db.put("/module", "")
            assert "/module" not in web.files
            web.put("/module", "")
        def test_one(db): pass
        def test_two(late, web, db):
            assert (sorted(db.files), sorted(web.files)) == (["/late", "/module"], ["/module"])
        """,
        conftest=CONFTEST + '    web = container("nginx")\n',
    )
    result.assert_outcomes(passed=2)


def test_one_that_a_narrower_fixture_asks_for_at_run_time_goes_with_it(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_a="""
        import pytest
        @pytest.fixture(scope="module", autouse=True)
        def table(db, request):
            db.put("/module", "m")
            request.getfixturevalue("late")
            yield
            assert sorted(db.files) == ["/late", "/module"]
        @pytest.mark.parametrize("n", range(2))
        def test_it(db, n):
            assert sorted(db.files) == ["/late", "/module"]
            db.put("/test", "t")
        """
    )
    result = run(
        """
        def test_before(db):
            assert not db.files
        def test_after(db, late):
            assert sorted(db.files) == ["/late"]
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=4)


def test_a_teardown_that_fails_when_it_is_rebased_fails_the_test_that_asked(run: Run) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture(scope="module")
        def table(db):
            yield
            raise RuntimeError("cannot be torn down")
        def test_one(db, table): pass
        def test_two(db, late): pass
        def test_three(db): pass
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["teardown of table, which a wider fixture made necessary: *cannot be torn down*"])
