"""The guides: their programs run as they are printed, and `# -> value` behind an expression is what it gives."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import PrivateLocation
from tests.support.example_images import reference
from tests.support.line import nothing_more, private_location
from tfnz.location import Location

pytestmark = [pytest.mark.leaks("module"), pytest.mark.timeout(300)]

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
NAMES = (
    "volumes", "nodes", "spawning", "preboot", "callbacks", "rebooting", "files", "processes", "tunnels", "ssh",
    "connecting", "externals", "twentyft",
)  # fmt: skip

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GIVES = re.compile(r"#\s*->\s*(.+)$")


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    """With the images that the guides name, under those names."""
    with private_location() as made:
        with made.connect() as location:
            for name in ("nginx", "postgres", "redis"):
                location.ensure_image_uploaded(reference(name), name=name)
        yield made


def play(guide: Path) -> None:
    """Run its blocks, one after the other, in one namespace; sessions that it leaves open are closed."""
    text = guide.read_text()
    names: dict[str, Any] = {"__name__": guide.stem}
    blocks = list(BLOCK.finditer(text))
    assert blocks, f"{guide.name} has no program"
    try:
        for block in blocks:
            _run(block[1], names, where=f"{guide.name}:{text[: block.start()].count(chr(10)) + 2}")
    finally:
        for value in names.values():
            if isinstance(value, Location):
                value.disconnect()


def _run(source: str, names: dict[str, Any], *, where: str) -> None:
    lines = source.splitlines()
    for statement in ast.parse(source).body:
        assert statement.end_lineno is not None
        wanted = GIVES.search(lines[statement.end_lineno - 1])
        if isinstance(statement, ast.Expr) and wanted:
            got = eval(compile(ast.Expression(statement.value), where, "eval"), names)
            assert repr(got) == wanted[1].strip(), f"{where}, line {statement.lineno} of the block"
        else:
            exec(compile(ast.Module([statement], []), where, "exec"), names)


@pytest.mark.parametrize("name", NAMES)
def test_a_guide_does_what_it_says(name: str, place: PrivateLocation) -> None:
    with place.effective(), nothing_more(place):
        play(GUIDES / f"{name}.md")


def test_a_program_that_says_something_else_is_noticed(tmp_path: Path) -> None:
    guide = tmp_path / "wrong.md"
    guide.write_text("```python\nx = 1\nx + 1  # -> 3\n```\n")
    with pytest.raises(AssertionError, match=r"wrong\.md:2"):
        play(guide)
