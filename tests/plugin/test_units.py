"""Containers that may talk to each other are snapshot and rolled back as one."""

from __future__ import annotations

from tests.plugin.conftest import Run
from tests.plugin.fake_sdk import World
from tfcore.errors import ContainerDied, WrongState

CONFTEST = """
    from pytest_tf import container, volume
    db = container("postgres")
    web = container("nginx", connects=[db])
    job = container("busybox", connects=[web])
    cache = container("redis")
"""
TWO_TESTS = """
    def test_one({0}): web.put("/a", "one")
    def test_two({0}): assert not web.files
"""


def test_a_chain_goes_back_in_one_request(run: Run, world: World) -> None:
    run(TWO_TESTS.format("job, web, cache"), conftest=CONFTEST).assert_outcomes(passed=2)
    assert sorted(world.that("snapshot")) == ["snapshot cache s1", "snapshot db+web+job s1"]
    assert sorted(world.that("rollback")) == ["rollback cache s1"] * 2 + ["rollback db+web+job s1"] * 2


def test_only_those_the_test_uses(run: Run, world: World) -> None:
    run("def test_one(web): pass\ndef test_two(db): pass", conftest=CONFTEST).assert_outcomes(passed=2)
    assert world.that("rollback") == ["rollback db+web s1", "rollback db s1"]


def test_leave_that_a_fixture_gives_counts(run: Run, world: World) -> None:
    test = """
        import pytest
        @pytest.fixture(scope="session")
        def both(cache, db):
            cache.allow_connection_from(db)
        def test_one(both, cache): pass
    """
    run(test, conftest=CONFTEST).assert_outcomes(passed=1)
    assert len(world.that("rollback")) == 1
    assert sorted(world.that("rollback")[0].split()[1].split("+")) == ["cache", "db"]


def test_each_goes_to_its_own_snapshot(run: Run, world: World) -> None:
    test = """
        import pytest
        @pytest.fixture(scope="module")
        def seeded(db):
            db.put("/seed", "s")
        @pytest.mark.parametrize("n", range(2))
        def test_it(seeded, web, db, n):
            assert (sorted(db.files), sorted(web.files)) == (["/seed"], [])
            web.put("/test", "t")
    """
    run(test, conftest=CONFTEST).assert_outcomes(passed=2)
    assert world.that("snapshot") == ["snapshot db+web s1", "snapshot db s2"]
    assert world.that("rollback") == ["rollback db+web s2 s1", "rollback db+web s1"]


def test_nobody_waits_where_its_state_is_looked_at(run: Run, world: World) -> None:
    test = """
        import pytest
        @pytest.fixture(scope="module")
        def seeded(db):
            db.put("/seed", "s")
        @pytest.fixture(scope="module")
        def looks(web):
            yield
            assert not web.files
        def test_it(seeded, looks, web, db):
            web.put("/test", "t")
    """
    run(test, conftest=CONFTEST).assert_outcomes(passed=1)
    assert world.that("rollback") == ["rollback db+web s2", "rollback db+web s1"]


def test_what_cannot_be_done_for_all_is_done_for_each(run: Run, world: World) -> None:
    world.fail("snapshot db+web", WrongState("it does not run"))
    world.fail("rollback db+web", ContainerDied("it did not come up"))
    run(TWO_TESTS.format("web"), conftest=CONFTEST).assert_outcomes(passed=2)
    assert sorted(world.that("snapshot")) == ["snapshot db s1", "snapshot db+web s1", "snapshot web s1"]
    rollbacks = ["rollback db+web s1", "rollback db s1", "rollback web s1", "rollback db+web s1"]
    assert sorted(world.that("rollback")) == sorted(rollbacks)


def test_only_the_cause_of_a_failure_is_built_again(run: Run, world: World) -> None:
    for begin in ("rollback db+web", "rollback db"):
        world.fail(begin, ContainerDied("db ended"))
    result = run(TWO_TESTS.format("web"), conftest=CONFTEST)
    result.assert_outcomes(passed=2, errors=1)
    assert world.that("rebuild") == ["rebuild db s1"]


def test_those_that_share_a_volume_follow_each_other(run: Run, world: World) -> None:
    conftest = """
        from pytest_tf import container, volume
        data = volume()
        db = container("postgres", volumes={"/data": data})
        web = container("nginx", volumes={"/data": data}, connects=[db])
    """
    run(TWO_TESTS.format("web"), conftest=conftest).assert_outcomes(passed=2)
    assert set(world.that("rollback")) == {"rollback db s1", "rollback web s1"}


def test_one_that_only_went_along_has_been_left_as_it_was(run: Run) -> None:
    test = """
        import pytest
        @pytest.fixture(scope="session", autouse=True)
        def told(db, web):
            db.tells_clean = web.tells_clean = True
        @pytest.mark.tf_readonly
        def test_writes(db, web):
            db.put("/a", "")
    """
    result = run(test, conftest=CONFTEST)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*is marked tf_readonly, but db was not clean after it*"])
    result.stdout.no_fnmatch_line("*but web was not clean*")
