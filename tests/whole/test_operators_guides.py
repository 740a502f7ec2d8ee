"""The operator's guides hold what they say: every command in them is run, on a machine that has nothing yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import guide

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
HALFWAY = "tf-location account quota alice containers=50 memory=16G"
"""By then the location of the one guide is one that the other can be about."""


@pytest.mark.timeout(240)
def test_every_command_of_the_operators_guides() -> None:
    operate, runbook = (guide.commands(GUIDES / name) for name in ("operate.md", "runbook.md"))
    halfway = operate.index(HALFWAY) + 1
    said = guide.run([*operate[:halfway], *runbook, *operate[halfway:]])
    for line in (*operate, *runbook):
        assert line.startswith(guide.NOT_HERE) or f"$ {line}" in said
    assert 'tf_node_up{node="rack1"} 1.0' in said
    assert "nothing has to be mended" in said
    assert "nothing is left of node rack1" in said
    assert "location lab.example.org, version" in said
