"""The page of all commands, from what makes their help; included by `reference/commands.md`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tfnz import commands
from tfnz.commands import exits


def write(path: Path) -> None:
    """Write it, if it is not there as it should be."""
    os.environ.update(COLUMNS="96", NO_COLOR="1")
    text = "\n".join(_lines()) + "\n"
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def _lines() -> Iterator[str]:
    for title, names in commands.GROUPS.items():
        yield from ("", f"## {title[:1].upper()}{title[1:]}", "")
        for name in names:
            yield from _command(name)
    yield from ("", "## Exit codes", "", "| code | meaning |", "|---|---|")
    yield from (f"| {code} | {meaning} |" for code, meaning in exits.MEANINGS.items())


def _command(name: str) -> Iterator[str]:
    for program, command in commands.find(name).below(f"tf {name}"):
        level = "#" * (3 if program == f"tf {name}" else 4)
        yield from ("", f"{level} {program}", "", f"{command.summary[:1].upper()}{command.summary[1:]}.", "")
        yield from ("```text", command.parser(program).format_help().rstrip(), "```")
