"""When baselines are taken and containers rolled back, seen from test files as users write them."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Run
from tests.plugin.fake_sdk import World
from tfcore.errors import ContainerDied

CONFTEST = """
    import pytest
    from pytest_tf import container
    db = container("postgres")
"""


def test_what_a_test_writes_is_gone_in_the_next(run: Run, world: World) -> None:
    result = run(
        """
        def test_one(db):
            assert not db.files
            db.put("/a", "one")
        def test_two(db):
            assert not db.files
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=2)
    assert world.happened == [
        "connect local",
        "spawn db",
        "ready db",
        "ready db",
        "snapshot db s1",
        "rollback db s1",
        "rollback db s1",
        "destroy db",
        "disconnect",
    ]


def test_the_baseline_holds_what_wider_fixtures_did(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture(scope="session")
        def seeded(db):
            db.put("/seed", "s")
            return db
        @pytest.fixture(scope="module", autouse=True)
        def extended(seeded):
            seeded.put("/more", "m")
        @pytest.fixture
        def mine(seeded):
            seeded.put("/mine", "1")
        @pytest.mark.parametrize("n", range(3))
        def test_it(seeded, mine, n):
            assert sorted(seeded.files) == ["/mine", "/more", "/seed"]
            seeded.files.clear()
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=3)
    assert world.that("snapshot", "rollback") == [
        "snapshot db s1",  # before the module's fixtures
        "snapshot db s2",  # before each test
        *["rollback db s2"] * 2,
        "rollback db s1",  # after the last one, and after the module
    ]


def test_a_teardown_sees_the_state_its_fixture_knows(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture(scope="session")
        def seeded(db):
            db.put("/seed", "s")
            yield db
            assert sorted(db.files) == ["/seed"]
        @pytest.fixture
        def mine(seeded):
            yield seeded
            assert sorted(seeded.files) == ["/by-test", "/seed"]
        def test_one(mine):
            mine.put("/by-test", "1")
        def test_two(mine):
            mine.put("/by-test", "1")
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=2)


def test_a_container_a_test_does_not_use_is_left_alone(run: Run, world: World) -> None:
    result = run(
        """
        def test_one(db): pass
        def test_without(): pass
        def test_other(web): pass
        """,
        conftest=CONFTEST + '    web = container("nginx")\n',
    )
    result.assert_outcomes(passed=3)
    assert world.that("rollback") == ["rollback db s1", "rollback web s1"]


def test_asking_at_run_time_counts_as_use(run: Run, world: World) -> None:
    result = run(
        """
        def test_one(request):
            request.getfixturevalue("db").put("/a", "1")
        def test_two(request):
            db = request.getfixturevalue("db")
            assert not db.files
            db.put("/b", "1")
        def test_three(db):
            assert not db.files
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=3)
    assert len(world.that("rollback")) == 3


def test_a_fixture_that_asks_at_run_time_passes_its_use_on(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture(scope="session")
        def hidden(request):
            return request.getfixturevalue("db")
        @pytest.mark.parametrize("n", range(3))
        def test_it(hidden, n):
            assert not hidden.files
            hidden.put("/a", "1")
        @pytest.fixture(scope="session")
        def late(hidden):
            hidden.put("/late", "l")
        @pytest.mark.parametrize("n", range(2))
        def test_late(hidden, late, n):
            assert sorted(hidden.files) == ["/late"]
            hidden.files.clear()
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=5)


def test_a_fixture_that_asks_through_another_one_is_seen(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture(scope="session")
        def ask(request):
            return request.getfixturevalue
        @pytest.fixture(scope="session")
        def seeded(ask):
            ask("db").put("/seed", "s")
            return ask("db")
        def test_before(db):
            db.put("/a", "1")
        @pytest.mark.parametrize("n", range(3))
        def test_it(seeded, n):
            assert sorted(seeded.files) == ["/seed"]
            seeded.files.clear()
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=4)


def test_a_wide_fixture_first_used_by_a_later_test_is_not_lost(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture(scope="session")
        def late(db):
            db.put("/late", "l")
        def test_before(db):
            db.put("/by-test", "1")
        @pytest.mark.parametrize("n", range(2))
        def test_with(db, late, n):
            assert sorted(db.files) == ["/late"]
            db.files.clear()
        def test_after(db):
            assert sorted(db.files) == ["/late"]
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=4)
    assert world.that("snapshot") == ["snapshot db s1", "snapshot db s2"]


def test_what_a_module_s_teardown_did_is_not_undone(run: Run, world: World, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_a="""
        import pytest
        @pytest.fixture(scope="module")
        def table(db):
            db.put("/table", "t")
            yield
            del db.files["/table"]
        def test_one(db, table):
            db.put("/row", "r")
        def test_two(db, table):
            assert sorted(db.files) == ["/table"]
        """
    )
    result = run(
        """
        def test_three(db):
            assert not db.files
            db.put("/x", "1")
        def test_four(db):
            assert not db.files
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=4)


def test_a_wide_fixture_asked_for_inside_a_test_lives_as_long_as_the_test(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        built = []
        @pytest.fixture(scope="session")
        def seeded(db):
            built.append("up")
            db.put("/seed", "s")
            yield db
            assert sorted(db.files) == ["/by-test", "/seed"]
            built.append("down")
        def test_one(db, request):
            db.put("/by-test", "1")
            request.getfixturevalue("seeded")
        def test_two(db):
            assert not db.files and built == ["up", "down"]
        def test_three(db, request):
            request.getfixturevalue("seeded")
            assert sorted(db.files) == ["/seed"]
            db.put("/by-test", "1")
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=3)


def test_setup_class_and_the_like_are_wider_fixtures(run: Run, world: World) -> None:
    """They reach containers through whatever they find, so pytest cannot say which."""
    result = run(
        """
        import pytest
        here = {}
        @pytest.fixture(scope="session", autouse=True)
        def remember(db):
            here["db"] = db
        def test_before(db): pass
        class TestIt:
            @classmethod
            def setup_class(cls):
                here["db"].put("/class", "c")
            @pytest.mark.parametrize("n", range(2))
            def test_it(self, db, n):
                assert sorted(db.files) == ["/class"]
                db.files.clear()
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=3)


def test_unittest_cases_are_isolated_too(run: Run, world: World) -> None:
    result = run(
        """
        import unittest, pytest
        class TestIt(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def _db(self, db):
                self.db = db
            def setUp(self):
                assert not self.db.files
                self.db.put("/setup", "1")
            def test_one(self):
                self.db.put("/a", "1")
            def test_two(self):
                assert sorted(self.db.files) == ["/setup"]
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=2)
    assert world.that("rollback") == ["rollback db s2", "rollback db s2", "rollback db s1"]


def test_set_up_class_is_undone_at_the_end_of_its_class(run: Run, world: World) -> None:
    result = run(
        """
        import unittest, pytest
        here = {}
        @pytest.fixture(scope="session", autouse=True)
        def remember(db):
            here["db"] = db
        @pytest.mark.usefixtures("db")
        class TestIt(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                here["db"].put("/class", "c")
            @classmethod
            def tearDownClass(cls):
                assert sorted(here["db"].files) == ["/class"]
            def setUp(self):
                here["db"].put("/setup", "1")
            def tearDown(self):
                assert sorted(here["db"].files) == ["/class", "/setup", "/test"]
            def test_one(self):
                assert sorted(here["db"].files) == ["/class", "/setup"]
                here["db"].put("/test", "1")
            test_two = test_one
        def test_after(db):
            assert not db.files
        """,
        conftest=CONFTEST,
    )
    result.assert_outcomes(passed=3)


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
