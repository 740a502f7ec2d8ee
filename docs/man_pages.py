"""Writes the man pages of all our programs: `python docs/man_pages.py share/man/man1` (`make man`)."""

from __future__ import annotations

import sys
from pathlib import Path

from tflocation import cli as location
from tfnode import cli as node
from tfnz.commands import manual


def pages() -> dict[str, str]:
    """File name to content: the user's commands, and the two daemons."""
    return manual.pages() | {
        "tf-location.1": manual.parser_page("tf-location", location._parser(), see_also=("tf-node", "tf")),
        "tf-node.1": manual.parser_page("tf-node", node._parser(), see_also=("tf-location", "tf")),
    }


def write(directory: Path) -> list[Path]:
    """Write those that are not as they should be, and remove those of programs that are gone; returns which."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    touched = [path for path in directory.glob("*.1") if path.name not in wanted]
    for path in touched:
        path.unlink()
    for name, content in wanted.items():
        path = directory / name
        if not path.exists() or path.read_text() != content:
            path.write_text(content)
            touched.append(path)
    return touched


if __name__ == "__main__":
    for one in write(Path(sys.argv[1])):
        print(one)
