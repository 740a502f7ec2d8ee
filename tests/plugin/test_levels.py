"""Levels inside one another, and what they cost: seen from test files as users write them."""

from __future__ import annotations

from textwrap import dedent

import pytest

from tests.plugin.conftest import CONFTEST, Run
from tests.plugin.fake_sdk import World
from tfcore.errors import ContainerDied, WrongState

NESTED = """
    import pytest
    @pytest.fixture(scope="module", autouse=True)
    def table(db):
        db.put("/module", "m")
        {module}
    class TestIt:
        @pytest.fixture(scope="class", autouse=True)
        def rows(self, db, table):
            db.put("/class", "c")
            {group}
        def test_one(self, db):
            assert sorted(db.files) == ["/class", "/module"]
            db.files.clear()
        test_two = test_one
    def test_three(db):
        assert sorted(db.files) == ["/module"]
"""


def test_what_a_scope_s_fixtures_did_ends_with_the_scope(run: Run, world: World, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_a=NESTED.format(module="", group=""))
    result = run("def test_four(db):\n    assert not db.files", "-Wignore::DeprecationWarning", conftest=CONFTEST)
    result.assert_outcomes(passed=4)
    assert world.that("snapshot", "rollback", "drop") == [
        "snapshot db s1",  # before the module's fixtures
        "snapshot db s2",  # before the class's
        "snapshot db s3",  # before the tests
        "rollback db s3",  # after the first; the second one's work goes with the class's
        "rollback db s2",
        "drop db s3",
        "rollback db s1",  # the last one's with the module's
        "drop db s2",
        "rollback db s1",  # test_four
    ]


def test_teardowns_that_look_cost_a_rollback_of_their_own(run: Run, world: World, pytester: pytest.Pytester) -> None:
    looks = "yield\n        assert sorted(db.files) == {!r}"
    module, group = looks.format(["/module"]), looks.format(["/class", "/module"]).replace("\n", "\n    ")
    pytester.makepyfile(test_a=NESTED.format(module=module, group=group))
    result = run("def test_four(db):\n    assert not db.files", "-Wignore::DeprecationWarning", conftest=CONFTEST)
    result.assert_outcomes(passed=4)
    assert world.that("rollback") == [f"rollback db {name}" for name in ("s3", "s3", "s2", "s2", "s1", "s1")]


def test_nothing_is_stored_or_rolled_back_where_nothing_happened(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        def test_both(db, web): pass
        @pytest.fixture(scope="module")
        def other(): pass
        class TestIt:
            def test_one(self, tmp_path, other): pass
            def test_two(self, web): pass
        def test_three(db): pass
        """,
        conftest=CONFTEST + '    web = container("nginx")\n',
    )
    result.assert_outcomes(passed=4)
    assert sorted(world.that("snapshot")) == ["snapshot db s1", "snapshot web s1"]
    assert world.that("rollback")[2:] == ["rollback web s1", "rollback db s1"]


def test_packages_lie_inside_one_another(run: Run, world: World, pytester: pytest.Pytester) -> None:
    fixture = """
        import pytest
        @pytest.fixture(scope="package", autouse=True)
        def {name}(db):
            db.put("/{name}", "p")
            yield
            assert sorted(db.files) == {seen}
    """
    for path, name, seen in (
        ("outer", "outer", ["/outer"]),
        ("outer/inner", "inner", ["/inner", "/outer"]),
    ):
        directory = pytester.path / path
        directory.mkdir()
        (directory / "__init__.py").touch()
        (directory / "conftest.py").write_text(dedent(fixture.format(name=name, seen=seen)))
        for module in "az":
            test = f"def test_it(db):\n    assert sorted(db.files) == {seen}\n    db.put('/test', 't')\n"
            (directory / f"test_{module}_{name}.py").write_text(test)
    result = run("def test_last(db):\n    assert not db.files", conftest=CONFTEST)
    result.assert_outcomes(passed=5)


@pytest.mark.parametrize(
    ("isolate", "seen"),
    [
        ("test", [0, 0, 0, 0, 0]),
        ("class", [0, 1, 0, 0, 0]),
        ("module", [0, 1, 2, 0, 0]),
        ("package", [0, 1, 2, 3, 0]),
        ("session", [0, 1, 2, 3, 4]),
        ("none", [0, 1, 2, 3, 4]),
    ],
)
def test_isolate_names_the_finest_level(run: Run, pytester: pytest.Pytester, isolate: str, seen: list[int]) -> None:
    package = pytester.mkpydir("package")
    numbers = iter(seen)
    test = "def test_{0}({1}db):\n    assert len(db.files) == {2}\n    db.put('/{0}', '')\n"
    group = "class TestIt:\n" + "".join(
        "    " + test.format(name, "self, ", next(numbers)).replace("\n    ", "\n        ") for name in "ab"
    )
    (package / "test_1.py").write_text(group + test.format("c", "", next(numbers)))
    (package / "test_2.py").write_text(test.format("d", "", next(numbers)))
    result = run(
        test.format("e", "", next(numbers)),
        "package",
        "test_inner.py",
        conftest=f'from pytest_tf import container\ndb = container("postgres", isolate={isolate!r})\n',
    )
    result.assert_outcomes(passed=5)


def test_containers_of_narrower_factories(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        from pytest_tf import container
        def scope(fixture_name, config):
            return "class"
        web = container("nginx", scope="module", connects=["db"])
        job = container("busybox", scope=scope, connects=["db", "web"])
        @pytest.fixture(scope="module")
        def page(web):
            web.put("/page", "p")
        class TestIt:
            @pytest.mark.parametrize("n", range(2))
            def test_it(self, db, web, job, page, n):
                assert (sorted(web.files), *db.files, *job.files) == (["/page"],)
                for one in (db, web, job):
                    one.put("/test", "t")
        def test_other(db, web):
            assert sorted(web.files) == ["/page"] and not db.files
            web.put("/test", "t")
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=3)
    assert world.that("destroy") == ["destroy job", "destroy web", "destroy db"]


PHASES = {
    "setup": ("raise RuntimeError", "pass"),
    "call": ("yield", "assert 0"),
    "teardown": ("yield; assert 0", "pass"),
    "skip in setup": ("pytest.skip('no')", "pass"),
    "skip in call": ("yield", "pytest.skip('no')"),
    "xfail in call": ("yield", "pytest.xfail('no')"),
}


@pytest.mark.parametrize("phase", PHASES)
def test_however_a_test_ends(run: Run, phase: str) -> None:
    fixture, call = PHASES[phase]
    result = run(
        f"""
        import pytest
        @pytest.fixture(scope="module", autouse=True)
        def table(db):
            db.put("/module", "m")
        @pytest.fixture
        def own(db):
            db.put("/own", "o")
            {fixture}
        def test_one(db, own):
            db.put("/test", "t")
            {call}
        def test_two(db):
            assert sorted(db.files) == ["/module"]
        """,
        conftest=CONFTEST,
    )
    assert result.parseoutcomes()["passed"] >= 1
    result.stdout.no_fnmatch_line("*test_two*")


def test_a_module_s_fixture_that_fails_leaves_nothing_to_the_next_module(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_a="""
        import pytest
        @pytest.fixture(scope="module", autouse=True)
        def table(db):
            db.put("/module", "m")
            raise RuntimeError
        def test_one(db): pass
        def test_two(db): pass
        """
    )
    result = run("def test_three(db):\n    assert not db.files", conftest=CONFTEST)
    result.assert_outcomes(passed=1, errors=2)


@pytest.mark.parametrize("argument", ["-x", "--lf"])
def test_runs_of_some_of_the_tests(run: Run, world: World, pytester: pytest.Pytester, argument: str) -> None:
    pytester.makepyfile(
        test_a="""
        import pytest
        @pytest.fixture(scope="module", autouse=True)
        def table(db):
            assert not db.files
            db.put("/module", "m")
            yield
            assert sorted(db.files) == ["/module"]
        def test_one(db):
            db.put("/test", "t")
        def test_two(db):
            db.put("/test", "t")
            assert 0
        """
    )
    last = "def test_three(db):\n    assert not db.files"
    run(last, "-p", "cacheprovider", conftest=CONFTEST).assert_outcomes(passed=2, failed=1)
    result = run(last, argument)
    result.assert_outcomes(failed=1, passed=1 if argument == "-x" else 0)
    assert world.happened[-2:] == ["destroy db", "disconnect"]


def test_a_rollback_of_a_module_that_fails_is_told_by_its_last_test(
    run: Run, world: World, pytester: pytest.Pytester
) -> None:
    world.fail("rollback db s1", ContainerDied("disk is full"))
    pytester.makepyfile(test_a=NESTED.format(module="", group=""))
    result = run("def test_four(db):\n    assert not db.files", "-Wignore::DeprecationWarning", conftest=CONFTEST)
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at teardown of test_three*", "*could not be rolled back after test_a.py::test_three*"]
    )


def test_a_snapshot_that_others_stand_on_is_not_asked_about_after_each_test(run: Run, world: World) -> None:
    world.fail("drop db s1", WrongState("it is needed"))
    result = run(
        """
        import pytest
        @pytest.fixture(scope="session")
        def late(db):
            db.put("/late", "l")
        def test_before(db): pass
        @pytest.mark.parametrize("n", range(3))
        def test_it(db, late, n): pass
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=4)
    assert world.that("drop") == ["drop db s1"]
