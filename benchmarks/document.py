"""Puts the figures of benchmarks/results/*.json into docs/explain/performance.md: `python -m benchmarks.document`.

Only what stands between the two marks is replaced; the words around it are people's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.comparison import Comparison, comparisons
from benchmarks.measuring.report import OURS
from benchmarks.measuring.table import figure
from benchmarks.run import NAMES, RESULTS

PAGE = Path(__file__).parents[1] / "docs" / "explain" / "performance.md"
BEGIN = "<!-- figures: written by python -m benchmarks.document -->"
END = "<!-- end of figures -->"

Document = Mapping[str, Any]


def main() -> int:
    """Rewrite the page."""
    PAGE.write_text(with_figures(PAGE.read_text(), rendered(documents(RESULTS))))
    print(f"the figures of {RESULTS} are in {PAGE}")
    return 0


def documents(results: Path) -> list[Document]:
    """What was measured, in the order it is measured."""
    paths = [results / f"{name}.json" for name in NAMES]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def with_figures(page: str, figures: str) -> str:
    """The page with other figures.

    Raises:
        ValueError: it lacks the marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for figures: {BEGIN} ... {END}")
    return f"{before}{begin}\n\n{figures}\n\n{end}{after}"


def rendered(found: Sequence[Document]) -> str:
    """All figures as Markdown: circumstances, rollbacks beside their peers, budgets, then a table for each benchmark."""
    compared = [one for document in found if document["benchmark"] == "rollback" for one in comparisons(document)]
    tables = [_beside(compared), _budgets(found), *(_figures(one) for one in found)]
    parts = [*_circumstances(found), *("\n".join(table) for table in tables)]
    return "\n\n".join(part for part in parts if part)


def _circumstances(found: Sequence[Document]) -> Iterator[str]:
    yield from dict.fromkeys(_words(one) for one in found)


def _words(document: Document) -> str:
    machine = document["machine"]
    programs = ", ".join(f"{name} {version}" for name, version in machine["programs"].items())
    return (
        f"Measured {document['date']}: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, kernel {machine['kernel']}, Python {machine['python']}, {machine['file_system']}; {programs}."
    )


def _beside(compared: Sequence[Comparison]) -> Iterator[str]:
    """A line for each service, a column for each peer: its median, and how much longer than ours that is."""
    peers = list(dict.fromkeys(peer.who for one in compared for peer in one.peers))
    if compared:
        yield _head("rollback, and what others do instead", f"{OURS}, p50", "p95", *peers)
    for one in compared:
        cells = {peer.who: f"{figure(peer.median)} ms ({figure(peer.ratio)}×)" for peer in one.peers}
        ours = (f"{figure(one.median)} ms", f"{figure(one.p95)} ms")
        yield _line(one.what, *ours, *(cells.get(who, "") for who in peers))


def _budgets(found: Sequence[Document]) -> Iterator[str]:
    rows = [(entry, one) for one in found for entry in one["budgets"]]
    if rows:
        yield _head("budget", "measured", "kept", "how")
    for entry, one in rows:
        measured = f"{figure(entry['measured'])} {entry['unit']}"
        how = entry["how"] or one["benchmark"].replace("_", " ")
        yield _line(entry["budget"], measured, "yes" if entry["met"] else "**no**", how)


def _figures(document: Document) -> Iterator[str]:
    yield f"### {document['benchmark'].replace('_', ' ')}"
    yield ""
    load = f"load average {document['load_before']} before, {document['load_after']} after"
    yield f"{document['about'][:1].upper()}{document['about'][1:]} ({load})."
    yield ""
    yield _head("", "", "median", "min to max", "p95", "n", "")
    for row in document["rows"]:
        yield _line(row["what"], row["who"], *_columns(row["summary"], row["unit"]), row["note"])
    for quotient in document["quotients"]:
        who = f"{quotient['dividend']} / {quotient['divisor']}"
        yield _line(quotient["what"], who, *_columns(quotient["summary"], "×"), "round by round")
    for remark in document["remarks"]:
        yield f"\n{remark}"


def _columns(summary: Mapping[str, float], unit: str) -> tuple[str, ...]:
    ends = f"{figure(summary['minimum'])} to {figure(summary['maximum'])}"
    return f"{figure(summary['median'])} {unit}", ends, figure(summary["p95"]), str(summary["n"])


def _head(*names: str) -> str:
    return f"{_line(*names)}\n|{'---|' * len(names)}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
