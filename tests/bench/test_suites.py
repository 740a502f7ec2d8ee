"""The parts of the suite benchmark that need no container: what is read from pytest's output, what is made of the times."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.suite import adds
from benchmarks.suites.running import Suite, copied, rollbacks_of


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        (
            "local: 2 containers (slowest boot 91 ms), 2 baselines, 9 rollbacks (7 clean, 2 booting p50 31 ms p95 40 ms)",
            "7 clean, 2 booting p50 31 ms p95 40 ms",
        ),
        ("local: 1 container, 1 baseline, 1 rollback (spare p50 3.1 ms p95 3.1 ms)", "1 spare p50 3.1 ms p95 3.1 ms"),
        ("local: 1 container, 0 baselines, 0 rollbacks", ""),
        ("500 passed in 3.10s", ""),
    ],
)
def test_the_summary_tells_how_rollbacks_were_done(said: str, understood: str) -> None:
    assert rollbacks_of(f"= tf summary =\n{said}\n500 passed (in 3 s)\n") == understood


def test_what_isolation_adds_is_the_difference_of_whole_runs_over_what_was_done_more_often() -> None:
    assert adds([11.0, 6.0], [1.0, 1.0], 100) == [100, 50]


def bare(tmp_path: Path, conftest: str, *, isolated: bool) -> Suite:
    """The tiny tests, with a page that is only a file."""
    place = copied("ours", tmp_path)
    (place / "conftest.py").write_text(conftest)
    return Suite("bare", place, 3, isolated, ("-p", "no:tf"), {"TF_PAGE": str(tmp_path / "page")})


PAGE_OF_ALL = """
import os, pathlib, types, pytest
@pytest.fixture
def web():
    page = pathlib.Path(os.environ["TF_PAGE"])
    page.touch()
    return types.SimpleNamespace(page=page.read_bytes, deface=page.write_bytes)
"""


def test_the_tests_run_in_a_process_of_their_own(tmp_path: Path) -> None:
    suite = bare(tmp_path, PAGE_OF_ALL, isolated=False)
    assert suite.run() > 0
    assert (tmp_path / "page").read_bytes() == b"defaced by a test 2"
    assert suite.rollbacks == ""


def test_tests_that_are_said_to_be_isolated_and_are_not_are_no_result(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)bare: pytest ended with status 1.*2 failed, 1 passed"):
        bare(tmp_path, PAGE_OF_ALL, isolated=True).run()
