"""Draws what `rollback` measured: `python -m benchmarks.chart`.

It makes docs/rollback.svg of benchmarks/results/rollback.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.comparison import Comparison, Peer, comparisons
from benchmarks.drawing import Dot, Group, picture
from benchmarks.measuring.report import OURS
from benchmarks.measuring.table import figure
from benchmarks.run import RESULTS

PICTURE = Path(__file__).parents[1] / "docs" / "rollback.svg"
TITLE = "Until a test finds its service clean and answering again"


def main(argv: list[str] | None = None) -> int:
    """Draw; 0, or 1 if there is nothing to draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chart", description=__doc__)
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="directory of the JSON files (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=PICTURE, help="the picture (default: %(default)s)")
    options = parser.parse_args(argv)
    measured = options.results / "rollback.json"
    try:
        drawn = chart(json.loads(measured.read_text()))
    except (FileNotFoundError, ValueError) as error:
        print(f"{measured} cannot be drawn ({error}): run python -m benchmarks.run rollback first", file=sys.stderr)
        return 1
    options.out.write_text(drawn)
    print(f"the figures of {measured} are in {options.out}")
    return 0


def chart(document: Mapping[str, Any]) -> str:
    """The picture of one measurement, as SVG.

    Raises:
        ValueError: nobody was measured beside us.
    """
    return picture(TITLE, _below(document), [_group(one) for one in comparisons(document)])


def _below(document: Mapping[str, Any]) -> list[str]:
    machine, docker = document["machine"], (document["docker"] or "").partition(",")[0]
    measured = f"{document['date']}, {machine['processor']}, {machine['cores']} cores"
    return [
        "Dot: median; line: to the 95th percentile; ×: over ours, in the same rounds. Logarithmic.",
        f"Measured {measured}" + (f", Docker {docker}" if docker else ""),
    ]


def _group(one: Comparison) -> Group:
    ours = Dot(f"{OURS} rollback", one.median, one.p95, f"{figure(one.median)} ms", ours=True)
    return Group(one.what, [ours, *(_dot(peer) for peer in one.peers)])


def _dot(peer: Peer) -> Dot:
    return Dot(peer.who, peer.median, peer.p95, f"{figure(peer.median)} ms, {figure(peer.ratio)}×")


if __name__ == "__main__":
    sys.exit(main())
