"""Reports as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.measuring.figures import Summary
from benchmarks.measuring.report import Report

FIGURES = ("median", "min", "max", "p95", "n")


def text_of(report: Report) -> str:
    """A report's figures, quotients, budgets and remarks, as lines."""
    parts = [f"{report.name}: {report.about}", *_figures(report), *_budgets(report)]
    parts += [f"  {remark}" for remark in report.remarks]
    return "\n".join(parts)


def _figures(report: Report) -> Iterator[str]:
    rows = [(row.what, row.who, *_columns(row.summary), row.unit, row.note) for row in report.rows]
    for quotient in report.quotients:
        who = f"{quotient.dividend} / {quotient.divisor}"
        rows.append((quotient.what, who, *_columns(quotient.summary), "×", "round by round"))
    if rows:
        yield from aligned([("", "", *FIGURES, "", ""), *rows], left=(0, 1, 7, 8))


def _budgets(report: Report) -> Iterator[str]:
    for verdict in report.verdicts:
        word = "kept" if verdict.met else "NOT KEPT"
        how = f" ({verdict.how})" if verdict.how else ""
        yield f"  budget {word}: {verdict.budget}; measured {figure(verdict.measured)} {verdict.budget.unit}{how}"


def _columns(summary: Summary) -> tuple[str, ...]:
    values = (summary.median, summary.minimum, summary.maximum, summary.p95)
    return (*(figure(value) for value in values), str(summary.n))


def figure(value: float) -> str:
    """A figure with three significant digits, but never fewer than the whole number."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def aligned(rows: Sequence[Sequence[str]], *, left: Sequence[int]) -> Iterator[str]:
    """Rows as lines of columns; those in `left` are aligned to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield ("  " + "  ".join(cells)).rstrip()
