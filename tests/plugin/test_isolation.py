"""When baselines are taken and containers rolled back, seen from test files as users write them."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import CONFTEST, Run
from tests.plugin.fake_sdk import World


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
