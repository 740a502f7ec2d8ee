"""`--tf-bisect`: who makes a test fail, and who does not."""

from __future__ import annotations

import pytest

from pytest_tf.search import Finding, Outcome, Verdict, search
from tests.plugin.conftest import Run
from tests.plugin.fake_sdk import World
from tfcore.errors import WrongState

# --- the search


class Imagined:
    """Tests of which one, or a combination, makes the last one fail.

    Args:
        fails: whether it fails after these.
    """

    def __init__(self, others: int, fails: set[int], *, alone: str = "passed", **differs: bool) -> None:
        self.others = others
        self.fails = fails
        self.differs = differs
        self.first = alone
        self.tried: list[int] = []
        self.why = ""

    def alone(self) -> Outcome:
        return Outcome(self.first)

    def run_others(self) -> tuple[int, str]:
        return self.others, self.why

    def _after(self, number: int) -> Outcome:
        return Outcome("failed" if self.fails & set(range(number + 1)) else "passed", f"after {number}")

    def live(self) -> Outcome:
        return Outcome("failed") if self.differs.get("live") else self._after(self.others)

    def at(self, number: int) -> Outcome:
        self.tried.append(number)
        return Outcome("failed") if self.differs.get("always") else self._after(number)

    def after_only(self, number: int) -> Outcome:
        return Outcome("failed" if self.fails == {number} else "passed")


@pytest.mark.parametrize("culprit", range(1, 21))
def test_the_first_one_after_which_it_fails_is_found(culprit: int) -> None:
    trials = Imagined(20, {culprit})
    assert search(trials) == Finding(Verdict.FOUND, Outcome("failed", f"after {culprit}"), culprit, enough=True)
    assert len(trials.tried) <= 7, "it takes more trials than halving does"


def test_what_else_may_come_out() -> None:
    assert search(Imagined(5, set())).verdict is Verdict.PASSES
    assert search(Imagined(0, set())).verdict is Verdict.PASSES
    assert search(Imagined(5, {1}, alone="failed")).verdict is Verdict.ALONE
    assert search(Imagined(5, {1}, alone="skipped")).verdict is Verdict.ALONE
    assert search(Imagined(5, set(), live=True)).verdict is Verdict.IN_MEMORY
    assert search(Imagined(5, set(), live=True, always=True)).verdict is Verdict.IN_PYTHON
    assert not search(Imagined(5, {3, 4})).enough
    broken = Imagined(5, {5})
    broken.why = "it has died"
    assert search(broken) == Finding(Verdict.FOUND, Outcome("failed", "after 5"), 5, why="it has died")


# --- real pytest, containers in memory

CONFTEST = """
    import pytest
    from pytest_tf import container
    db = container("postgres")
    web = container("nginx", connects=[db])
    @pytest.fixture(scope="session")
    def shop(db):
        db.put("/shop", "open")
        yield db
"""

SUITE = """
    import pytest
    @pytest.mark.parametrize("n", range(6))
    def test_good(db, n):
        db.put(f"/good{n}", "x")
    def test_bad(web, db, shop):
        db.put("/shop", "closed")
    @pytest.mark.parametrize("n", range(5))
    def test_more(web, n):
        web.put(f"/more{n}", "x")
    def test_target(shop, web):
        assert shop.fetch("/shop") == b"open"
    def test_after(db):
        raise RuntimeError("nobody runs it")
"""

TARGET = "test_inner.py::test_target"


def verdict(result: pytest.RunResult) -> list[str]:
    lines = result.stdout.lines
    begin = next(n for n, line in enumerate(lines) if "= tf bisect =" in line)
    return [line.rstrip() for line in lines[begin + 1 :] if not line.startswith("    ") and "====" not in line and line]


def test_the_culprit_is_named_with_what_it_has_changed(run: Run, world: World) -> None:
    result = run(SUITE, f"--tf-bisect={TARGET}", conftest=CONFTEST)
    assert result.ret == 0
    assert verdict(result)[:4] == [
        "test_inner.py::test_bad makes test_inner.py::test_target fail",
        "what it has changed in db (1 file, 6 B):",
        "  changed              4 B → 6 B  /shop",
        "it is enough: pytest --tf-isolate=none 'test_inner.py::test_bad' 'test_inner.py::test_target'",
    ]
    result.stdout.fnmatch_lines(
        [
            "tf bisect: 12 tests run before test_inner.py::test_target",
            "  alone: passed",
            "  [[]1/12[]] test_inner.py::test_good[[]0[]]: passed",
            "  [[]12/12[]] test_inner.py::test_more[[]4[]]: passed",
            "  after all of them, one after the other: failed",
            "  with the containers as they were before all of them: passed",
        ]
    )
    result.stdout.no_fnmatch_line("*nobody runs it*")
    assert world.locations[0].containers == {}, "they are freed"


def test_a_container_that_nobody_has_touched_is_not_kept_again(run: Run, world: World) -> None:
    run(SUITE, f"--tf-bisect={TARGET}", conftest=CONFTEST)
    snapshots = world.that("snapshot")
    assert len([what for what in snapshots if " web " in what]) < 12


def test_wide_fixtures_are_set_up_anew_for_states_that_lack_their_work(run: Run, pytester: pytest.Pytester) -> None:
    """The target's module has a fixture that works only once on the same files, and other modules have theirs."""
    pytester.makepyfile(
        test_a="""
        import pytest
        @pytest.fixture(scope="module", autouse=True)
        def mine(db):
            db.put("/a", "x")
        @pytest.mark.parametrize("n", range(3))
        def test_a(db, n):
            if n == 1:
                db.put("/spoilt", "x")
        """
    )
    result = run(
        """
        import pytest
        @pytest.fixture(scope="module")
        def table(db):
            assert "/table" not in db.files, "it is there already"
            db.put("/table", "rows")
            yield "rows"
        @pytest.fixture(scope="session")
        def late(db):
            assert "/late" not in db.files
            db.put("/late", "x")
        class TestIt:
            @pytest.mark.parametrize("n", range(4))
            def test_between(self, db, late, n):
                pass
            def test_with(self, table):
                pass
            def test_target(self, db, table):
                assert db.fetch("/table") == b"rows"
                assert "/spoilt" not in db.files
        """,
        "--tf-bisect=test_inner.py::TestIt::test_target",
        conftest=CONFTEST,
    )
    assert result.ret == 0, result.stdout.str()
    assert verdict(result)[0] == "test_a.py::test_a[1] makes test_inner.py::TestIt::test_target fail"
    result.stdout.no_fnmatch_line("*it is there already*")


def test_two_tests_may_be_to_blame_together(run: Run) -> None:
    result = run(
        """
        def test_one(db):
            db.put("/one", "x")
        def test_nothing(db): pass
        def test_two(db):
            if "/one" in db.files:
                db.put("/two", "x")
        def test_target(db):
            assert "/two" not in db.files
        """,
        f"--tf-bisect={TARGET}",
        conftest=CONFTEST,
    )
    assert result.ret == 0
    lines = verdict(result)
    assert lines[0] == f"test_inner.py::test_two makes {TARGET} fail"
    assert lines[3:5] == ["it is not enough by itself: tests before it have a part in that", "this is how it failed:"]


def test_beside_other_plugins_and_other_kinds_of_tests(run: Run, with_others: None) -> None:
    """Rerun, asynchronous, of unittest, marked."""
    result = run(
        """
        import unittest
        import pytest
        @pytest.mark.asyncio
        async def test_async(db):
            db.put("/spoilt", "x")
        @pytest.mark.usefixtures("db")
        class TestUnit(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def get(self, db):
                self.db = db
            def test_one(self):
                self.db.put("/unit", "x")
        @pytest.mark.tf_readonly
        def test_reads(db):
            pass
        @pytest.mark.tf_chain
        class TestChain:
            def test_first(self, db):
                db.put("/first", "x")
            def test_target(self, db):
                assert "/spoilt" not in db.files
        """,
        "--tf-bisect=test_inner.py::TestChain::test_target", "--reruns=2", "--randomly-dont-reorganize",
        "--asyncio-mode=auto", conftest=CONFTEST,
    )  # fmt: skip
    assert result.ret == 0, result.stdout.str()
    assert verdict(result)[0] == "test_inner.py::test_async makes test_inner.py::TestChain::test_target fail"


def test_a_container_of_a_module_comes_and_goes_with_its_states(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_a="""
        def test_spoils(db):
            db.put("/spoilt", "x")
        def test_does_not(db):
            pass
        """
    )
    result = run(
        """
        import pytest
        from pytest_tf import container
        own = container("redis", scope="module")
        @pytest.fixture(scope="module")
        def filled(own):
            own.put("/filled", "x")
        def test_between(own, db, filled):
            own.put("/between", "x")
        def test_target(own, db, filled):
            assert own.fetch("/filled") == b"x"
            assert "/spoilt" not in db.files
        """,
        f"--tf-bisect={TARGET}",
        conftest=CONFTEST,
    )
    assert result.ret == 0, result.stdout.str()
    assert verdict(result)[0] == f"test_a.py::test_spoils makes {TARGET} fail"


OTHERWISE = {
    "it passes": ("def test_one(db): pass\ndef test_target(db): pass", 6, "passes after the others, one after the other"),
    "nobody is before it": ("def test_target(db): pass", 6, "passes, and no test runs before it"),
    "it fails alone": ("def test_one(db): pass\ndef test_target(db): assert 0", 7, "failed alone, with no other test"),
    "it is skipped": ("import pytest\ndef test_target(db): pytest.skip('no')", 7, "skipped alone, with no other test"),
    "a module's state": (
        "seen = []\ndef test_one(db): seen.append(1)\ndef test_target(db): assert not seen",
        9, "fails after the others even with the containers as they were before",
    ),
    "no container": ("seen = []\ndef test_one(): seen.append(1)\ndef test_target(): assert not seen", 9, "Python process"),
    "a container's memory": (
        "def test_one(db): db.running.append('daemon')\ndef test_target(db): assert not db.running",
        8, "what makes it fail is in the memory of a process",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERWISE)
def test_what_is_not_a_container_s_files_is_told_apart(run: Run, case: str) -> None:
    suite, code, says = OTHERWISE[case]
    result = run(suite, f"--tf-bisect={TARGET}", conftest=CONFTEST)
    assert says in result.stdout.str()
    assert result.ret == code


def test_who_ends_a_container_is_found(run: Run) -> None:
    result = run(
        """
        def test_one(db): pass
        def test_two(db): db.die()
        def test_three(db): pass
        def test_target(db): assert db.end is None
        """,
        f"--tf-bisect={TARGET}",
        conftest=CONFTEST,
    )
    assert result.ret == 0
    assert verdict(result)[:2] == [
        f"test_inner.py::test_two makes {TARGET} fail",
        "(after it, no snapshot of db could be taken: it ended)",
    ]


def test_a_rollback_that_fails_ends_it(run: Run, world: World) -> None:
    for together in ("rollback db+web s14", "rollback db s14"):
        world.fail(together, WrongState("no room"))
    result = run(SUITE, f"--tf-bisect={TARGET}", conftest=CONFTEST)
    assert result.ret == 1
    assert "cannot go on: db could not be rolled back: no room" in result.stdout.str()


def test_an_unknown_test_is_a_usage_error(run: Run) -> None:
    result = run(SUITE, "--tf-bisect=test_inner.py::test_targe", conftest=CONFTEST)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --tf-bisect=test_inner.py::test_targe: there is no such test*::test_target*"])


def test_it_runs_in_one_process(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_subprocess("--tf-bisect=x", "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --tf-bisect runs the tests in one process*leave out -n*"])


def test_interrupting_it_is_interrupting_a_run(run: Run) -> None:
    result = run(
        "def test_one(db): raise KeyboardInterrupt\ndef test_target(db): pass",
        f"--tf-bisect={TARGET}",
        conftest=CONFTEST,
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
