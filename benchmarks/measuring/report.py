"""What one benchmark has to say: rows of figures, quotients, budgets with what was measured, remarks; and its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measuring.budgets import Budget
from benchmarks.measuring.figures import Summary, medians_by_round, pairwise, summarize

OURS = "pytest-tf"
"""Who we are in tables."""

DIGITS = 4
"""Significant digits that are written down: more than any of these measurements has."""


@dataclass(frozen=True)
class Row:
    """What `who` takes for `what`."""

    what: str
    who: str
    unit: str
    summary: Summary
    note: str = ""


@dataclass(frozen=True)
class Quotient:
    """`dividend` over `divisor`, round by round."""

    what: str
    dividend: str
    divisor: str
    summary: Summary


@dataclass(frozen=True)
class Verdict:
    """A budget, and the median that was measured for it; `how` says under which circumstances."""

    budget: Budget
    measured: float
    how: str

    @property
    def met(self) -> bool:
        """True if the budget is kept."""
        return self.budget.met_by(self.measured)


@dataclass
class Report:
    """Filled by a benchmark, line by line."""

    name: str
    about: str
    rows: list[Row] = field(default_factory=list)
    quotients: list[Quotient] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def row(self, what: str, who: str, samples: Sequence[float], *, unit: str = "ms", note: str = "") -> Summary:
        """Note what was measured."""
        summary = summarize(samples)
        self.rows.append(Row(what, who, unit, summary, note))
        return summary

    def quotient(
        self, what: str, dividend: str, divisor: str, found: Mapping[str, Sequence[float]], *, rounds: int | None = None
    ) -> Summary:
        """Note how two contestants of the same rounds compare.

        Args:
            rounds: how many there were, if some had several turns in each; their median of a round stands for it.

        Raises:
            ValueError: the two were not measured in the same rounds.
        """
        of_both = [
            found[who] if rounds is None else medians_by_round(found[who], rounds) for who in (dividend, divisor)
        ]
        summary = summarize(pairwise(*of_both))
        self.quotients.append(Quotient(what, dividend, divisor, summary))
        return summary

    def verdict(self, budget: Budget, measured: float, *, how: str = "") -> None:
        """Note what was measured for a budget."""
        self.verdicts.append(Verdict(budget, measured, how))

    def remark(self, sentence: str) -> None:
        """Note what a reader of the figures has to know."""
        self.remarks.append(sentence)

    def document(self, circumstances: Mapping[str, Any]) -> dict[str, Any]:
        """The whole as plain values for JSON; `circumstances` are date, machine and load."""
        return {
            "benchmark": self.name,
            "about": self.about,
            **circumstances,
            "rows": [_plain(row) for row in self.rows],
            "quotients": [_plain(quotient) for quotient in self.quotients],
            "budgets": [_judged(verdict) for verdict in self.verdicts],
            "remarks": list(self.remarks),
        }


def _plain(item: Row | Quotient) -> dict[str, Any]:
    values = asdict(item)
    return {**values, "summary": {name: rounded(value) for name, value in values["summary"].items()}}


def _judged(verdict: Verdict) -> dict[str, Any]:
    budget = verdict.budget
    return {
        "budget": str(budget),
        "limit": budget.limit,
        "unit": budget.unit,
        "measured": rounded(verdict.measured),
        "met": verdict.met,
        "how": verdict.how,
    }


def rounded(value: float) -> float:
    """The value with as many digits as mean something."""
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def write(document: Mapping[str, Any], directory: Path) -> Path:
    """Write `<benchmark>.json`; the file's path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{document['benchmark']}.json"
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return path
