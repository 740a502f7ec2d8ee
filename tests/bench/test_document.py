"""The figures in the documentation are those that were measured."""

from __future__ import annotations

import pytest

from benchmarks.document import BEGIN, END, PAGE, documents, rendered, with_figures
from benchmarks.measuring.budgets import Budget
from benchmarks.measuring.report import OURS, Report
from benchmarks.run import RESULTS

MACHINE = {
    "processor": "Fast One",
    "cores": 2,
    "memory_gib": 24,
    "kernel": "6.1",
    "system": "Debian",
    "python": "3.11",
    "file_system": "ext4",
    "programs": {"crun": "1.8"},
}


@pytest.fixture
def document() -> dict[str, object]:
    report = Report("local_start", "how long it takes")
    report.row("start", OURS, [612.4, 598.1, 640.0], note="cold")
    report.verdict(Budget("a start", 600, "ms"), 612.4)
    report.remark("It rained.")
    circumstances = {"date": "2026-01-01", "machine": MACHINE, "load_before": 0.1, "load_after": 0.5}
    return report.document(circumstances)


def test_figures_become_tables(document: dict[str, object]) -> None:
    lines = rendered([document]).splitlines()
    assert lines[0].startswith("Measured 2026-01-01: Fast One, 2 cores, 24 GiB, Debian, kernel 6.1")
    assert "| a start: at most 600 ms | 612 ms | **no** | local start |" in lines
    assert "### local start" in lines
    assert "| start | pytest-tf | 612 ms | 598 to 640 | 640 | 3 | cold |" in lines
    assert lines[-1] == "It rained."


def test_only_what_stands_between_the_marks_is_replaced(document: dict[str, object]) -> None:
    page = f"Words.\n\n{BEGIN}\nold figures\n{END}\n\nMore words.\n"
    once = with_figures(page, rendered([document]))
    assert "old figures" not in once
    assert once.startswith("Words.\n")
    assert once.endswith("\n\nMore words.\n")
    assert with_figures(once, rendered([document])) == once


def test_a_page_without_a_place_for_figures_is_left_alone() -> None:
    with pytest.raises(ValueError, match="no place"):
        with_figures("Words.", "figures")


def test_the_page_has_a_place_for_figures_and_the_figures_there_are_fit_in() -> None:
    figures = rendered(documents(RESULTS))
    assert figures in with_figures(PAGE.read_text(), figures)
