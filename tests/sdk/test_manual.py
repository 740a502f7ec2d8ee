"""The man pages: those in the repository are what the commands say today, and man programs have nothing against them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tfnz import commands
from tfnz.commands import exits, manual
from tfnz.commands.roff import escaped, paragraphs

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "share" / "man"
BIN = Path(sys.executable).parent

needs_man = pytest.mark.skipif(
    not (shutil.which("man") and shutil.which("mandoc")), reason="no man-db or no mandoc here"
)


def test_the_pages_are_what_the_commands_say(tmp_path: Path) -> None:
    """Those of the daemons, too."""
    subprocess.run([sys.executable, ROOT / "docs" / "man_pages.py", tmp_path], check=True, stdout=subprocess.DEVNULL)
    there, wanted = (
        {path.name: path.read_text() for path in directory.iterdir()} for directory in (PAGES / "man1", tmp_path)
    )
    assert there == wanted, "run: make man"
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {f"{name}.1" for name in scripts} <= set(there)


def test_there_is_a_page_for_every_command_and_script() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    clients = {name for name, target in scripts.items() if target.startswith("tfnz.")}
    assert clients == {"tf", "tfnz", *commands.SCRIPTS}
    named = {f"{name}.1" for name in clients} | {f"tf-{name}.1" for name in commands.NAMES}
    assert set(manual.pages()) == named


def test_a_page_says_what_the_help_says() -> None:
    volumes = manual.pages()["tf-volumes.1"]
    for words in (
        "tf volumes create",
        "\\fB\\-\\-node\\fR \\fINAME\\fR",
        "the best node",
        "EXIT STATUS",
        "shop\\-data",
    ):
        assert words in volumes


def test_the_guide_tells_every_exit_code() -> None:
    guide = (ROOT / "docs" / "guides" / "commands.md").read_text()
    assert [code for code in exits.MEANINGS if f"| {code} |" not in guide] == []


def plain(shown: str) -> str:
    """Without the letters that are struck over for boldness."""
    return re.sub(".\b", "", shown)


@needs_man
def test_man_programs_have_nothing_against_them() -> None:
    pages = [str(path.relative_to(PAGES)) for path in sorted((PAGES / "man1").iterdir())]
    whole = [page for page in pages if not (PAGES / page).read_text().startswith(".so ")]
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *whole], cwd=PAGES, capture_output=True, text=True)
    assert (lint.stdout, lint.stderr, lint.returncode) == ("", "", 0)
    for page in pages:
        shown = subprocess.run(
            ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", page],
            cwd=PAGES, capture_output=True, text=True, env=os.environ | {"MANWIDTH": "80", "MANPAGER": "cat"},
        )  # fmt: skip
        assert (shown.stderr, shown.returncode) == ("", 0), page
        assert "SYNOPSIS" in plain(shown.stdout)


@needs_man
def test_man_finds_them_where_the_command_is_found() -> None:
    """`bin` on PATH is enough, as man-db goes: `share/man` beside it."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "MANPAGER": "cat"}
    environment.pop("MANPATH", None)
    for name in ("tf", "tfvolumes"):
        shown = subprocess.run(["man", name], env=environment, capture_output=True, text=True)
        assert (shown.returncode, "SYNOPSIS" in plain(shown.stdout)) == (0, True), shown.stderr


@pytest.mark.parametrize(
    ("text", "roff"),
    [(".dot", "\\&.dot"), ("it's -q", "it\\(aqs \\-q"), ("back\\slash …", "back\\eslash ..."), ("a → b", "a \\-> b")],
)
def test_nothing_in_a_text_means_anything_to_roff(text: str, roff: str) -> None:
    assert escaped(text) == roff


def test_paragraphs_fill_and_examples_stay() -> None:
    assert paragraphs("one\ntwo `c d`\n\n  as\n  is") == [
        ".PP",
        "one two \\fBc d\\fR",
        ".PP",
        ".nf",
        "  as",
        "  is",
        ".fi",
    ]
