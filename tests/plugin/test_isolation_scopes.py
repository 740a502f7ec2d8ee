"""How often containers are rolled back is the suite's choice; with several containers and several parameters too."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import CONFTEST, Run
from tests.plugin.fake_sdk import World
from tfcore.errors import ContainerDied


@pytest.mark.parametrize(
    ("isolate", "rollbacks"), [("test", 5), ("class", 3), ("module", 1), ("session", 0), ("none", 0)]
)
def test_how_often_is_the_suite_s_choice(run: Run, world: World, isolate: str, rollbacks: int) -> None:
    result = run(
        """
        class TestOne:
            def test_a(self, db): pass
            def test_b(self, db): pass
        class TestTwo:
            def test_c(self, db): pass
            def test_d(self, db): pass
        def test_e(db): pass
        """,
        conftest=f"""
        from pytest_tf import container
        db = container("postgres", isolate={isolate!r})
        """,
    )
    result.assert_outcomes(passed=5)
    assert len(world.that("rollback")) == rollbacks


def test_a_module_s_baseline_is_what_was_there_before_its_own_fixtures(
    run: Run, world: World, pytester: pytest.Pytester
) -> None:
    test = """
        import pytest
        @pytest.fixture(scope="module", autouse=True)
        def own(db, seeded):
            assert sorted(db.files) == ["/seed"]
            db.put("/module", "m")
            yield
            assert sorted(db.files) == ["/module", "/one", "/seed"]
        def test_one(db):
            db.put("/one", "1")
        def test_two(db):
            assert sorted(db.files) == ["/module", "/one", "/seed"]
    """
    pytester.makepyfile(test_a=test, test_b=test)
    conftest = """
        import pytest
        from pytest_tf import container
        db = container("postgres", isolate="module")
        @pytest.fixture(scope="session")
        def seeded(db):
            db.put("/seed", "s")
    """
    result = run('def test_last(db):\n    assert sorted(db.files) == ["/seed"]', conftest=conftest)
    result.assert_outcomes(passed=5)
    assert (len(world.that("snapshot")), len(world.that("rollback"))) == (1, 3)


def test_several_containers_are_snapshot_and_rolled_back_at_the_same_time(run: Run, world: World) -> None:
    world.meet("snapshot", 2)
    world.meet("rollback", 2)
    result = run(
        "def test_one(db, web): pass\ndef test_two(db, web): pass", conftest=CONFTEST + '    web = container("nginx")\n'
    )
    result.assert_outcomes(passed=2)
    assert len(world.that("rollback")) == 4


def test_who_does_not_come_up_beside_what_it_needs_gets_a_second_chance(run: Run, world: World) -> None:
    world.fail("rollback db+web", ContainerDied("no database"))
    world.fail("rollback web", ContainerDied("no database"))
    result = run(
        "def test_one(web): pass\ndef test_two(web): pass",
        conftest=CONFTEST + '    web = container("nginx", connects=[db])\n',
    )
    result.assert_outcomes(passed=2)
    assert world.that("rebuild") == []
    assert world.that("rollback").count("rollback web s1") == 2
    assert world.that("rollback").count("rollback db+web s1") == 2


def test_containers_of_a_suite_s_own_fixtures_are_looked_after(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture(scope="session")
        def own(location):
            container = location.node().spawn_container("nginx")
            container.put("/seed", "s")
            return container
        @pytest.fixture
        def short(location):
            return location.node().spawn_container("nginx", hostname="short")
        def test_one(own, short):
            own.put("/a", "1")
            short.put("/a", "1")
        def test_two(own):
            assert sorted(own.files) == ["/seed"]
        """
    )
    result.assert_outcomes(passed=2)
    assert world.that("rollback") == ["rollback own-1 s1", "rollback own-1 s1"]


def test_one_that_a_test_destroys_is_looked_after_no_more(run: Run, world: World) -> None:
    result = run(
        """
        def test_one(db):
            db.destroy()
        def test_two():
            pass
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=2)
    assert world.that("rollback") == []
    assert world.that("destroy") == ["destroy db"]


def test_a_parametrized_container_s_fixture_is_rolled_back_in_each_of_its_lives(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture(scope="session", params=["a", "b"])
        def seeded(db, request):
            db.put("/seed", request.param)
            yield request.param
            del db.files["/seed"]
        @pytest.mark.parametrize("n", range(2))
        def test_it(db, seeded, n):
            assert {path: content.decode() for path, content in db.files.items()} == {"/seed": seeded}
            db.put("/a", "1")
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=4)


def test_a_parameter_may_change_inside_a_module_that_rolls_back_as_a_whole(run: Run) -> None:
    """What the tests in between have done is gone before the fixture's teardown."""
    result = run(
        """
        import pytest
        @pytest.fixture(scope="session", params=["a", "b"])
        def seeded(db, request):
            assert not db.files
            db.put("/seed", request.param)
            yield request.param
            assert sorted(db.files) == ["/seed"]
            del db.files["/seed"]
        @pytest.fixture(scope="module")
        def table(db, seeded):
            db.put("/table", seeded)
        @pytest.mark.parametrize("n", range(2))
        def test_it(db, seeded, table, n):
            assert {content.decode() for content in db.files.values()} == {seeded}
            assert ("/test" in db.files) == bool(n)
            db.put("/test", seeded)
        """,
        conftest='from pytest_tf import container\ndb = container("postgres", isolate="module")\n',
    )
    result.assert_outcomes(passed=4)
