"""The files of a project that a module consists of: its own, and those of the project's modules it imports, and so on.

Told from the import statements, wherever in a file they stand; nothing is imported. What is not below the project's
directory, or is installed there, does not count. Pure but for reading files.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

INSTALLED = ("site-packages", "dist-packages")
PACKAGE = "__init__.py"


class ProjectFiles:
    """Follows imports below one directory.

    Args:
        root: the project's directory, resolved.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def has(self, path: str | Path | None) -> bool:
        """True for a file that was written in the project."""
        if path is None:
            return False
        file = Path(path).resolve()
        return file.is_file() and file.is_relative_to(self._root) and not set(INSTALLED) & set(file.parts)

    def reached_from(self, *files: Path) -> list[Path]:
        """These files, as far as they are the project's, and all that they import; sorted."""
        found: set[Path] = set()
        pending = [file.resolve() for file in files]
        while pending:
            file = pending.pop()
            if file not in found and self.has(file):
                found.add(file)
                pending += self.imported_by(file.read_text(errors="replace"), file)
        return sorted(found)

    def imported_by(self, source: str, file: Path) -> list[Path]:
        """The project's files that a piece of code imports directly.

        Args:
            source: the code; a part of a file will do.
            file: that it is in, which relative imports start from.
        """
        try:
            tree = ast.parse(source)
        except SyntaxError:
            return []
        return [found for node in ast.walk(tree) for found in self._imported(node, file)]

    def _imported(self, node: ast.AST, file: Path) -> Iterator[Path]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from self._files(self._tops(), alias.name.split("."))
        if isinstance(node, ast.ImportFrom):
            tops = [file.parents[node.level - 1]] if node.level else self._tops()
            parts = node.module.split(".") if node.module else []
            yield from self._files(tops, parts)
            for alias in node.names:  # which may be a module
                yield from self._files(tops, [*parts, alias.name])

    def _tops(self) -> list[Path]:
        return [path for entry in sys.path if (path := Path(entry).resolve()).is_relative_to(self._root)]

    def _files(self, tops: Sequence[Path], parts: Sequence[str]) -> Iterator[Path]:
        """What is executed by importing a module: that of each package on the way, and its own."""
        for top in tops:
            if not parts:
                yield top / PACKAGE
            for depth in range(1, len(parts) + 1):
                place = top.joinpath(*parts[:depth])
                yield from (place / PACKAGE, place.with_suffix(".py"))


def files_of_module(file: str | None) -> list[Path]:
    """Those a module's user may reach by it: of a package, all.

    Args:
        file: the module's; None for one that has none.
    """
    if file is None:
        return []
    path = Path(file)
    return list(path.parent.rglob("*.py")) if path.name == PACKAGE else [path]
