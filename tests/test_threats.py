"""docs/explain/threats.md names a test for every defence: here is that there are those tests, and a test in every row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "explain" / "threats.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", PAGE)))
ROWS = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith(("|---", "| threat "))]


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_is_named_exists(name: str) -> None:
    path, _, function = name.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert not function or function in found


def test_every_threat_has_a_defence_and_a_test() -> None:
    assert len(ROWS) > 50
    for row in ROWS:
        threat, defence, tests = (cell.strip() for cell in row.strip("|").split("|"))
        assert threat, row
        assert defence, row
        assert re.search(r"`tests/[\w/]+\.py", tests), row


@pytest.mark.parametrize("actor", ["client", "network", "container", "image", "node", "machine"])
def test_everybody_who_could_want_harm_has_a_section(actor: str) -> None:
    headings = [line for line in PAGE.splitlines() if line.startswith("## ")]
    assert any(actor in heading for heading in headings)
